"""Questions and scores -> the pairs that people judged, and shares of them with an interval that knows the prompts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.data.questions import Pair, Question
from tutelage.formulas import intervals


@dataclass(frozen=True)
class JudgedPairs:
    """P pairs of replies that people compared, beside what a model and the length of the replies say of them.

    differences_P: score of the first minus the second; targets_P: P(first preferred), 0.5 a tie
    longer_P: characters of the first minus the second
    questions_P: index of the question that the pair belongs to; prompts_P: its prompt, by a number of its own
    """

    differences_P: np.ndarray
    targets_P: np.ndarray
    longer_P: np.ndarray
    questions_P: np.ndarray
    prompts_P: np.ndarray

    def __len__(self) -> int:
        return len(self.targets_P)

    def where(self, rows_P: np.ndarray) -> JudgedPairs:
        """The pairs that a mask (or indices) picks."""
        return JudgedPairs(**{name: values[rows_P] for name, values in vars(self).items()})

    def preferred(self) -> JudgedPairs:
        """Those without the ties: of which people prefer one."""
        return self.where(self.targets_P != 0.5)

    def right(self, says_P: np.ndarray) -> np.ndarray:
        """[P] 1 where what is said has the sign of what people prefer, 0 where not, ½ where it says 0."""
        agreed_P = np.sign(says_P) == np.sign(self.targets_P - 0.5)
        return np.where(says_P == 0, 0.5, agreed_P.astype(np.float64))


def judged_pairs(
    questions: Sequence[Question],
    scores: Sequence[np.ndarray],
    pairs_of: Callable[[Question], Sequence[Pair]] = lambda question: question.pairs,
) -> JudgedPairs:
    """scores: for each question its K scores. ValueError where they are not K finite numbers.

    pairs_of: which pairs of a question; those that were judged, unless something else is meant
    """
    refuse_unscored(questions, scores)
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(each.prompt for each in questions))}
    rows = [
        (
            float(scores_K[pair.first] - scores_K[pair.second]),
            pair.target,
            float(len(each.responses[pair.first]) - len(each.responses[pair.second])),
            place,
            numbers[each.prompt],
        )
        for place, (each, scores_K) in enumerate(zip(questions, scores, strict=True))
        for pair in pairs_of(each)
    ]
    table = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    return JudgedPairs(table[0], table[1], table[2], table[3].astype(int), table[4].astype(int))


def refuse_unscored(questions: Sequence[Question], scores: Sequence[np.ndarray]) -> None:
    if len(scores) != len(questions):
        raise ValueError(f"each question needs its scores, got {len(questions)} questions and {len(scores)} scored")
    for each, scores_K in zip(questions, scores, strict=True):
        if np.shape(scores_K) != (len(each.responses),) or not np.isfinite(scores_K).all():
            raise ValueError(
                f"the {len(each.responses)} replies to {each.prompt[-40:]!r} have the scores {np.asarray(scores_K)}, "
                "expected one finite number each"
            )


@dataclass(frozen=True)
class Share:
    """A share of `count` pairs with its 95 % interval within [0, 1]. way: how that was found (`share`)."""

    value: float
    low: float
    high: float
    count: int
    way: str


def share(values_N: np.ndarray, clusters_N: np.ndarray) -> Share:
    """Mean of values in [0, 1]. Wilson where every cluster (prompt) has one value and all are 0 or 1, else clustered.

    A single cluster with several values says nothing of others: (0, 1), "unknown". Where nothing scatters between
    clusters, the clustered interval would be a point; then Wilson's for so many clusters.
    """
    groups, count = len(np.unique(clusters_N)), len(values_N)
    mean = float(values_N.mean())
    by_wilson = Share(mean, *intervals.wilson(mean * groups, groups), count, "wilson")
    if count == 1 or (groups == count and np.isin(values_N, (0.0, 1.0)).all()):
        return by_wilson
    if groups < 2:
        return Share(mean, 0.0, 1.0, count, "unknown")
    _, low, high = intervals.clustered(values_N, clusters_N)
    if not high > low:
        return by_wilson
    return Share(mean, max(0.0, low), min(1.0, high), count, "clustered")


def named(name: str, value: float, low: float, high: float) -> dict[str, float | None]:
    """name, name_low, name_high; None for what is no finite number, since JSON has no word for it."""
    numbers = zip(("", "_low", "_high"), (value, low, high), strict=True)
    return {f"{name}{end}": each if math.isfinite(each) else None for end, each in numbers}


def named_share(name: str, found: Share) -> dict[str, Any]:
    return named(name, found.value, found.low, found.high)
