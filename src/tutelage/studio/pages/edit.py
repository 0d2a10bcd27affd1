"""One answer, written as it should have been; or a reply where there is none yet."""

from __future__ import annotations

from typing import Any

from tutelage.studio.pages import Page
from tutelage.studio.settings import Settings


def settings(project: Settings) -> dict[str, Any]:
    return {}


PAGE = Page("edit", settings)
