"""What `--quick` of a recipe changes: settings that stand at their defaults."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


def where_default(config: Config, default: Config, **smaller: Any) -> Config:
    """The settings with `smaller` in place of those that stand at their defaults; other values stay as they are."""
    free = {name: value for name, value in smaller.items() if getattr(config, name) == getattr(default, name)}
    return replace(config, **free)
