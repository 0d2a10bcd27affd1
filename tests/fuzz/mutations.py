"""Valid files made a little wrong, on purpose: values, names, rows, notation, bytes. The same seed, the same files.

`Mutated` remembers which rows were left alone, so that a test can demand the right answer for them and not only the
absence of a crash.
"""

from __future__ import annotations

import bz2
import copy
import gzip
import json
import lzma
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


HOSTILE: tuple[Any, ...] = (
    None, "", " ", "\x00", "a\x00b", "\ud800", "‮םולש", "😀" * 3, "=1+1", "<script>alert(1)</script>", "a" * 3000,
    "\r\n", "\x1b[2J", "nan", "1e999", "0", "true", "{}", "[]", '{"a": 1}', "\n\nHuman:", "\n\nAssistant:",
    True, False, 0, 1, -1, 2, 7, 0.5, -0.0, 1e308, float("nan"), float("inf"), 10**30, 10**400, 2**63,
    [], {}, [None], [[]], [{}], [""], ["a", "b"], [0, 1], {"role": "user"}, {"role": "user", "content": None},
    {"role": "boss", "content": "x"}, [{"role": "user", "content": "x"}], {"": ""}, deep(20), deep(150),
)  # fmt: skip
TOKENS = (
    "NaN", "-Infinity", "1e999", "9" * 5000, "[" * 3000, "{", "}", "]", '"', "\\", "\\ud800", ",", ":", "null", "true",
    "\x00", "﻿", "\n", "\r", "'", "- ", "&a ", "*a", "!!python/object/apply:os.system [ls]", "!!timestamp x", "%",
)  # fmt: skip


@dataclass
class Mutated:
    """rows: as they stand in the file; origin: for each, its place in the valid file where it was not touched, else
    None; whole: whether the file is exactly these rows (no byte of it was changed afterwards); did: in words"""

    rows: list[Row]
    origin: list[int | None]
    whole: bool = True
    did: list[str] = field(default_factory=list)


# --- values within a row


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in list(inner):
        yield value, key
        yield from places(each)


def replaced(rng: random.Random, row: Row, place: tuple[Any, Any]) -> str:
    container, key = place
    container[key] = copy.deepcopy(rng.choice(HOSTILE))
    return f"{key} is {container[key]!r:.30}"


def exchanged(rng: random.Random, row: Row, place: tuple[Any, Any]) -> str:
    container, key = place
    other, name = rng.choice(list(places(row)))
    container[key] = copy.deepcopy(other[name])
    return f"{key} is a copy of {name}"


def dropped(rng: random.Random, row: Row, place: tuple[Any, Any]) -> str:
    container, key = place
    del container[key]
    return f"without {key}"


def renamed(rng: random.Random, row: Row, place: tuple[Any, Any]) -> str:
    container, key = place
    if not isinstance(container, dict):
        return dropped(rng, row, place)
    name = rng.choice([key.swapcase(), f"{key} ", f"{key}2", "", key[:-1], "prompt", "label", "choice"])
    container[name] = container.pop(key)
    return f"{key} is called {name}"


def wrapped(rng: random.Random, row: Row, place: tuple[Any, Any]) -> str:
    container, key = place
    value = container[key]
    ways: list[Callable[[], Any]] = [lambda: [value], lambda: {"value": value}, lambda: str(value)[:4000]]
    ways += [lambda: json.dumps(value), lambda: [value, value]]
    container[key] = rng.choice(ways)()
    return f"{key} is wrapped"


def nudged(rng: random.Random, row: Row, place: tuple[Any, Any]) -> str:
    """Numbers a little off, texts a letter longer or shorter: most of these stay valid."""
    container, key = place
    value = container[key]
    if isinstance(value, bool):
        container[key] = not value
    elif isinstance(value, (int, float)):
        container[key] = value + rng.choice([1, -1, 0.5, -value])
    elif isinstance(value, str):
        container[key] = rng.choice([f"{value} more", value[1:], f" {value}", value.upper(), value[::-1]])
    else:
        return added(rng, row, place)
    return f"{key} nudged"


def added(rng: random.Random, row: Row, place: tuple[Any, Any]) -> str:
    """Something beside it: a column more, an element more."""
    container, _ = place
    value = copy.deepcopy(rng.choice(HOSTILE))
    if isinstance(container, list):
        container.insert(rng.randrange(len(container) + 1), value)
    else:
        container[rng.choice(["note", "id", "extra", "metadata", "score"])] = value
    return "something more"


VALUES: tuple[Callable[[random.Random, Row, tuple[Any, Any]], str], ...] = (
    replaced, replaced, exchanged, dropped, renamed, wrapped, nudged, nudged, nudged, added, added,
)  # fmt: skip


# --- rows


def mutated(rng: random.Random, rows: Sequence[Row], *, ordered: bool = False) -> Mutated:
    """Between nothing and a few changes of values and rows; a change of a row leaves the others alone.

    ordered: the order of a row's names means something, so another order is a change
    """
    found = Mutated(copy.deepcopy(list(rows)), list(range(len(rows))))
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        place = rng.randrange(len(found.rows))
        if rng.random() < 0.75:
            inside = list(places(found.rows[place]))
            if inside:
                found.did.append(rng.choice(VALUES)(rng, found.rows[place], rng.choice(inside)))
                found.origin[place] = None
        else:
            found.did.append(moved(rng, found, place, ordered))
    return found


def moved(rng: random.Random, found: Mutated, place: int, ordered: bool) -> str:
    """Rows exchanged, doubled, left out or put in."""
    how = rng.choice(["exchanged", "doubled", "left out", "an empty one", "reordered names"])
    other = rng.randrange(len(found.rows))
    if how == "exchanged":
        for each in (found.rows, found.origin):
            each[place], each[other] = each[other], each[place]
    elif how == "doubled":
        row, origin = copy.deepcopy(found.rows[place]), found.origin[place]
        found.rows.insert(other, row)
        found.origin.insert(other, origin)
    elif how == "left out" and len(found.rows) > 1:
        del found.rows[place], found.origin[place]
    elif how == "an empty one":
        found.rows.insert(other, {})
        found.origin.insert(other, None)
    else:
        found.rows[place] = dict(reversed(found.rows[place].items()))
        found.origin[place] = None if ordered else found.origin[place]
    return how


# --- notation


def as_lines(rng: random.Random, rows: Sequence[Row]) -> bytes:
    """JSON lines, written in one of many ways that mean the same."""
    spaced, escaped = rng.random() < 0.3, rng.random() < 0.5
    separators = (" , ", " : ") if spaced else (", ", ": ")
    try:
        lines = [json.dumps(row, ensure_ascii=escaped, separators=separators).encode() for row in rows]
    except UnicodeEncodeError:  # half of a surrogate pair is only written escaped
        lines = [json.dumps(row, separators=separators).encode() for row in rows]
    end = rng.choice([b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b"\n   \n"])
    start = b"\xef\xbb\xbf" if rng.random() < 0.1 else b""
    return start + end.join(lines) + (end if rng.random() < 0.8 else b"")


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress,
}  # fmt: skip


# --- bytes


def damaged(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """A few bytes changed, lost, doubled or put in."""
    place = rng.randrange(len(data) + 1)
    width = rng.choice([1, 1, 2, 8, 64])
    how = rng.choice(["cut off", "bit", "lost", "noise", "doubled", "token", "token"])
    if how == "cut off":
        return data[:place], how
    if how == "bit" and data:
        place = min(place, len(data) - 1)
        return data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :], how
    if how == "lost":
        return data[:place] + data[place + width :], how
    if how == "noise":
        return data[:place] + rng.randbytes(width) + data[place:], how
    if how == "doubled":
        return data[: place + width] + data[place:], how
    token = rng.choice(TOKENS)
    return data[:place] + token.encode("utf-8", "surrogatepass") + data[place:], f"{token:.10} put in"
