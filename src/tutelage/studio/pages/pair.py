"""Two answers side by side: which is better, or how much better on a scale of seven."""

from __future__ import annotations

from typing import Any

from tutelage.studio.pages import Page
from tutelage.studio.settings import Settings


def settings(project: Settings) -> dict[str, Any]:
    return {"scale": project.scale}


PAGE = Page("pair", settings)
