"""Accuracies of reward models that learned from more and more labels -> the curve through them, and its next step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.formulas import learning_curve
from tutelage.formulas.intervals import Estimate, share

CURVE_POINTS = 40


@dataclass(frozen=True)
class Point:
    """One model. right_H: for each held-out pair 1, 0 or ½, the same pairs in each point; prompts_H: their prompts."""

    labels: int
    seed: int
    right_H: np.ndarray
    prompts_H: np.ndarray

    @property
    def accuracy(self) -> Estimate:
        return share(self.right_H, self.prompts_H)


def curve(points: Sequence[Point], more: int = 1000) -> dict[str, Any]:
    """The points, the mean at each count, the fit, and the expected gain of the next `more` labels.

    A curve rises only where a model has left chance (Gao et al. 2022): fitted are the counts from the first on whose
    accuracy, its seeds averaged, lies above ½ with its whole interval. Fewer than three of them give no fit, and why.
    The interval of the gain holds the scatter of the points; the held-out pairs are the same for all.
    """
    counts = sorted({each.labels for each in points})
    means = [_mean(points, count) for count in counts]
    above = [place for place, each in enumerate(means) if each.low > 0.5]
    used = counts[above[0] :] if above else []
    shown = {
        "points": [_row(each) for each in points],
        "means": [
            {"labels": count, **each.row("accuracy"), "fitted": count in used}
            for count, each in zip(counts, means, strict=True)
        ],
        "more": more,
    }
    fitted = [(each.labels, each.accuracy.value) for each in points if each.labels in used]
    try:
        return {**shown, **_fit(np.array(fitted, dtype=np.float64).reshape(-1, 2).T, more)}
    except ValueError as error:
        return {**shown, "not_fitted": f"{len(used)} of {len(counts)} counts are above chance: {error}"}


def _fit(fitted_2N: np.ndarray, more: int) -> dict[str, Any]:
    labels_N, values_N = fitted_2N
    found = learning_curve.fit(labels_N, values_N)
    drawn = np.geomspace(labels_N.min(), labels_N.max() + more, CURVE_POINTS)
    return {
        "fit": {"labels": found.labels, "value": found.value, "per_efold": found.per_efold, "exponent": found.exponent},
        "curve": [[float(x), float(y)] for x, y in zip(drawn, learning_curve.at(found, drawn), strict=True)],
        **learning_curve.expected_gain(labels_N, values_N, more).row("expected_gain"),
    }


def _mean(points: Sequence[Point], count: int) -> Estimate:
    """Over the seeds: each held-out pair by the mean of its models."""
    here = [each for each in points if each.labels == count]
    return share(np.mean([each.right_H for each in here], axis=0), here[0].prompts_H)


def _row(point: Point) -> dict[str, Any]:
    return {"labels": point.labels, "seed": point.seed, **point.accuracy.row("accuracy")}
