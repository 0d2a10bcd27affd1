"""One answer on every axis of its form, and the flags that fit it (InstructGPT)."""

from __future__ import annotations

from typing import Any

from tutelage.studio.pages import Page
from tutelage.studio.settings import Settings


def settings(project: Settings) -> dict[str, Any]:
    return {}


PAGE = Page("rating", settings)
