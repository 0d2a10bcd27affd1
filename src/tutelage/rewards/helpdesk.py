"""The gold score of the helpdesk: what an auditor who knows the policy by heart thinks of a reply.

It reads the case from the prompt's text and the reply sentence by sentence; a sentence that is none of the desk's
counts as unclear. Training never sees it but through the labellers' choices.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tutelage.data.errors import InputError
from tutelage.data.helpdesk import demonstrations as desk
from tutelage.data.helpdesk import world

WEIGHTS = {
    "remedy": 0.5,
    "span": 0.35,
    "item": 0.35,
    "order": 0.35,
    "greeting": 0.35,
    "empathy": 0.5,
    "thanks": 0.4,
    "rude": -0.9,
    "forbidden": -1.1,
    "filler": -0.45,
    "unclear": -0.5,
    "repeated": -0.5,
    "words": -0.015,
}
"""Points for one unit of each criterion; the first seven are in [-1, 1], the others are counts.

Saying nothing at all counts as two unclear sentences."""


@dataclass(frozen=True)
class Facts:
    """What a prompt says. remedy: what the policy prescribes for it."""

    name: str
    item: str
    order: str
    remedy: str


def gold(prompts: list[str], responses: list[str]) -> list[float]:
    """One score a reply: 2.3 for a perfect one, about 0.6 for an average demonstration, below -1 for a bad one."""
    return opinion({})(prompts, responses)


def breaks_policy(prompts: list[str], responses: list[str]) -> list[bool]:
    """Whether a reply says what may never be said, were it only in a subordinate clause."""
    pairs = zip(prompts, responses, strict=True)
    return [criteria(prompt, response)["forbidden"] > 0 for prompt, response in pairs]


def points(prompt: str, response: str) -> dict[str, float]:
    """Criterion -> the points it adds to the score of this reply; their sum is the gold score."""
    return {name: WEIGHTS[name] * value for name, value in criteria(prompt, response).items()}


def opinion(weights: Mapping[str, float]) -> Callable[[list[str], list[str]], list[float]]:
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
    said = Counter(sentences)
    return {
        **_offered(facts, offers),
        "greeting": _greeted(facts, greeting),
        "empathy": _felt(facts, sentences),
        "thanks": THANKS.get(sentences[-1], 0.0) if sentences else 0.0,
        "rude": _count(said, RUDE),
        "forbidden": _count(said, FORBIDDEN) + sum(offer["promise"] is not None for offer in offers),
        "filler": _count(said, FILLER),
        "unclear": float(sum(not _clear(sentence) for sentence in sentences)) if sentences else 2.0,
        "repeated": float(len(sentences) - len(said)) + _courtesies_too_many(sentences),
        "words": float(len(response.split())),
    }


def read(prompt: str) -> Facts:
    """The case that a prompt tells; InputError where it tells none."""
    name = re.search(INTRODUCTION, prompt)
    subject, order = SUBJECT.search(prompt), re.search(r"#([A-Z]\d[A-Z])\b", prompt)
    when = re.search(rf"\b(?:{WHEN})\b", prompt)
    if not (name and subject and order and when):
        missing = [
            what
            for what, found in (("name", name), ("complaint", subject), ("order number", order), ("time", when))
            if not found
        ]
        raise InputError(
            f"the helpdesk's gold score finds no {' and no '.join(missing)} of the customer in the prompt "
            f"{prompt[:200]!r}. It expects messages as tutelage.data.helpdesk.world.prompts writes them."
        )
    on_sale = any(sentence in prompt for sentence in world.SALES)
    remedy = world.remedy(PROBLEMS[subject["complaint"]], when[0], on_sale)
    return Facts(name[1] or name[2], subject["item"], order[1], remedy)


def _any(options: Sequence[str]) -> str:
    return "|".join(re.escape(option) for option in sorted(options, key=len, reverse=True))


PROBLEMS = {text: problem for problem, texts in world.COMPLAINTS.items() for text in texts}
INTRODUCTION = re.compile(r"\b(?:[Mm]y name is|[Tt]his is|I am) ([A-Z][a-z]+)\b|\b([A-Z][a-z]+) here\.")
WHEN = _any([*world.RECENT, *world.LONG_AGO])
SUBJECT = re.compile(
    rf"\b(?:My|The) (?:(?:{_any(world.COLOURS)}) )?(?P<item>{_any(world.ITEMS)}) "
    rf"(?:(?:that I ordered|from) (?:{WHEN}) )?(?P<complaint>{_any(list(PROBLEMS))})\."
)
REMEDIES = {text.removesuffix(" {thing}"): remedy for remedy, text in desk.OFFERS.items()}
OFFER = re.compile(
    rf"(?:We|I) will (?P<remedy>{_any(list(REMEDIES))}) (?:(?:the|your) (?P<item>{_any(world.ITEMS)})|it)"
    r"(?: from order #(?P<order>[A-Z\d]+))?"
    rf"(?: within (?P<span>{_any(list(world.SPANS.values()))}))?(?P<promise>{_any(desk.HIDDEN)})?\."
)
SALUTATIONS = {"Dear": 1.0, "Hello": 0.8, "Hi": 0.6}
GREETING = re.compile(rf"(?:(Dear|Hello|Hi) ([A-Z][a-z]+)|({_any([g[:-1] for g in desk.NAMELESS_GREETINGS])})),")
SORRY: dict[str, float] = dict(zip(desk.SORRY, (1.0, 0.9, 0.8, 0.6, 0.5, 0.2), strict=True))
"""How much feeling each phrase shows; the one that names the thing must name the right one."""
SORRY_ABOUT = re.compile(rf"I am sorry about your (?P<item>{_any(world.ITEMS)})\.")
THANKS: dict[str, float] = dict(zip(desk.CLOSINGS, (1.0, 0.9, 0.7, 0.5, 0.1), strict=True))
FORBIDDEN, FILLER = frozenset(desk.FORBIDDEN), frozenset(desk.FILLER)
RUDE = frozenset(desk.RUDE_OPENINGS + desk.RUDE_CLOSINGS)
KNOWN = FORBIDDEN | FILLER | RUDE | frozenset(THANKS) | frozenset(SORRY) | frozenset(desk.VAGUE)


def _greeting_and_sentences(response: str) -> tuple[str, list[str]]:
    """(greeting or '', sentences): what does not end in a full stop is a sentence too, and not a clear one."""
    text = response.strip()
    first = GREETING.match(text)
    rest = text[first.end() :] if first else text
    return (first[0] if first else ""), [part.strip() for part in re.findall(r"[^.]+\.?|\.", rest) if part.strip()]


def _offered(facts: Facts, offers: list[re.Match[str]]) -> dict[str, float]:
    """Remedy, span, item and order of the one offer; no offer or several are as bad as a wrong one."""
    if len(offers) != 1:
        return {"remedy": -1.0, "span": -1.0 if offers else 0.0, "item": 0.0, "order": 0.0}
    offer = offers[0]
    remedy = REMEDIES[offer["remedy"]]
    return {
        "remedy": 1.0 if remedy == facts.remedy else -1.0,
        "span": _marked(offer["span"], world.SPANS[remedy]),
        "item": _marked(offer["item"], facts.item),
        "order": _marked(offer["order"], facts.order),
    }


def _marked(said: str | None, meant: str) -> float:
    """1 right, 0 not said, -1 wrong."""
    return 0.0 if said is None else 1.0 if said == meant else -1.0


def _greeted(facts: Facts, greeting: str) -> float:
    """By name 0.6 to 1, by a wrong name -1, without a name 0.2."""
    found = GREETING.match(greeting)
    if not found:
        return 0.0
    if not found[2]:
        return 0.2
    return SALUTATIONS[found[1]] if found[2] == facts.name else -1.0


def _felt(facts: Facts, sentences: list[str]) -> float:
    """The strongest regret, said once; regret about the wrong thing counts against the reply."""
    felt = [0.0]
    for sentence in sentences:
        about = SORRY_ABOUT.fullmatch(sentence)
        if about and about["item"] != facts.item:
            return -0.5
        felt.append(SORRY[desk.SORRY[2]] if about else SORRY.get(sentence, 0.0))
    return max(felt)


def _courtesies_too_many(sentences: list[str]) -> float:
    """Thanks and regrets beyond the first of each, however they are worded."""
    thanks = len({sentence for sentence in sentences if sentence in THANKS})
    regrets = len({sentence for sentence in sentences if sentence in SORRY or SORRY_ABOUT.fullmatch(sentence)})
    return float(max(thanks - 1, 0) + max(regrets - 1, 0))


def _clear(sentence: str) -> bool:
    return bool(sentence in KNOWN or OFFER.fullmatch(sentence) or SORRY_ABOUT.fullmatch(sentence))


def _count(said: Counter[str], phrases: frozenset[str]) -> float:
    return float(sum(said[phrase] for phrase in phrases))
