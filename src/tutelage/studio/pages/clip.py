"""Two clips side by side, in step and again and again: in which of them is it done better?"""

from __future__ import annotations

from typing import Any

from tutelage.studio.pages import Page
from tutelage.studio.project import Settings


def settings(project: Settings) -> dict[str, Any]:
    return {}


PAGE = Page("clip", settings)
