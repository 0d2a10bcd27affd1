"""Pages by kind of question: a module here that holds a `PAGE`, and a script of that kind's name beside the others.

Enters: settings of a project. Leaves: what the script of a page must know. A new kind of page is two new files
(pages/KIND.py and static/pages/KIND.js); nothing else learns of it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tutelage.studio.settings import Settings


@dataclass(frozen=True)
class Page:
    """kind: of the questions that it asks; settings: of a project, as its script takes them."""

    kind: str
    settings: Callable[[Settings], dict[str, Any]]


def found() -> dict[str, Page]:
    """All pages by their kinds."""
    modules = (importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__))
    return {page.kind: page for page in (module.PAGE for module in modules)}
