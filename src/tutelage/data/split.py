"""Held out by prompt: what a model is tested on shares no prompt with what it learned from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from tutelage.data.errors import InputError

R = TypeVar("R")


def by_prompt(
    rows: Sequence[R], prompt_of: Callable[[R], str], held_out_fraction: float, seed: int, limit: int | None = None
) -> tuple[list[R], list[R]]:
    """(learned from, held out): rows in an order fixed by (seed, prompt), cut between two prompts.

    limit: only the first so many rows of that order, whole prompts
    """
    places: dict[str, list[R]] = {}
    for row in rows:
        places.setdefault(prompt_of(row), []).append(row)
    order = sorted(places, key=lambda prompt: hashlib.sha256(f"{seed} {prompt}".encode()).digest())
    if limit is not None:
        order = _first(order, places, limit)
    total = sum(len(places[prompt]) for prompt in order)
    held = set(_first(order, places, max(1, round(held_out_fraction * total))))
    learned = [row for prompt in order if prompt not in held for row in places[prompt]]
    if not learned:
        raise InputError(
            f"the data has {len(places)} different prompts; at least 2 are needed, so that one can be held out."
        )
    return learned, [row for prompt in order if prompt in held for row in places[prompt]]


def seen_fraction(learned: Iterable[str], held_out: Sequence[str]) -> float:
    """Share of held-out texts that were learned from, too, whatever their capitals and blanks: a leak."""
    known = {" ".join(text.casefold().split()) for text in learned}
    return sum(" ".join(text.casefold().split()) in known for text in held_out) / max(1, len(held_out))


def _first(order: list[str], places: dict[str, list[R]], rows: int) -> list[str]:
    """The first prompts that hold at least so many rows."""
    taken, count = [], 0
    for prompt in order:
        if count >= rows:
            break
        taken.append(prompt)
        count += len(places[prompt])
    return taken
