"""Which pairs of a policy's replies are put to people, as questions of the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.data.control_tokens import as_value
from tutelage.data.errors import InputError
from tutelage.data.records import Candidate, Context, candidate_id
from tutelage.feedback import questions
from tutelage.feedback.asking import Asking

INTERESTS = {"uniform": questions.uniform, "disagreement": questions.disagreement, "high-scores": questions.high_scores}


@dataclass(frozen=True)
class Pairs:
    """What could be asked. name: what the questions' names begin with; policies: versions of what wrote the replies
    scores: (prompt, reply) texts -> [N, M] by each member of a reward model, None where there is none yet
    """

    name: str
    policies: tuple[str, str]
    prompts: Sequence[str]
    replies: Sequence[tuple[str, str]]
    scores: Callable[[list[tuple[str, str]]], np.ndarray] | None
    interest: str
    seed: int

    def differing(self) -> list[int]:
        """Places where there is something to choose."""
        return [place for place, (first, second) in enumerate(self.replies) if first != second]

    def scored(self, places: Sequence[int]) -> np.ndarray:
        """[N, 2, M]; zeros of one member where nobody scores yet."""
        if self.scores is None:
            return np.zeros((len(places), 2, 1))
        texts = [(self.prompts[place], reply) for place in places for reply in self.replies[place]]
        return self.scores(texts).reshape(len(places), 2, -1)


def asked_of(pairs: Pairs, count: int, uniform_fraction: float) -> list[Asking]:
    """At most `count` of them, chosen by their interest, with the probability with which each was included."""
    places = pairs.differing()
    if not places:
        raise InputError("both replies are the same to every prompt, so there is nothing to choose between.")
    scores_NKM = pairs.scored(places)
    interest_N = INTERESTS[pairs.interest](scores_NKM)
    probs_N = questions.inclusion(interest_N, min(count, len(places)), uniform_fraction)
    taken = questions.drawn(probs_N, np.random.default_rng(pairs.seed))
    means_NK = scores_NKM.mean(axis=2) if pairs.scores else None
    return [
        Asking(
            context=context_of(pairs.prompts[int(places[row])]),
            candidates=candidates_of(pairs, places[row], None if means_NK is None else means_NK[row]),
            name=f"{pairs.name}-{number:05d}",
            asked_with=float(min(1.0, probs_N[row])),
            policy=pairs.policies[0],
        )
        for number, row in enumerate(taken)
    ]


def context_of(prompt: str) -> Context:
    """A prompt as people and files see it: as a talk where a chat template wrote it."""
    value = as_value(prompt)
    return Context(prompt=value) if isinstance(value, str) else Context(messages=tuple(value))


def candidates_of(pairs: Pairs, place: int, scores_K: np.ndarray | None) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(
            id=candidate_id(pairs.name, pairs.prompts[place], slot, text),
            text=text,
            policy=pairs.policies[slot],
            score=None if scores_K is None else float(scores_K[slot]),
        )
        for slot, text in enumerate(pairs.replies[place])
    )
