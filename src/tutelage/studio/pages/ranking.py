"""Any number of answers, from the best to the worst, equal ones side by side."""

from __future__ import annotations

from typing import Any

from tutelage.studio.pages import Page
from tutelage.studio.settings import Settings


def settings(project: Settings) -> dict[str, Any]:
    return {}


PAGE = Page("ranking", settings)
