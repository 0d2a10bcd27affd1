"""How sure one can be of a share, a mean, a win rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import ndtri, stdtrit  # pyright: ignore[reportMissingTypeStubs]


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


def t_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high) with Student's t on n − 1 degrees of freedom: for few values, such as three seeds."""
    return clustered(values, np.arange(len(values)), confidence)


def paired_difference(
    first_N: Sequence[float] | np.ndarray, second_N: Sequence[float] | np.ndarray, confidence: float = 0.95
) -> tuple[float, float, float]:
    """(mean of first − second, low, high), Student's t: what both share, such as the prompt or the seed, cancels."""
    if len(first_N) != len(second_N):
        raise ValueError(f"pairs need two values each, got {len(first_N)} first and {len(second_N)} second ones")
    return t_interval(np.asarray(first_N, dtype=np.float64) - np.asarray(second_N, dtype=np.float64), confidence)


def clustered(
    values_N: Sequence[float] | np.ndarray, clusters_N: Sequence[object] | np.ndarray, confidence: float = 0.95
) -> tuple[float, float, float]:
    """(mean, low, high) where values of one cluster, such as the pairs of one prompt, resemble each other.

    Variance G/(G−1) · Σ_c (Σ_{i∈c} (x_i − mean))² / N² (Liang & Zeger 1986), Student's t on G − 1 degrees of freedom, G
    clusters. With one value a cluster that is s²/N.

    clusters_N: [N] the name of each value's cluster
    """
    numbers_N = np.asarray(values_N, dtype=np.float64)
    names, place_N = np.unique(np.asarray(clusters_N), return_inverse=True)
    count, groups = len(numbers_N), len(names)
    if len(place_N) != count:
        raise ValueError(f"each value needs its cluster, got {count} values and {len(place_N)} clusters")
    if groups < 2:
        raise ValueError(f"how far values scatter shows in two or more of them (or clusters), got {groups}")
    if not np.isfinite(numbers_N).all():
        raise ValueError(f"{int((~np.isfinite(numbers_N)).sum())} of {count} values are not finite; leave them out")
    centre = float(numbers_N.mean())
    sums_G = np.bincount(place_N, weights=numbers_N - centre, minlength=groups)
    deviation = float(np.sqrt(groups / (groups - 1) * (sums_G**2).sum())) / count
    half = float(stdtrit(groups - 1, 0.5 + confidence / 2)) * deviation
    return centre, centre - half, centre + half


def win_rate(wins: int, ties: int, losses: int, confidence: float = 0.95) -> tuple[float, float, float]:
    """(rate, low, high), a tie counting half; the interval is of the mean of 1, ½ and 0."""
    values = np.repeat([1.0, 0.5, 0.0], [wins, ties, losses])
    rate, low, high = mean_interval(values, confidence)
    return rate, max(0.0, low), min(1.0, high)


def bootstrapped(
    statistic: Callable[[np.ndarray], float],
    clusters_N: Sequence[object] | np.ndarray,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """(value, low, high) of what has no formula for its scatter: percentiles over clusters drawn with replacement
    (Efron 1979; Field & Welsh 2007). Draws in which it is NaN (one kind of answer only) do not count.

    statistic: row indices (some repeated) -> a number; clusters_N: [N] the name of each row's cluster
    """
    names, place_N = np.unique(np.asarray(clusters_N), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"how far values scatter shows in two or more clusters, got {len(names)}")
    order_N, sizes_G = np.argsort(place_N, kind="stable"), np.bincount(place_N)
    starts_G = np.cumsum(sizes_G) - sizes_G
    generator = np.random.default_rng(seed)
    found: list[float] = []
    for _ in range(draws):
        drawn_G = generator.integers(len(names), size=len(names))
        taken_G = sizes_G[drawn_G]
        within = np.arange(int(taken_G.sum())) - np.repeat(np.cumsum(taken_G) - taken_G, taken_G)
        found.append(statistic(order_N[np.repeat(starts_G[drawn_G], taken_G) + within]))
    told = np.array([each for each in found if not np.isnan(each)])
    if not len(told):
        return statistic(np.arange(len(place_N))), float("nan"), float("nan")
    low, high = np.quantile(told, [0.5 - confidence / 2, 0.5 + confidence / 2], method="nearest")
    return statistic(np.arange(len(place_N))), float(low), float(high)
