"""How an estimate is written on a page: the value, its 95 % interval, and what it rests on.

A share (accuracy, win rate, …) of fewer than `intervals.FEWEST` units says "too few to tell". Runs of 0.1.0 have no
`NAME_n`; then the count is looked for under the keys that those runs had, and where there is none, that is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutelage.formulas.intervals import FEWEST

TOO_FEW = "too few to tell"
OLD_COUNTS = {
    "accuracy": ("held_out", "pairs"),
    "win_rate": ("prompts",),
    "gold": ("prompts",),
    "broken": ("prompts",),
    "pleased": ("prompts",),
    "rate": ("count",),
}


def count_of(found: Mapping[str, Any], name: str) -> int | None:
    """The units that an estimate rests on."""
    value = found.get(f"{name}_n")
    for old in () if value is not None else OLD_COUNTS.get(name, ()):
        value = value if value is not None else found.get(old)
    return int(value) if isinstance(value, (int, float)) else None


def is_few(found: Mapping[str, Any], name: str) -> bool:
    """Whether there are too few units to tell, or nobody knows how many."""
    count = count_of(found, name)
    return count is None or count < FEWEST


def interval(found: Mapping[str, Any], name: str, style: str = "{:.2f}") -> str:
    """low to high, an end that is open or not known as `…`; nothing where neither is known."""
    ends = [found.get(f"{name}{end}") for end in ("_low", "_high")]
    if ends == [None, None]:
        return ""
    return " to ".join("…" if each is None else style.format(each) for each in ends)


def sized(found: Mapping[str, Any], name: str, of: str = "") -> str:
    """n = 60, with what is counted."""
    count = count_of(found, name)
    return f"n = {count}{f' {of}' if of else ''}" if count is not None else "n not recorded"


def card(
    found: Mapping[str, Any], name: str, what: str, of: str, value: float | None = None, detail: str = ""
) -> tuple[str, str, str]:
    """(figure, what it is, detail) of a share at the top of a page. of: what is counted, such as "unseen prompts"

    Where there are too few, the figure says so, and the share stands in the detail.
    """
    share = found[name] if value is None else value
    within = interval(found, name, "{:.0%}")
    about = f"95 % interval {within}, {sized(found, name, of)}" if within else f"no interval, {sized(found, name, of)}"
    more = f". {detail}" if detail else ""
    if is_few(found, name):
        return TOO_FEW, what, f"{share:.0%}, {about}{more}"
    return f"{share:.0%}", what, f"{about}{more}"


def between(found: Mapping[str, Any], name: str, digits: int = 2) -> str:
    """value (low to high), n = …, as a cell of a table; nothing where there is no value."""
    if found.get(name) is None:
        return ""
    style = f"{{:.{digits}f}}"
    within = interval(found, name, style)
    few = f", {TOO_FEW}" if is_few(found, name) else ""
    return f"{style.format(found[name])}{f' ({within})' if within else ''}, {sized(found, name)}{few}"


def of_mean(found: Mapping[str, Any], name: str, style: str = "{:.2f}") -> str:
    """The interval of a mean as a cell: that of two seeds is wide enough to be its own warning."""
    return interval(found, name, style) or TOO_FEW


def ends(found: Mapping[str, Any], value: str, name: str) -> tuple[float, float]:
    """How far the bars of a plot reach below and above; 0 where the interval is open or not known."""
    low, high = found.get(f"{name}_low"), found.get(f"{name}_high")
    return (
        0.0 if low is None else max(0.0, found[value] - low),
        0.0 if high is None else max(0.0, high - found[value]),
    )


def bars(rows: Any, value: str, name: str, **style: Any) -> dict[str, Any]:
    """The bars of several points, for plotly."""
    below, above = zip(*(ends(row, value, name) for row in rows), strict=True) if rows else ((), ())
    return {"type": "data", "array": list(above), "arrayminus": list(below), **style}
