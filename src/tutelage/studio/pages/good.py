"""One answer: good or bad."""

from __future__ import annotations

from typing import Any

from tutelage.studio.pages import Page
from tutelage.studio.settings import Settings


def settings(project: Settings) -> dict[str, Any]:
    return {}


PAGE = Page("good", settings)
