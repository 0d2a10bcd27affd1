"""A reward model against what people said: one report, whatever they were asked (docs/evaluation.md).

It starts from scores, one array a question, and knows neither the model nor how it was batched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tutelage.data.errors import InputError
from tutelage.data.questions import Question
from tutelage.evaluation.accuracy import accuracy, best_of, by_column
from tutelage.evaluation.judged import judged_pairs
from tutelage.evaluation.people import ceiling
from tutelage.evaluation.rated import ratings
from tutelage.evaluation.reliability import reliability


def report(questions: Sequence[Question], scores: Sequence[np.ndarray], by: str | None = None) -> dict[str, Any]:
    """Plain values, ready for summary.json: accuracy, best_of, calibration, people, ratings, by; empty ones left out.

    scores: for each question its K scores, in the order of its replies; by: a column to group by
    """
    pairs = judged_pairs(questions, scores)
    parts: dict[str, Any] = {"ratings": ratings(questions, scores)}
    if len(pairs):
        parts["accuracy"] = accuracy(pairs)
        parts["best_of"] = best_of(questions, scores)
        parts["calibration"] = reliability(pairs)
        parts["people"] = ceiling(questions, pairs)
        parts["by"] = by_column(questions, pairs, by) if by else {}
    elif by:
        raise InputError(f"--by {by}: the data have ratings and no comparisons, so there is no accuracy to group.")
    if not len(pairs) and not parts["ratings"]:
        raise InputError(
            f"none of the {len(questions)} questions has a judged pair, or ratings of two prompts on one axis, so "
            "there is nothing to evaluate."
        )
    return {name: part for name, part in parts.items() if part}
