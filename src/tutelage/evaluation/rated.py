"""A score beside ratings of single replies: area under the curve for good and bad, correlation of ranks for grades."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tutelage.data.questions import Pair, Question
from tutelage.evaluation.accuracy import accuracy, lengths
from tutelage.evaluation.judged import judged_pairs
from tutelage.formulas import intervals
from tutelage.formulas.association import area_under_curve, rank_correlation


def ratings(questions: Sequence[Question], scores: Sequence[np.ndarray]) -> dict[str, Any]:
    """Axis -> what the score knows of it. Nothing where nothing was rated."""
    axes = sorted({axis for each in questions for axis in each.ratings})
    found = {axis: _axis(questions, scores, axis) for axis in axes}
    return {axis: row for axis, row in found.items() if row}


def _axis(questions: Sequence[Question], scores: Sequence[np.ndarray], axis: str) -> dict[str, Any]:
    """The statistic of the score and, as the baseline, of the reply's length; intervals by prompt.

    area_under_curve (chance ½) where there are two grades, else rank_correlation (chance 0). within_prompts: accuracy
    on the pairs of one prompt whose grades differ, where several replies to one were rated.
    """
    rows = [
        (rating, score, characters, each.prompt)
        for each, scores_K in zip(questions, scores, strict=True)
        for rating, score, characters in zip(each.ratings.get(axis, ()), scores_K, lengths(each), strict=False)
        if rating is not None
    ]
    prompts = [prompt for *_, prompt in rows]
    if len(set(prompts)) < 2:
        return {}
    rated_N, scores_N, characters_N = np.array([row[:3] for row in rows]).T
    grades = np.unique(rated_N)
    two = len(grades) == 2
    name = "area_under_curve" if two else "rank_correlation"

    def statistic(values_N: np.ndarray, rows: np.ndarray) -> float:
        if two:
            return area_under_curve(values_N[rows], rated_N[rows] == grades[1])
        return rank_correlation(values_N[rows], rated_N[rows])

    bounds, prompts_N = ((0.0, 1.0) if two else (-1.0, 1.0)), np.array(prompts)
    rarer = fewer_prompts(prompts_N, rated_N == grades[1]) if two else None
    found = intervals.jackknife(lambda rows: statistic(scores_N, rows), prompts_N, bounds, rarer)
    by_length = intervals.jackknife(lambda rows: statistic(characters_N, rows), prompts_N, bounds, rarer)
    return {
        "ratings": len(rows),
        "prompts": len(set(prompts)),
        "mean": float(rated_N.mean()),
        **found.row(name),
        **by_length.row(f"length_{name}"),
        f"random_{name}": 0.5 if two else 0.0,
        **_within_prompts(questions, scores, axis),
    }


def fewer_prompts(prompts_N: np.ndarray, good_N: np.ndarray) -> int:
    """How many prompts an area under the curve can rest on: those that have the rarer one of the two kinds."""
    return min(len(np.unique(prompts_N[good_N])), len(np.unique(prompts_N[~good_N])))


def _within_prompts(questions: Sequence[Question], scores: Sequence[np.ndarray], axis: str) -> dict[str, Any]:
    found = accuracy(judged_pairs(questions, scores, lambda each: graded_pairs(each, axis)))
    return {"within_prompts": found} if "accuracy" in found else {}


def graded_pairs(question: Question, axis: str) -> list[Pair]:
    """Pairs of rated replies whose grades differ, the higher grade preferred."""
    rated_K = question.ratings.get(axis, ())
    given = [(index, value) for index, value in enumerate(rated_K) if value is not None]
    return [
        Pair(first, second, float(one > other))
        for place, (first, one) in enumerate(given)
        for second, other in given[place + 1 :]
        if one != other
    ]
