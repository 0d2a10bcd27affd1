"""How often a model and people prefer the same reply, beside the length of the replies and beside chance.

Ties are counted and left out of an accuracy: where people prefer neither, nobody can be right. (`accuracy_ties_half`
counts them, half a point for whatever the model says.) Several votes on a pair stand for their majority.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tutelage.data.errors import InputError
from tutelage.data.questions import Question
from tutelage.evaluation.judged import JudgedPairs, way_of
from tutelage.formulas import intervals
from tutelage.formulas.intervals import Estimate, share

MOST_SUBSETS = 100
ACCURACY = ("accuracy", "accuracy_low", "accuracy_high", "accuracy_n")


def accuracy(pairs: JudgedPairs) -> dict[str, Any]:
    """Counts, accuracy, the length rule's (preferring the longer reply) on the same pairs, and what is between them.

    below_chance: whether the whole interval lies below ½, as of a model that was trained for something else.
    """
    counts = {"pairs": len(pairs), "ties": int((pairs.targets_P == 0.5).sum())}
    counts["prompts"] = len(np.unique(pairs.prompts_P))
    told = pairs.preferred()
    if not len(told):
        return counts
    right_P, longer_P = told.right(told.differences_P), told.right(told.longer_P)
    found = share(right_P, told.prompts_P)
    return {
        **counts,
        **found.row("accuracy"),
        "interval": way_of(right_P, told.prompts_P),
        "accuracy_ties_half": float((right_P.sum() + 0.5 * counts["ties"]) / len(pairs)),
        **share(longer_P, told.prompts_P).row("length_rule_accuracy"),
        "random_accuracy": 0.5,
        **_beyond(right_P - longer_P, told.prompts_P).row("accuracy_beyond_length"),
        "below_chance": found.high < 0.5,
    }


def _beyond(differences_P: np.ndarray, prompts_P: np.ndarray) -> Estimate:
    """How much more often right than the length rule, paired: what both find easy cancels.

    Without an interval where nothing scatters: then the pairs do not tell how far the difference may go.
    """
    prompts = len(np.unique(prompts_P))
    if prompts < 2 or not np.ptp(differences_P) > 0:
        return Estimate(float(differences_P.mean()), np.nan, np.nan, prompts)
    return intervals.bounded_mean(differences_P, prompts_P, -1.0, 1.0)


def best_of(questions: Sequence[Question], scores: Sequence[np.ndarray]) -> dict[str, Any]:
    """How often the reply that wins against all others has the highest score, where there are more than two.

    Equal scores share. random_accuracy: the mean of 1/K. Nothing where no question is so.
    """
    rows = [
        (_leads(scores_K, each.best), _leads(lengths(each), each.best), 1 / len(each.responses), each.prompt)
        for each, scores_K in zip(questions, scores, strict=True)
        if len(each.responses) > 2 and each.best is not None
    ]
    if not rows:
        return {}
    right, longest, chance, prompts = (np.array(column) for column in zip(*rows, strict=True))
    return {
        "questions": len(rows),
        **share(right, prompts).row("accuracy"),
        **share(longest, prompts).row("length_rule_accuracy"),
        "random_accuracy": float(chance.mean()),
    }


def lengths(question: Question) -> np.ndarray:
    """[K] characters."""
    return np.array([float(len(response)) for response in question.responses])


def _leads(values_K: np.ndarray, best: int | None) -> float:
    top_K = np.asarray(values_K) == np.max(values_K)
    return float(top_K[best]) / float(top_K.sum()) if best is not None else 0.0


def by_column(questions: Sequence[Question], pairs: JudgedPairs, column: str) -> dict[str, Any]:
    """Accuracy for each value of a column, and two means of it, as RewardBench reports them.

    weighted: every pair counts the same; unweighted: every subset does. A subset without a preference has no accuracy
    and stands in no mean. InputError where the column cannot serve.
    """
    names_Q = np.array([str(each.columns.get(column, "(none)")) for each in questions])
    _refuse_column(questions, names_Q, column)
    names_P = names_Q[pairs.questions_P]
    whole = accuracy(pairs)
    return {
        "column": column,
        "subsets": [{"subset": name, **accuracy(pairs.where(names_P == name))} for name in np.unique(names_Q).tolist()],
        "weighted": {name: whole.get(name) for name in ACCURACY},
        "unweighted": _mean_of_subsets(pairs, names_P).row("accuracy"),
    }


def _mean_of_subsets(pairs: JudgedPairs, names_P: np.ndarray) -> Estimate:
    """Its interval is over prompts, because one prompt may stand in several subsets.

    The mean of subsets is a weighted mean of pairs, of weight 1 / (subsets · pairs of the subset). Its variance is that
    of the weighted residuals, summed by prompt.
    """
    told, subsets_N = pairs.preferred(), names_P[pairs.targets_P != 0.5]
    right_N = told.right(told.differences_P)
    if not len(told):
        return Estimate(np.nan, np.nan, np.nan, 0)
    _, place_N = np.unique(subsets_N, return_inverse=True)
    count_S = np.bincount(place_N)
    mean_S = np.bincount(place_N, weights=right_N) / count_S
    _, prompt_N = np.unique(told.prompts_P, return_inverse=True)
    prompts, mean = int(prompt_N.max()) + 1, float(mean_S.mean())
    if prompts < intervals.FEWEST_CLUSTERS:
        return Estimate(mean, np.nan, np.nan, prompts)
    size_N = count_S[place_N]
    weight_N = 1 / (len(count_S) * size_N)
    apart_N = (right_N - mean_S[place_N]) * np.sqrt(size_N / np.maximum(1, size_N - 1))
    apart_N = np.where(size_N > 1, apart_N, right_N - mean)  # of one pair alone nobody knows how it scatters
    sums_G = np.bincount(prompt_N, weights=weight_N * apart_N)
    weights_G = np.bincount(prompt_N, weights=weight_N)
    variance, units = float((sums_G**2).sum()), 1 / float((weights_G**2).sum())
    found = intervals.from_variance(mean, variance, sums_G, (0.0, 1.0), units)
    return Estimate(found.value, found.low, found.high, prompts)


def _refuse_column(questions: Sequence[Question], names_Q: np.ndarray, column: str) -> None:
    known = sorted({name for each in questions for name in each.columns})
    if column not in known:
        raise InputError(
            f"--by {column}: the data have no such column to group by. There are: {', '.join(known) or 'none'}."
        )
    values = len(set(names_Q.tolist()))
    if values > MOST_SUBSETS:
        raise InputError(
            f"--by {column}: it has {values} different values, and at most {MOST_SUBSETS} subsets can be told apart. "
            f"Give a column that groups: {', '.join(each for each in known if each != column) or 'there is none'}."
        )


def accuracy_share(pairs: JudgedPairs) -> Estimate:
    """The accuracy alone."""
    told = pairs.preferred()
    return share(told.right(told.differences_P), told.prompts_P)
