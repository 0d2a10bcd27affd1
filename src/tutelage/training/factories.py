"""What the factories of an engine are called with, and what they must give."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

from tutelage.data.errors import InputError


def call_factory(make: Any, factory: str, *arguments: Any, **settings: Any) -> Any:
    """What a factory gives; InputError where it cannot be called so."""
    try:
        signature(make).bind(*arguments, **settings)
    except TypeError as error:
        raise InputError(
            f"the engine's {factory} is called with {len(arguments)} arguments and {', '.join(settings) or 'no name'}, "
            f"and does not take them: {error} (docs/extending.md)."
        ) from error
    return make(*arguments, **settings)


def require(made: Any, factory: str, methods: Sequence[str]) -> Any:
    """What a factory gave, or an InputError that names the methods it lacks."""
    missing = [name for name in methods if not callable(getattr(made, name, None))]
    if missing:
        raise InputError(
            f"the engine's {factory} gave {type(made).__name__}, which lacks {', '.join(missing)}; expected the "
            f"methods {', '.join(methods)} (docs/extending.md)."
        )
    return made
