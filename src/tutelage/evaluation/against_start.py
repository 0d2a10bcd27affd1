"""A policy's replies beside those of the model that it started from: who is preferred, and how the texts look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tutelage.evaluation.diversity import alike
from tutelage.evaluation.refusals import refusal_fraction
from tutelage.evaluation.win_rates import Replies, by_scores, row
from tutelage.trajectory import Batch


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


def reply_lengths(batch: Batch) -> dict[str, float]:
    """Mean length in tokens, and the share of replies that the limit cut off."""
    tokens = float(batch.mask_BT.sum(dim=1).double().mean())
    return {"tokens": tokens, "cut_off_fraction": 1.0 - float(batch.terminated_B.double().mean())}
