"""Replies as people write them: most are decent, few are perfect, some break the policy.

Every quality fails on its own, with its own probability, so that a model that imitates them can do each of them right
and none of them always.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from tutelage.data.helpdesk.world import COMPLAINTS, ITEMS, NAMES, POLICY, SPANS, Case, cases, prompt

OFFERS = {
    "refund": "refund {thing}",
    "replace": "replace {thing}",
    "repair": "repair {thing}",
    "voucher": "send a voucher for {thing}",
    "part": "send a new part for {thing}",
}
VAGUE = ("We will look into it.", "Somebody will call you.", "Please wait.")
GREETINGS = ("Dear {name},", "Hello {name},")
COLD_GREETINGS = ("Hi,", "Hello,", "")
SORRY = (
    "I am sorry that your {item} {complaint}.",
    "I am sorry about your {item}.",
    "I am very sorry about this.",
)
RUDE_OPENINGS = ("You should have looked after it.", "That is not so bad.", "You again.")
FORBIDDEN = (
    "I guarantee it.",
    "It was all our fault.",
    "You will also get a free gift.",
    "Please send me your card number.",
)
HIDDEN = (", which I guarantee", ", as I promise")
FILLER = (
    "We are the best shop in town.",
    "Please visit our shop again soon.",
    "We sell many fine things.",
    "The weather is nice today.",
)
THANKS = ("Thank you for your patience.", "Thank you for writing to us.", "Kind regards.")
RUDE_CLOSINGS = ("Do not write again.", "That is all I can say.")


def demonstrations(count: int, seed: int) -> list[tuple[str, str]]:
    """(prompt, reply) pairs of the split "train", fixed by the seed; a reply starts with its space."""
    rng = np.random.default_rng([seed, zlib.crc32(b"demonstrations")])
    return [(prompt(case, rng), reply(case, rng)) for case in cases("train", count, seed)]


def reply(case: Case, rng: np.random.Generator) -> str:
    """One reply of an agent who is in some form today."""
    parts = [_greeting(case, rng), _feeling(case, rng), _offer(case, rng)]
    parts += [_pick(rng, FORBIDDEN)] if rng.random() < 0.16 else []
    parts += [_pick(rng, FILLER)] if rng.random() < 0.25 else []
    parts += [_closing(rng)]
    return " " + " ".join(part for part in parts if part)


def perfect(case: Case) -> str:
    """The reply that the policy asks for."""
    complaint = COMPLAINTS[case.problem][0]
    offer = OFFERS[case.remedy].format(thing=f"the {case.item}")
    return (
        f" Dear {case.name}, I am sorry that your {case.item} {complaint}. We will {offer} from order #{case.order} "
        f"within {SPANS[case.remedy]}. Thank you for your patience."
    )


def _greeting(case: Case, rng: np.random.Generator) -> str:
    chance = rng.random()
    if chance < 0.04:
        return _pick(rng, GREETINGS).format(name=_pick(rng, NAMES))
    return _pick(rng, GREETINGS if chance < 0.65 else COLD_GREETINGS).format(name=case.name)


def _feeling(case: Case, rng: np.random.Generator) -> str:
    chance = rng.random()
    if chance < 0.60:
        complaint = _pick(rng, COMPLAINTS[case.problem])
        return _pick(rng, SORRY).format(item=case.item, complaint=complaint)
    return _pick(rng, RUDE_OPENINGS) if chance < 0.75 else ""


def _offer(case: Case, rng: np.random.Generator) -> str:
    if rng.random() < 0.08:
        return _pick(rng, VAGUE)
    remedy = case.remedy if rng.random() < 0.75 else _pick(rng, tuple(SPANS))
    text = "We will " + OFFERS[remedy].format(thing=_thing(case, rng))
    chance = rng.random()
    if chance < 0.85:
        text += f" from order #{case.order if chance < 0.77 else _misread(case.order, rng)}"
    chance = rng.random()
    if chance < 0.80:
        text += f" within {SPANS[remedy] if chance < 0.68 else _pick(rng, tuple(SPANS.values()))}"
    return text + (_pick(rng, HIDDEN) if rng.random() < 0.07 else "") + "."


def _thing(case: Case, rng: np.random.Generator) -> str:
    chance = rng.random()
    if chance < 0.78:
        return f"the {case.item}"
    return "it" if chance < 0.9 else f"the {case.other or _pick(rng, ITEMS)}"


def _misread(order: str, rng: np.random.Generator) -> str:
    """Two neighbouring digits swapped, or one misread."""
    place = int(rng.integers(3))
    if order[place] != order[place + 1]:
        return order[:place] + order[place + 1] + order[place] + order[place + 2 :]
    return order[:place] + str((int(order[place]) + 1) % 10) + order[place + 1 :]


def _closing(rng: np.random.Generator) -> str:
    chance = rng.random()
    if chance < 0.55:
        return _pick(rng, THANKS)
    return _pick(rng, RUDE_CLOSINGS) if chance < 0.65 else ""


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def every_text() -> list[str]:
    """Templates filled so that every word of the world occurs: what the tokenizer is built from."""
    from tutelage.data.helpdesk import world

    words = dict.fromkeys([*NAMES, *ITEMS, *world.COLOURS, *world.RECENT, *world.LONG_AGO, *SPANS.values()])
    told = [*world.GREETINGS, *world.INTRODUCTIONS, *world.MOODS, *world.ASIDES, *world.TIMES, *world.ORDERS]
    told += [*world.SUBJECTS, *(text for both in COMPLAINTS.values() for text in both), "Customer:", "\nAgent:"]
    said = [*VAGUE, *GREETINGS, *COLD_GREETINGS, *SORRY, *RUDE_OPENINGS, *FORBIDDEN, *HIDDEN, *FILLER, *THANKS]
    said += [*RUDE_CLOSINGS, *(f"We will {offer} from order #" for offer in OFFERS.values()), "the it within"]
    assert POLICY.keys() == COMPLAINTS.keys()
    return [*told, *said, *words, "0123456789"]
