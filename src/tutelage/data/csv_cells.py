"""Cells of a CSV file that a spreadsheet would run as a formula: protected when written, restored when read.

A spreadsheet runs a cell that begins with =, +, - or @. `protect` writes an apostrophe in front of such a text (OWASP,
"CSV Injection"), and `unprotect` removes it again: unprotect(protect(text)) == text for every text, whether it begins
with apostrophes of its own or not.
"""

from __future__ import annotations

from typing import Any

from tutelage.data.json_text import json_value

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a formula begins with, behind blanks and apostrophes."""

MESSAGE = {"role", "content"}  # keys of a message


def protect(text: str) -> str:
    """The text as it stands in a cell: with an apostrophe in front where it would begin a formula, or where a reader
    would take it for a list of messages."""
    return f"'{text}" if _is_protected(text) else text


def unprotect(cell: str) -> str:
    """The text of a cell: without the apostrophe that `protect` put in front.

    An apostrophe in front of anything else is the text's own and stays ('tis).
    """
    return cell[1:] if cell.startswith("'") and _is_protected(cell[1:]) else cell


def _is_protected(text: str) -> bool:
    begins_a_formula = text.lstrip(" '").startswith(FORMULA)
    return begins_a_formula or _messages(text.lstrip("'")) is not None


def read_cell(cell: str) -> Any:
    """What was written into a cell: its text; or a list of messages, which a table holds as JSON."""
    messages = _messages(cell)
    return unprotect(cell) if messages is None else messages


def _messages(text: str) -> Any:
    """The list of messages that a text holds as JSON; None where it holds none."""
    if not text.startswith("[{"):
        return None
    try:
        value = json_value(text)
    except ValueError:
        return None
    is_talk = isinstance(value, list) and all(isinstance(each, dict) and each.keys() >= MESSAGE for each in value)
    return value if is_talk else None
