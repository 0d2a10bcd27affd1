"""One answer and one rule above it: broken, followed, or unsure (Sparrow)."""

from __future__ import annotations

from typing import Any

from tutelage.studio.pages import Page
from tutelage.studio.settings import Settings


def settings(project: Settings) -> dict[str, Any]:
    return {}


PAGE = Page("rules", settings)
