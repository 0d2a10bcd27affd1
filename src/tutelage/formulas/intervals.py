"""How sure one can be of a share, a mean, a win rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri  # pyright: ignore[reportMissingTypeStubs]


def wilson(successes: float, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high) of a share (Wilson 1927); inside [0, 1] and sensible at 0 and at 1."""
    if trials <= 0:
        raise ValueError("an interval needs at least one trial")
    z = float(ndtri(0.5 + confidence / 2))
    share, shrink = successes / trials, 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / shrink
    half = z / shrink * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def mean_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high), normal approximation with the sample variance."""
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) == 0:
        raise ValueError("an interval needs at least one value")
    deviation = numbers.std(ddof=1) if len(numbers) > 1 else 0.0
    half = float(ndtri(0.5 + confidence / 2)) * deviation / np.sqrt(len(numbers))
    return float(numbers.mean()), float(numbers.mean() - half), float(numbers.mean() + half)


def win_rate(wins: int, ties: int, losses: int, confidence: float = 0.95) -> tuple[float, float, float]:
    """(rate, low, high), a tie counting half; the interval is of the mean of 1, ½ and 0."""
    values = np.repeat([1.0, 0.5, 0.0], [wins, ties, losses])
    rate, low, high = mean_interval(values, confidence)
    return rate, max(0.0, low), min(1.0, high)
