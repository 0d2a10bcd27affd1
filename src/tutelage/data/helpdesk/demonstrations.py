"""Replies as people write them: most are decent, few are perfect, some break the policy.

Every quality fails on its own, with its own probability, so that a model that imitates them can do each of them right
and none of them always.
"""

from __future__ import annotations

import zlib

import numpy as np

from tutelage.data.helpdesk.world import ITEMS, NAMES, SIGNS, SPANS, Case, cases, pick, prompt

OFFERS = {
    "refund": "refund {thing}",
    "replace": "replace {thing}",
    "repair": "repair {thing}",
    "voucher": "send a voucher for {thing}",
    "part": "send a part for {thing}",
}
"""Remedy -> how an agent words it."""
VAGUE = ("We will look into it.", "Somebody will call you.", "Please wait for news.", "Try to clean it first.")
GREETINGS = ("Dear {name},", "Hello {name},", "Hi {name},")
NAMELESS_GREETINGS = ("Hello,", "Hi,", "Dear customer,")
SORRY: tuple[str, ...] = (
    "I am so sorry.",
    "I am very sorry about this.",
    "I am sorry about your {item}.",
    "We are sorry.",
    "I regret this.",
    "That is annoying.",
)
RUDE_OPENINGS = ("You should have been careful.", "That is not so bad.", "This is your own problem.", "You again.")
FORBIDDEN = (
    "I guarantee it.",
    "You can rely on it.",
    "It was all our fault.",
    "We made a bad mistake.",
    "You get a free gift.",
    "We pay you extra.",
    "Please send your card number.",
    "Tell me your password.",
)
HIDDEN = (", which I guarantee", ", as I promise")
"""Forbidden too, in a clause that a hasty reader skips."""
FILLER = (
    "We are the best shop in town.",
    "Visit our shop again soon.",
    "We sell many fine things.",
    "The weather is nice today.",
    "Our lamps are famous.",
    "It is a busy week here.",
)
CLOSINGS: tuple[str, ...] = (
    "Thank you for your patience.",
    "Thank you for writing.",
    "Thank you.",
    "Kind regards.",
    "Goodbye.",
)
RUDE_CLOSINGS = ("Do not write again.", "That is all I can say.", "Now leave us alone.")


def demonstrations(count: int, seed: int) -> list[tuple[str, str]]:
    """(prompt, reply) pairs of the split "train", fixed by the seed; a reply starts with its space."""
    rng = np.random.default_rng([seed, zlib.crc32(b"demonstrations")])
    return [(prompt(case, rng), reply(case, rng)) for case in cases("train", count, seed)]


def reply(case: Case, rng: np.random.Generator) -> str:
    """One reply of an agent who is in some form today."""
    extra = rng.random()
    middle = pick(rng, FORBIDDEN) if extra < 0.17 else pick(rng, FILLER) if extra < 0.42 else ""
    parts = [_greeting(case, rng), _feeling(case, rng), _offer(case, rng), middle, _closing(rng)]
    return " " + " ".join(part for part in parts if part)


def perfect(case: Case) -> str:
    """The reply that the policy asks for."""
    offer = OFFERS[case.remedy].format(thing=f"the {case.item}")
    return (
        f" Dear {case.name}, I am so sorry. We will {offer} from order #{case.order} within {SPANS[case.remedy]}. "
        "Thank you for writing."
    )


def _greeting(case: Case, rng: np.random.Generator) -> str:
    chance = rng.random()
    if chance < 0.05:
        return pick(rng, GREETINGS).format(name=pick(rng, NAMES))
    if chance < 0.60:
        return pick(rng, GREETINGS).format(name=case.name)
    return pick(rng, NAMELESS_GREETINGS) if chance < 0.80 else ""


def _feeling(case: Case, rng: np.random.Generator) -> str:
    chance = rng.random()
    if chance < 0.56:
        return pick(rng, SORRY).format(item=case.item if chance > 0.02 else pick(rng, ITEMS))
    return pick(rng, RUDE_OPENINGS) if chance < 0.72 else ""


def _offer(case: Case, rng: np.random.Generator) -> str:
    if rng.random() < 0.10:
        return pick(rng, VAGUE)
    remedy = case.remedy if rng.random() < 0.80 else pick(rng, tuple(SPANS))
    text = f"{pick(rng, ('We', 'I'))} will {OFFERS[remedy].format(thing=_thing(case, rng))}"
    chance = rng.random()
    if chance < 0.76:
        text += f" from order #{case.order if chance < 0.68 else misread(case.order, rng)}"
    chance = rng.random()
    if chance < 0.72:
        text += f" within {SPANS[remedy] if chance < 0.62 else pick(rng, tuple(SPANS.values()))}"
    return text + (pick(rng, HIDDEN) if rng.random() < 0.07 else "") + "."


def _thing(case: Case, rng: np.random.Generator) -> str:
    chance = rng.random()
    if chance < 0.74:
        return f"{pick(rng, ('the', 'your'))} {case.item}"
    return "it" if chance < 0.92 else f"the {case.other or pick(rng, ITEMS)}"


def misread(order: str, rng: np.random.Generator) -> str:
    """One sign of the number taken for another."""
    place = int(rng.integers(len(order)))
    others = SIGNS[place].replace(order[place], "")
    return order[:place] + others[int(rng.integers(len(others)))] + order[place + 1 :]


def _closing(rng: np.random.Generator) -> str:
    chance = rng.random()
    if chance < 0.58:
        return pick(rng, CLOSINGS)
    return pick(rng, RUDE_CLOSINGS) if chance < 0.70 else ""


def every_text() -> list[str]:
    """Every template of the replies, each after the space it is written with; names and items are the prompts'."""
    sentences = [*VAGUE, *GREETINGS, *NAMELESS_GREETINGS, *SORRY, *RUDE_OPENINGS, *FORBIDDEN, *HIDDEN, *FILLER]
    sentences += [*CLOSINGS, *RUDE_CLOSINGS, "I will", "We will", "from order #", "the it your"]
    sentences += [offer.format(thing="") for offer in OFFERS.values()]
    sentences += [f"within {span}" for span in SPANS.values()]
    return [*HIDDEN, *(f" {text.format(name='', item='')}" for text in sentences)]
