"""What more labels would bring: a curve through accuracy (or loss) against label count, and its next step.

One family holds both shapes that the field reports, a power law that saturates and a straight line in log n:

    y(n) = y₀ + b · (1 − (n/n₀)^{−c}) / c,      c → 0:  y₀ + b log(n/n₀)

which is a − b' n^{−c} written so that it does not break down at c = 0 (Bai et al. 2022 fit c = 0). b is the gain an
e-fold of labels at n₀. Given c the curve is linear, so c is searched in [0, 2] and the rest is least squares. Few
points leave c wide open; the interval of the gain therefore runs over every c that the points allow. Points at chance
level (Gao et al. 2022: below some 2,000 comparisons) are not on the curve; leave them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

from tutelage.formulas.intervals import Estimate

EXPONENTS: np.ndarray = np.linspace(0.0, 2.0, 201)


@dataclass(frozen=True)
class Curve:
    """y₀ at n₀ labels, b an e-fold there, and the exponent c; limit: y for n → ∞, infinite for c = 0 and b ≠ 0."""

    labels: float
    value: float
    per_efold: float
    exponent: float

    @property
    def limit(self) -> float:
        if self.per_efold == 0:
            return self.value
        return self.value + (
            self.per_efold / self.exponent if self.exponent > 0 else np.copysign(np.inf, self.per_efold)
        )


def at(curve: Curve, labels: np.ndarray | float) -> np.ndarray:
    """What the curve says at other label counts."""
    return curve.value + curve.per_efold * _efolds(np.asarray(labels) / curve.labels, curve.exponent)


def fit(labels_N: Sequence[float] | np.ndarray, values_N: Sequence[float] | np.ndarray) -> Curve:
    """The curve nearest to N ≥ 4 points at three label counts or more, by least squares."""
    labels_N, values_N = _checked(labels_N, values_N)
    reference = float(np.exp(np.log(labels_N).mean()))
    exponent = _nearest_exponent(labels_N / reference, values_N)
    value, slope, _, _ = (float(each[0]) for each in _lines(labels_N / reference, values_N, np.array([exponent])))
    return Curve(reference, value, slope, exponent)


def expected_gain(
    labels_N: Sequence[float] | np.ndarray,
    values_N: Sequence[float] | np.ndarray,
    more: float = 1000,
    confidence: float = 0.95,
) -> Estimate:
    """How much y rises by the next `more` labels beyond the largest count; below 0 for a loss. n: points (models).

    Profile interval: every gain g whose best curve has Σ residual² ≤ least · (1 + t² / (n − 3)), t Student's on n − 3.
    """
    labels_N, values_N = _checked(labels_N, values_N)
    reference = float(np.exp(np.log(labels_N).mean()))
    scaled_N, last = labels_N / reference, labels_N.max() / reference
    best = _nearest_exponent(scaled_N, values_N)
    exponents_C = np.append(best, EXPONENTS)
    _, slopes_C, squares_C, spreads_C = _lines(scaled_N, values_N, exponents_C)
    steps_C = _efolds(last + more / reference, exponents_C) - _efolds(last, exponents_C)
    free = len(labels_N) - 3
    allowed = squares_C[0] * (1 + float(stdtrit(free, 0.5 + confidence / 2)) ** 2 / free)
    room_C = allowed - squares_C
    kept_C = room_C >= 0
    half_C = np.sqrt(room_C[kept_C] / spreads_C[kept_C]) * steps_C[kept_C]
    gains_C = slopes_C[kept_C] * steps_C[kept_C]
    low, high = float((gains_C - half_C).min()), float((gains_C + half_C).max())
    return Estimate(float(slopes_C[0] * steps_C[0]), low, high, len(labels_N))


def _efolds(ratio: np.ndarray | float, exponent: np.ndarray | float) -> np.ndarray:
    """(1 − ratio^{−c}) / c, and log(ratio) where c = 0."""
    logs, exponent = np.log(ratio), np.asarray(exponent, dtype=np.float64)
    divisor = np.where(exponent > 0, exponent, 1.0)
    return np.where(exponent > 0, -np.expm1(-exponent * logs) / divisor, logs)


def _lines(scaled_N: np.ndarray, values_N: np.ndarray, exponents_C: np.ndarray) -> tuple[np.ndarray, ...]:
    """(value at 1, slope, Σ residual², Σ (x − mean)²), each [C]: the least-squares line for every exponent."""
    x_CN = _efolds(scaled_N, exponents_C[:, None])
    centred_CN = x_CN - x_CN.mean(axis=1, keepdims=True)
    spread_C = (centred_CN**2).sum(axis=1)
    slope_C = centred_CN @ values_N / spread_C
    residual_CN = values_N - values_N.mean() - slope_C[:, None] * centred_CN
    return values_N.mean() - slope_C * x_CN.mean(axis=1), slope_C, (residual_CN**2).sum(axis=1), spread_C


def _nearest_exponent(scaled_N: np.ndarray, values_N: np.ndarray) -> float:
    """The c of the least Σ residual²: the best of a grid, and of four finer ones around it (to 1e-9)."""
    exponents_C: np.ndarray = EXPONENTS
    for _ in range(4):
        place = int(_lines(scaled_N, values_N, exponents_C)[2].argmin())
        low, high = float(exponents_C[max(0, place - 1)]), float(exponents_C[min(len(exponents_C) - 1, place + 1)])
        exponents_C = np.linspace(low, high, len(EXPONENTS))
    return float(exponents_C[_lines(scaled_N, values_N, exponents_C)[2].argmin()])


def _checked(
    labels_N: Sequence[float] | np.ndarray, values_N: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    labels_N, values_N = np.asarray(labels_N, dtype=np.float64), np.asarray(values_N, dtype=np.float64)
    if labels_N.shape != values_N.shape or labels_N.ndim != 1:
        raise ValueError(f"one value a label count, got shapes {labels_N.shape} and {values_N.shape}")
    if not (np.isfinite(labels_N).all() and np.isfinite(values_N).all() and (labels_N > 0).all()):
        raise ValueError("label counts must be above 0, and they and the values finite; leave the other points out")
    if len(labels_N) < 4 or len(np.unique(labels_N)) < 3:
        raise ValueError(
            f"a learning curve needs four points at three label counts or more, got {len(labels_N)} points at "
            f"{len(np.unique(labels_N))} counts; train on a quarter, a half and all of the labels, with two seeds"
        )
    return labels_N, values_N


def labels_for(labels_N: Sequence[float], values_N: Sequence[float], target: float) -> float | None:
    """The fewest labels at which the measured values reach the target, straight in log n between the counts.

    The first count where the target is reached there already; None where it is reached nowhere.
    """
    order = np.argsort(labels_N)
    logs, reached = np.log(np.asarray(labels_N, dtype=np.float64))[order], np.asarray(values_N)[order] >= target
    if not reached.any():
        return None
    place = int(reached.argmax())
    if place == 0:
        return float(np.exp(logs[0]))
    below, above = (float(np.asarray(values_N)[order][each]) for each in (place - 1, place))
    share = (target - below) / (above - below)
    return float(np.exp(logs[place - 1] + share * (logs[place] - logs[place - 1])))
