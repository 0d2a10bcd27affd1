"""Customers and their troubles: seeded cases, told in readable English, never the same twice across splits."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

_NAMES = """
Ana Ben Carla David Elena Farid Grace Hugo Ines Jonas Kira Leo Maria Nadia Omar Paula Quinn Rosa Sami Tara
Umar Vera Walid Zoe
"""
_ITEMS = """
kettle lamp chair radio clock toaster mixer heater fan desk sofa mirror camera printer phone tablet watch
bicycle tent rucksack blanket pillow vase teapot
"""
NAMES: tuple[str, ...] = tuple(_NAMES.split())
ITEMS: tuple[str, ...] = tuple(_ITEMS.split())
COLOURS = ["blue", "red", "green", "black", "white", "silver"]
RECENT = ("yesterday", "three days ago", "last week", "two weeks ago")
LONG_AGO = ("two months ago", "half a year ago", "last spring", "last year")

SPANS = {
    "refund": "ten days",
    "replace": "five days",
    "repair": "three weeks",
    "voucher": "two days",
    "part": "one week",
}
"""Remedy -> how long the desk takes for it."""

POLICY = {
    "broken": ("replace", "repair"),
    "stopped": ("repair", "voucher"),
    "part": ("part", "part"),
    "colour": ("replace", "voucher"),
    "late": ("voucher", "voucher"),
    "twice": ("refund", "refund"),
    "burnt": ("refund", "replace"),
    "unwanted": ("refund", "voucher"),
}
"""Problem -> remedy when the thing was got within 30 days, and longer ago (policy.md)."""

COMPLAINTS = {
    "broken": ("arrived broken", "came in pieces"),
    "stopped": ("stopped working", "does not work any more"),
    "part": ("is missing a part", "came without a cord"),
    "colour": ("has the wrong colour", "is not the colour that I chose"),
    "late": ("came much too late", "took far too long to come"),
    "twice": ("was charged twice", "is on my bill twice"),
    "burnt": ("smells burnt", "smells of smoke"),
    "unwanted": ("is not needed any more", "is of no use to me"),
}
GREETINGS = ("Hello, ", "Good morning, ", "Hi, ", "Please help me, ")
INTRODUCTIONS = ("my name is {name}.", "this is {name}.", "I am {name}.")
MOODS = ("I am upset.", "Please be quick.", "This is a shame.", "I am not angry.")
ASIDES = ("The {other} is fine.", "I like the {other}.", "I also have the {other}.")
TIMES = ("I got it {when}.", "It came {when}.")
ORDERS = ("The order is #{order}.", "It is order #{order}.")
SUBJECTS = ("My {colour} {item}", "The {colour} {item}")

SPLITS = {"train": range(60), "labels": range(60, 85), "evaluation": range(85, 100)}
"""Which hundredths of the order numbers (by checksum) belong to which split: no prompt is in two."""


@dataclass(frozen=True)
class Case:
    """One customer's trouble. order: four digits; when: of RECENT or LONG_AGO; other: another thing mentioned, or ''."""

    name: str
    item: str
    colour: str
    problem: str
    when: str
    order: str
    other: str

    @property
    def remedy(self) -> str:
        return POLICY[self.problem][0 if self.when in RECENT else 1]


def cases(split: str, count: int, seed: int) -> list[Case]:
    """`count` cases whose order numbers belong to the split ("train", "labels" or "evaluation")."""
    rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
    orders = [f"{n:04d}" for n in range(10000) if split_of(f"{n:04d}") == split]
    return [_case(rng, orders) for _ in range(count)]


def split_of(order: str) -> str:
    place = zlib.crc32(order.encode()) % 100
    return next(name for name, places in SPLITS.items() if place in places)


def _case(rng: np.random.Generator, orders: list[str]) -> Case:
    item, other = rng.choice(ITEMS, 2, replace=False)
    return Case(
        name=str(rng.choice(NAMES)),
        item=str(item),
        colour=str(rng.choice(COLOURS)),
        problem=str(rng.choice(list(POLICY))),
        when=str(rng.choice(RECENT if rng.random() < 0.6 else LONG_AGO)),
        order=str(rng.choice(orders)),
        other=str(other) if rng.random() < 0.5 else "",
    )


def prompt(case: Case, rng: np.random.Generator) -> str:
    """The customer's message and the desk's cue: 25 to 45 words, the facts in any order."""
    facts = [
        f"{_pick(rng, SUBJECTS)} {_pick(rng, COMPLAINTS[case.problem])}.",
        _pick(rng, ORDERS),
        _pick(rng, TIMES),
    ]
    if case.other:
        facts.insert(int(rng.integers(1, 4)), _pick(rng, ASIDES))
    if rng.random() < 0.3:
        facts.append(_pick(rng, MOODS))
    if rng.random() < 0.3:
        facts[1], facts[2] = facts[2], facts[1]
    opening = _pick(rng, GREETINGS) + _pick(rng, INTRODUCTIONS)
    text = " ".join([opening, *facts]).format(**vars(case))
    return f"Customer: {text}\nAgent:"


def prompts(split: str, count: int, seed: int) -> list[str]:
    """`count` prompts of a split, fixed by the seed."""
    rng = np.random.default_rng([seed, zlib.crc32(split.encode()), 1])
    return [prompt(case, rng) for case in cases(split, count, seed)]


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
