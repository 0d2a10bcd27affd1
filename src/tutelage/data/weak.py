"""Comparisons that nobody had to make: text against a worse copy of itself, answers by the votes they got.

Preference-model pretraining (Bai et al. 2022; Askell et al. 2021) learns from many of them before it sees the few
labels that people give. They are weak: an edited text is worse more often than not, and votes follow more than quality.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import combinations
from types import MappingProxyType

import numpy as np

from tutelage.data.errors import InputError
from tutelage.data.questions import Pair, Question, chosen

Edit = Callable[[str, str, np.random.Generator], str]
"""(reply, a reply to another prompt, rng) -> what is probably worse; the same text where it cannot be made worse."""

SENTENCE = re.compile(r"\s*[^.!?]+[.!?]*")


def answers_another(reply: str, other: str, rng: np.random.Generator) -> str:
    """The reply to another prompt: fluent, and beside the point."""
    return other


def without_a_sentence(reply: str, other: str, rng: np.random.Generator) -> str:
    sentences = SENTENCE.findall(reply)
    lost = int(rng.integers(len(sentences))) if len(sentences) > 1 else -1
    return "".join(each for place, each in enumerate(sentences) if place != lost)


def with_a_foreign_sentence(reply: str, other: str, rng: np.random.Generator) -> str:
    """One sentence of the reply gives way to one of the other."""
    sentences, others = SENTENCE.findall(reply), SENTENCE.findall(other)
    if sentences and others:
        sentences[int(rng.integers(len(sentences)))] = others[int(rng.integers(len(others)))]
    return "".join(sentences)


def out_of_order(reply: str, other: str, rng: np.random.Generator) -> str:
    """The same words, some of them elsewhere."""
    words = re.findall(r"\s*\S+", reply)
    return "".join(words[place] for place in np.argsort(np.arange(len(words)) + rng.uniform(0, 4, len(words))))


EDITS = MappingProxyType(
    {each.__name__: each for each in (answers_another, without_a_sentence, with_a_foreign_sentence, out_of_order)}
)


def edited(demonstrations: Sequence[tuple[str, str]], seed: int, edits: Sequence[Edit] = ()) -> list[Question]:
    """Each (prompt, reply) preferred to an edited copy of the reply; one that no edit changed is left out.

    edits: one of them, drawn for each reply; by default all of `EDITS`
    """
    if len(demonstrations) < 2:
        raise InputError(f"weak comparisons need at least 2 demonstrations, got {len(demonstrations)}.")
    rng, edits = np.random.default_rng([seed, 0x3EA7]), edits or tuple(EDITS.values())
    found = []
    for place, (prompt, reply) in enumerate(demonstrations):
        elsewhere = (place + 1 + int(rng.integers(len(demonstrations) - 1))) % len(demonstrations)
        edit = edits[int(rng.integers(len(edits)))]
        worse = edit(reply, demonstrations[elsewhere][1], rng)
        if worse.strip() and worse.strip() != reply.strip():
            about = {"edit": getattr(edit, "__name__", "edit")}
            found.append(Question(prompt, (reply, worse), chosen(0, 2), 0, columns=about))
    if not found:
        raise InputError(
            f"none of the {len(demonstrations)} replies was changed by an edit. Give others, or other edits."
        )
    return found


def by_ratings(questions: Sequence[Question], axis: str) -> list[Question]:
    """Ranked answers: of two responses to a prompt, the higher on the axis is preferred; equal ones are no pair."""
    found = []
    for question in questions:
        numbers = dict(enumerate(question.ratings.get(axis, ())))
        rated = {place: number for place, number in numbers.items() if number is not None}
        pairs = [Pair(i, j, float(rated[i] > rated[j])) for i, j in combinations(rated, 2) if rated[i] != rated[j]]
        if pairs:
            found.append(Question(question.prompt, question.responses, tuple(pairs), columns=question.columns))
    if not found:
        raise InputError(f"no two responses to a prompt differ on the axis {axis!r}, so there is nothing to compare.")
    return found
