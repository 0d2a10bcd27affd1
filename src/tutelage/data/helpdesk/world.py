"""Customers and their troubles: seeded cases, told in readable English, never the same in two splits.

A prompt is `Customer: <message>\\nAgent:`; the reply follows with its leading space. Everything that the desk needs to
know stands in the text, so a case can be read back from it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from tutelage.data.errors import InputError


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = _words(
    "Ana Ben Carla David Elena Farid Grace Hugo Ines Jonas Kira Leo Maria Nadia Omar Paula Quinn Rosa Sami Tara Umar "
    "Vera Walid Zoe"
)
ITEMS = _words(
    "kettle lamp chair radio clock toaster mixer heater fan desk sofa mirror camera printer phone tablet watch bicycle "
    "tent rucksack blanket pillow vase teapot carpet ladder"
)
COLOURS = _words("blue red green black white silver")
RECENT = ("last week", "ten days ago", "two weeks ago", "three weeks ago")
LONG_AGO = ("two months ago", "half a year ago", "a year ago", "long ago")

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
    "lost": ("replace", "refund"),
    "unwanted": ("refund", "voucher"),
}
"""Problem -> remedy when the thing was ordered within 30 days, and longer ago (policy.md)."""

COMPLAINTS = {
    "broken": ("arrived broken", "came in pieces"),
    "stopped": ("stopped working", "no longer works"),
    "part": ("is missing a part", "came without a cord"),
    "colour": ("has the wrong colour", "is not the colour I chose"),
    "late": ("came much too late", "took far too long"),
    "twice": ("was charged twice", "is on my bill twice"),
    "burnt": ("smells burnt", "smells of smoke"),
    "lost": ("has never arrived", "is still not here"),
    "unwanted": ("is not needed any more", "is of no use"),
}
OPENINGS = ("", "", "", "Hello, ", "Hi, ", "Please help, ", "Good morning, ")
INTRODUCTIONS = ("my name is {name}.", "this is {name}.", "I am {name}.", "{name} here.")
SUBJECTS = (
    "My {item} {complaint}.",
    "The {item} {complaint}.",
    "My {colour} {item} {complaint}.",
    "The {colour} {item} {complaint}.",
)
DATED_SUBJECTS = ("The {item} that I ordered {when} {complaint}.", "My {item} from {when} {complaint}.")
TIMES = ("I ordered it {when}.", "I bought it {when}.")
SIGNS = ("BCDFGHJKLM", "0123456789", "NPQRSTVWXZ")
"""An order number is a letter, a digit and a letter, such as K7T. The three alphabets share no sign, so that a model of
a million parameters learns in a minute to copy one: with four digits it does not."""
ORDERS = ("The order is #{order}.", "It is order #{order}.", "I mean order #{order}.", "See order #{order}.")
OTHERS = ("The {other} is fine.", "I like the {other}.", "My {other} works well.")
SALES = ("It was on sale.", "I got it on sale.")
MOODS = ("I am upset.", "Please be quick.", "What a shame.", "I am not angry.", "I need it.", "Can you help?")

SPLITS = {"train": range(60), "labels": range(60, 85), "evaluation": range(85, 100)}
"""Which hundredths of the order numbers (by checksum) belong to which split: no prompt is in two."""


@dataclass(frozen=True)
class Case:
    """One customer's trouble. order: such as K7T; when: of RECENT or LONG_AGO; other: a second thing, or ''."""

    name: str
    item: str
    colour: str
    problem: str
    when: str
    order: str
    other: str
    sale: bool

    @property
    def remedy(self) -> str:
        """What the policy prescribes."""
        return remedy(self.problem, self.when, self.sale)


def remedy(problem: str, when: str, sale: bool) -> str:
    """The policy's table, and its rule that what was on sale is not refunded unless it was charged twice."""
    prescribed = POLICY[problem][0 if when in RECENT else 1]
    return "voucher" if sale and prescribed == "refund" and problem != "twice" else prescribed


def cases(split: str, count: int, seed: int) -> list[Case]:
    """`count` cases whose order numbers belong to the split ("train", "labels" or "evaluation")."""
    rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
    orders = _orders(split)
    return [_case(rng, orders) for _ in range(count)]


def prompts(split: str, count: int, seed: int) -> list[str]:
    """`count` different prompts of a split, fixed by the seed; more of the same seed begin with the fewer."""
    rng = np.random.default_rng([seed, zlib.crc32(split.encode()), 1])
    orders = _orders(split)
    found: dict[str, None] = {}
    while len(found) < count:
        found[prompt(_case(rng, orders), rng)] = None
    return list(found)


def split_of(order: str) -> str:
    """The split to which an order number belongs."""
    place = zlib.crc32(order.encode()) % 100
    return next(name for name, places in SPLITS.items() if place in places)


@cache
def _orders(split: str) -> tuple[str, ...]:
    if split not in SPLITS:
        raise InputError(f"the helpdesk has no split {split!r}; expected one of {', '.join(SPLITS)}.")
    return tuple(order for order in map("".join, product(*SIGNS)) if split_of(order) == split)


def _case(rng: np.random.Generator, orders: Sequence[str]) -> Case:
    item = pick(rng, ITEMS)
    aside = rng.random()
    return Case(
        name=pick(rng, NAMES),
        item=item,
        colour=pick(rng, COLOURS),
        problem=pick(rng, tuple(POLICY)),
        when=pick(rng, RECENT if rng.random() < 0.6 else LONG_AGO),
        order=pick(rng, orders),
        other=pick(rng, [other for other in ITEMS if other != item]) if aside < 0.4 else "",
        sale=bool(aside >= 0.8),
    )


def prompt(case: Case, rng: np.random.Generator) -> str:
    """The customer's message and the desk's cue; phrasing and the order of facts are drawn from rng."""
    dated = rng.random() < 0.4
    subject = pick(rng, DATED_SUBJECTS if dated else SUBJECTS)
    details = [pick(rng, ORDERS)]
    details += [] if dated else [pick(rng, TIMES)]
    details += [pick(rng, OTHERS)] if case.other else [pick(rng, SALES)] if case.sale else []
    details += [pick(rng, MOODS)] if rng.random() < 0.15 else []
    details = [details[place] for place in rng.permutation(len(details))]
    opening = pick(rng, OPENINGS) + pick(rng, INTRODUCTIONS)
    told = " ".join([opening[0].upper() + opening[1:], subject, *details])
    return f"Customer: {told.format(**vars(case), complaint=pick(rng, COMPLAINTS[case.problem]))}\nAgent:"


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """One of the options, each as likely."""
    return options[int(rng.integers(len(options)))]


def every_text() -> list[str]:
    """Every template of the prompts, and every word that can fill one, each after the space it is written with."""
    sentences = [*filter(None, OPENINGS), *INTRODUCTIONS, *(text[0].upper() + text[1:] for text in INTRODUCTIONS)]
    for group in (SUBJECTS, DATED_SUBJECTS, TIMES, ORDERS, OTHERS, SALES, MOODS):
        sentences += group
    words = [*NAMES, *ITEMS, *COLOURS, *RECENT, *LONG_AGO, *(text for texts in COMPLAINTS.values() for text in texts)]
    empty = dict.fromkeys(("name", "item", "colour", "complaint", "when", "order", "other"), "")
    numbers = map("".join, zip(*SIGNS, strict=True))
    return ["Customer:", "\nAgent:", *numbers, *(f" {text.format(**empty)}" for text in [*sentences, *words])]
