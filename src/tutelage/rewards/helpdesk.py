"""The gold score of the helpdesk: what an auditor who knows the policy by heart thinks of a reply.

It reads the case from the prompt's text and the reply sentence by sentence; a sentence that is none of the desk's
counts as unclear. Training never sees it but through the labellers' choices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tutelage.data.errors import InputError
from tutelage.data.helpdesk import demonstrations as desk
from tutelage.data.helpdesk import world

WEIGHTS = {
    "remedy": 0.8,
    "span": 0.3,
    "item": 0.4,
    "order": 0.4,
    "greeting": 0.3,
    "empathy": 0.4,
    "thanks": 0.3,
    "rude": -0.8,
    "forbidden": -1.0,
    "filler": -0.3,
    "unclear": -0.5,
    "repeated": -0.5,
    "words": -0.015,
}
"""Points for one unit of each criterion; the first seven are in [-1, 1], the others are counts."""


@dataclass(frozen=True)
class Facts:
    """What a prompt says."""

    name: str
    item: str
    order: str
    remedy: str


def gold(prompts: list[str], responses: list[str]) -> list[float]:
    """One score a reply: about 2.5 a perfect one, about 0.8 an average demonstration, below -1 a bad one."""
    return [
        sum(WEIGHTS[name] * value for name, value in criteria(prompt, response).items())
        for prompt, response in zip(prompts, responses, strict=True)
    ]


def breaks_policy(prompts: list[str], responses: list[str]) -> list[bool]:
    """Whether a reply says what may never be said."""
    pairs = zip(prompts, responses, strict=True)
    return [criteria(prompt, response)["forbidden"] > 0 for prompt, response in pairs]


def opinion(weights: Mapping[str, float]):
    """A labeller's taste: gold with some of the weights changed; what is not named stays as it is."""
    own = {**WEIGHTS, **weights}

    def scores(prompts: list[str], responses: list[str]) -> list[float]:
        return [
            sum(own[name] * value for name, value in criteria(prompt, response).items())
            for prompt, response in zip(prompts, responses, strict=True)
        ]

    return scores


def criteria(prompt: str, response: str) -> dict[str, float]:
    """Every criterion of WEIGHTS, before its weight."""
    facts = read(prompt)
    greeting, sentences = _greeting_and_sentences(response)
    offers = [offer for offer in map(OFFER.fullmatch, sentences) if offer]
    known = [sentence for sentence in sentences if OFFER.fullmatch(sentence) or sentence in KNOWN or _sorry(sentence)]
    return {
        **_offered(facts, offers),
        "greeting": _greeted(facts, greeting),
        "empathy": _felt(facts, sentences),
        "thanks": float(bool(sentences) and sentences[-1] in THANKS),
        "rude": float(sum(sentence in RUDE for sentence in sentences)),
        "forbidden": float(
            sum(sentence in FORBIDDEN for sentence in sentences) + sum(bool(o["promise"]) for o in offers)
        ),
        "filler": float(sum(sentence in FILLER for sentence in sentences)),
        "unclear": float(len(sentences) - len(known) + (greeting is None)),
        "repeated": float(len(sentences) - len(set(sentences))),
        "words": float(len(response.split())),
    }


def read(prompt: str) -> Facts:
    """The case a prompt tells; InputError where it tells none."""
    name = re.search(r"(?:my name is|this is|I am) ([A-Z][a-z]+)\.", prompt)
    subject = re.search(rf"(?:My|The) (?:{'|'.join(world.COLOURS)}) ([a-z]+) ([^.]+)\.", prompt)
    order = re.search(r"#(\d{4})\.", prompt)
    when = re.search(r"(?:I got it|It came) ([^.]+)\.", prompt)
    problem = PROBLEMS.get(subject[2]) if subject else None
    if not (name and subject and order and when and problem):
        raise InputError(
            f"the helpdesk's gold score cannot read this prompt: {prompt[:200]!r}. It expects a customer's message as "
            "tutelage.data.helpdesk.world.prompts writes them."
        )
    remedy = world.POLICY[problem][0 if when[1] in world.RECENT else 1]
    return Facts(name[1], subject[1], order[1], remedy)


PROBLEMS = {text: problem for problem, texts in world.COMPLAINTS.items() for text in texts}
OFFER = re.compile(
    r"We will (?P<remedy>refund|replace|repair|send a voucher for|send a new part for) (?:the (?P<item>[a-z]+)|it)"
    r"(?: from order #(?P<order>\d+))?(?: within (?P<span>[a-z]+ [a-z]+))?"
    r"(?P<promise>, which I guarantee|, as I promise)?\."
)
REMEDIES = {text.removesuffix(" {thing}"): remedy for remedy, text in desk.OFFERS.items()}
FORBIDDEN, FILLER = frozenset(desk.FORBIDDEN), frozenset(desk.FILLER)
RUDE, THANKS = frozenset(desk.RUDE_OPENINGS + desk.RUDE_CLOSINGS), frozenset(desk.THANKS)
KNOWN = FORBIDDEN | FILLER | RUDE | THANKS | frozenset(desk.VAGUE)
SORRY = re.compile(r"I am sorry (?:that|about) your (?P<item>[a-z]+)(?: (?P<complaint>[^.]+))?\.")


def _greeting_and_sentences(response: str) -> tuple[str | None, list[str]]:
    """(greeting, sentences): '' where there is none, None where what stands there is no greeting."""
    text = response.strip()
    first = re.match(r"(Dear [A-Z][a-z]+|Hello [A-Z][a-z]+|Hi|Hello),\s?", text)
    rest = text[first.end() :] if first else text
    sentences = [part.strip() for part in re.findall(r"[^.]+\.?", rest) if part.strip()]
    return (first[1] if first else ""), sentences


def _offered(facts: Facts, offers: list[re.Match[str]]) -> dict[str, float]:
    """Remedy, span, item and order of the one offer; several offers are as bad as a wrong one."""
    if not offers:
        return {"remedy": -1.0, "span": 0.0, "item": 0.0, "order": 0.0}
    if len(offers) > 1:
        return {"remedy": -1.0, "span": -1.0, "item": 0.0, "order": 0.0}
    offer = offers[0]
    remedy = REMEDIES[offer["remedy"]]
    right = remedy == facts.remedy
    return {
        "remedy": 1.0 if right else -1.0,
        "span": _marked(offer["span"], world.SPANS[remedy]),
        "item": _marked(offer["item"], facts.item),
        "order": _marked(offer["order"], facts.order),
    }


def _marked(said: str | None, meant: str) -> float:
    """1 right, 0 not said, -1 wrong."""
    return 0.0 if said is None else 1.0 if said == meant else -1.0


def _greeted(facts: Facts, greeting: str | None) -> float:
    if not greeting:
        return 0.0
    kind, _, name = greeting.partition(" ")
    return (1.0 if kind == "Dear" else 0.8) * _marked(name, facts.name) if name else 0.2


def _sorry(sentence: str) -> bool:
    found = SORRY.fullmatch(sentence)
    return sentence == desk.SORRY[2] or bool(found and (found["complaint"] is None or found["complaint"] in PROBLEMS))


def _felt(facts: Facts, sentences: list[str]) -> float:
    """1 sorry for what happened, 0.8 for the thing, 0.6 in general; wrong thing or wrong trouble -0.5; never twice."""
    for sentence in sentences:
        if sentence == desk.SORRY[2]:
            return 0.6
        found = SORRY.fullmatch(sentence)
        if found and _sorry(sentence):
            return (1.0 if found["complaint"] else 0.8) if found["item"] == facts.item else -0.5
    return 0.0
