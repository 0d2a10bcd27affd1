"""Worse copies of the desk's replies, for weak comparisons: what a vandal adds, what haste leaves out or misreads.

Edits as `data.weak` takes them: (reply, a reply to another prompt, rng) -> a worse reply.
"""

from __future__ import annotations

import re

import numpy as np

from tutelage.data.helpdesk import demonstrations as desk
from tutelage.data.helpdesk.world import pick

UNWELCOME = (*desk.RUDE_OPENINGS, *desk.RUDE_CLOSINGS, *desk.FORBIDDEN, *desk.FILLER)
REGRETS_AND_THANKS = (*desk.SORRY[:4], *desk.CLOSINGS[:3])
COURTESY = re.compile("|".join(re.escape(f" {each}").replace(r"\{item\}", "[a-z]+") for each in REGRETS_AND_THANKS))


def vandalised(reply: str, other: str, rng: np.random.Generator) -> str:
    """With a sentence that no customer wants to read, behind one of its own."""
    sentences = re.findall(r"[^.]+\.", reply)
    place = int(rng.integers(1, len(sentences) + 1)) if sentences else 0
    return "".join([*sentences[:place], f" {pick(rng, UNWELCOME)}", *sentences[place:]])


def discourteous(reply: str, other: str, rng: np.random.Generator) -> str:
    """Without its regrets and thanks."""
    return COURTESY.sub("", reply)


def misread(reply: str, other: str, rng: np.random.Generator) -> str:
    """With one sign of the order number taken for another."""
    found = re.search(r"#([A-Z]\d[A-Z])", reply)
    return reply if found is None else reply.replace(found[1], desk.misread(found[1], rng))


EDITS = (vandalised, discourteous, misread)
