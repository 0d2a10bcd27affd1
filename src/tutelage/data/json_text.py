"""JSON as it is read from files of others: a name stands once, nothing is too deep, every text can be written again."""

from __future__ import annotations

import json
from typing import Any

DEEPEST = 100  # levels of lists and objects; whoever walks them needs a few calls for each


def json_value(text: str) -> Any:
    """The value. ValueError where it is not JSON, or where reading it would lose or break something:
    a name twice in one object (one of the two would vanish), half of a surrogate pair (no file could hold it), or
    levels upon levels."""
    try:
        value = json.loads(text, object_pairs_hook=_once)
        if text.count("[") + text.count("{") > DEEPEST and _depth(value) > DEEPEST:
            raise ValueError(f"more than {DEEPEST} levels of lists and objects")
        if "\\ud" in text.casefold():
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError(f"more than {DEEPEST} levels of lists and objects") from error
    return value


def why_not_json(error: ValueError) -> str:
    """In a few words."""
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    if isinstance(error, UnicodeEncodeError):
        return "half of a surrogate pair"
    return "a number of thousands of digits" if "digits" in str(error) else str(error)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r:.60} stands twice in one object")
    return fields


def _depth(value: Any) -> int:
    """How many lists and objects stand within each other."""
    deepest, stack = 0, [(value, 1)]
    while stack:
        each, level = stack.pop()
        inner = each.values() if isinstance(each, dict) else each if isinstance(each, list) else None
        if inner is not None:
            deepest = max(deepest, level)
            stack.extend((below, level + 1) for below in inner)
    return deepest
