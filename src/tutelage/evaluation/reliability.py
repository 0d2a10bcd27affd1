"""Whether a reward model's differences are the log-odds that they claim to be.

All pairs count here, a tie as a half: that is the target that the model was trained on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tutelage.evaluation.judged import JudgedPairs
from tutelage.formulas import calibration
from tutelage.formulas.calibration import Bin
from tutelage.formulas.intervals import Estimate, share

GAPS = 5
FOLDS = 2


def reliability(pairs: JudgedPairs) -> dict[str, Any]:
    """Expected calibration error as it is and repaired, the temperature that repairs it, and the tables to draw.

    calibration_error_by_chance: what a perfect model would show on so many pairs. The repaired error is out of sample:
    each half of the prompts is divided by the temperature that was fitted on the other half.
    """
    probabilities_P, agreed_P = calibration.folded(pairs.differences_P, pairs.targets_P)
    bins = calibration.reliability(probabilities_P, agreed_P)
    return {
        "calibration_error": calibration.expected_error(probabilities_P, agreed_P),
        "calibration_error_by_chance": _by_chance(bins),
        "reliability": _rows(bins, probabilities_P, agreed_P, pairs.prompts_P),
        **_repaired(pairs),
        "by_gap": by_gap(pairs),
    }


def by_gap(pairs: JudgedPairs) -> list[dict[str, Any]]:
    """How often people side with the higher score, by how much higher it is, beside what σ of that claims."""
    gaps_P = np.abs(pairs.differences_P)
    probabilities_P, agreed_P = calibration.folded(pairs.differences_P, pairs.targets_P)
    bins = calibration.accuracy_by_gap(pairs.differences_P, pairs.targets_P, GAPS)
    rows = _rows(bins, gaps_P, agreed_P, pairs.prompts_P)
    claimed = [float(probabilities_P[inside_P].mean()) for inside_P in _members(bins, gaps_P)]
    return [{**row, "claimed": each} for row, each in zip(rows, claimed, strict=True)]


def _repaired(pairs: JudgedPairs) -> dict[str, Any]:
    """The temperature of all pairs with its interval, and the error and bins after it, out of sample."""
    if not pairs.differences_P.any():
        return {}
    fitted = temperature(pairs).row("temperature")
    halves_P = pairs.prompts_P % FOLDS
    divided_P = pairs.differences_P.copy()
    for fold in range(FOLDS):
        learned, tested_P = pairs.where(halves_P != fold), halves_P == fold
        if not learned.differences_P.any() or not tested_P.any():
            return fitted
        value = calibration.temperature(learned.differences_P, learned.targets_P).value
        if value == 0:  # every answer of this half was right: no temperature is the likeliest
            return fitted
        divided_P[tested_P] /= value
    probabilities_P, agreed_P = calibration.folded(divided_P, pairs.targets_P)
    bins = calibration.reliability(probabilities_P, agreed_P)
    return {
        **fitted,
        "calibration_error_repaired": calibration.expected_error(probabilities_P, agreed_P),
        "reliability_repaired": _rows(bins, probabilities_P, agreed_P, pairs.prompts_P),
    }


def temperature(pairs: JudgedPairs) -> Estimate:
    """The fitted temperature, with its interval over prompts."""
    return calibration.temperature(pairs.differences_P, pairs.targets_P, clusters_N=pairs.prompts_P)


def _by_chance(bins: Sequence[Bin]) -> float:
    """Σ n_b/N · √(2p(1−p)/πn_b): the mean of |noise| of each bin's rate around a probability that is right."""
    total = sum(each.count for each in bins)
    noise = [math.sqrt(2 * each.mean * (1 - each.mean) / (math.pi * each.count)) for each in bins]
    return sum(each.count * one for each, one in zip(bins, noise, strict=True)) / total


def _rows(
    bins: Sequence[Bin], values_P: np.ndarray, agreed_P: np.ndarray, prompts_P: np.ndarray
) -> list[dict[str, Any]]:
    """The bins as plain rows; their intervals by prompt."""
    members = _members(bins, values_P)
    found = [share(agreed_P[inside_P], prompts_P[inside_P]) for inside_P in members]
    return [
        {"low": each.low, "high": each.high, "count": each.count, "mean": each.mean, "rate": each.rate}
        | {"rate_low": one.low, "rate_high": one.high, "rate_n": one.n}
        for each, one in zip(bins, found, strict=True)
    ]


def _members(bins: Sequence[Bin], values_P: np.ndarray) -> list[np.ndarray]:
    """[P] masks: low ≤ value < high, the last bin with its high end."""
    last = len(bins) - 1
    return [
        (values_P >= each.low) & ((values_P < each.high) | ((place == last) & (values_P <= each.high)))
        for place, each in enumerate(bins)
    ]
