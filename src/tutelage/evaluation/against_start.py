"""A policy's replies beside those of the model that it started from: who is preferred, and how the texts look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tutelage.evaluation.diversity import alike
from tutelage.evaluation.refusals import refusal_fraction
from tutelage.evaluation.win_rates import Replies, by_scores, row


def compare_with_start(
    name: str, judge: str, replies: Replies, scores_N: np.ndarray, start_scores_N: np.ndarray
) -> dict[str, Any]:
    """Win rate over the start by a judge's scores, length-controlled too; intervals are over prompts.

    replies: `candidate` the policy's, `other` the start's
    """
    return {"name": name, **row(by_scores(judge, scores_N, start_scores_N), replies), **looks(replies.candidate)}


def looks(texts: Sequence[str]) -> dict[str, float]:
    """Diversity, repetition, refusals and mean length in words."""
    words = float(np.mean([len(each.split()) for each in texts]))
    return {**alike(texts), "refusal_fraction": refusal_fraction(texts), "words": words}
