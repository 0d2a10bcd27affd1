"""Questions and scores -> the pairs that people judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.data.questions import Pair, Question
from tutelage.formulas.intervals import share as share  # where 0.1.0 had it


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


def way_of(values_N: np.ndarray, clusters_N: np.ndarray) -> str:
    """How `intervals.share` finds the interval: "clopper-pearson" of independent 0s and 1s, "clustered" of anything
    else, "unknown" where one cluster has several values, which say nothing of other clusters."""
    groups, count = len(np.unique(clusters_N)), len(values_N)
    if count == groups and np.isin(values_N, (0.0, 1.0)).all():
        return "clopper-pearson"
    return "clustered" if groups > 1 or count == 1 else "unknown"
