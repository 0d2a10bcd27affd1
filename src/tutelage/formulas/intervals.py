"""Estimates with 95 % intervals: of shares, means, differences, and statistics without a formula for their variance.

Every interval that the package prints is an `Estimate` of this module. Rows of one cluster (the pairs of one prompt,
the answers of one person) resemble each other, so the cluster is the unit: `n` counts clusters.

- Shares and other means of numbers within known bounds: `share`, `bounded_mean`. Clopper and Pearson's interval at an
  effective sample size. For independent 0s and 1s that is Clopper and Pearson's own interval.
- Means of unbounded numbers: `clustered`, `mean_interval`, `paired_difference`. Student's t.
- Everything else (an area under a curve, a correlation, an agreement coefficient): `jackknife` over clusters.

`tests/prove/test_interval_coverage.py` measures how often each one covers the truth (table in docs/evaluation.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from scipy.special import betaincinv, ndtri, stdtrit  # pyright: ignore[reportMissingTypeStubs]

FEWEST = 30  # units; an interval of fewer says "too few to tell" on a page
FEWEST_CLUSTERS = 6  # below, the scatter of a jackknifed statistic cannot be told
MOST_FOLDS = 200  # of a jackknife: more clusters are left out in this many groups
SKEWED, MOST_SKEWED = 0.3, 0.5  # weight of the prior in `_effective_size`; by simulation, half of them cover less
NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval (unless another confidence was asked for).

    value: the estimate. low, high: its interval; NaN where there are too few units to tell how far the value may be
    off; one of them infinite where that side is open. n: independent units that it rests on: clusters, where rows are
    clustered. Reads as the tuple (value, low, high), too.
    """

    value: float
    low: float
    high: float
    n: int

    def __iter__(self) -> Iterator[float]:
        return iter((self.value, self.low, self.high))

    def __len__(self) -> int:
        return 3

    @overload
    def __getitem__(self, place: int) -> float: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[float, ...]: ...
    def __getitem__(self, place: int | slice) -> float | tuple[float, ...]:
        return (self.value, self.low, self.high)[place]

    @property
    def is_known(self) -> bool:
        """Whether there is an interval."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    def within(self, lowest: float, highest: float) -> Estimate:
        """With its interval cut to these bounds."""
        if not self.is_known:
            return self
        return Estimate(self.value, max(lowest, self.low), min(highest, self.high), self.n)

    def mapped(self, function: Callable[[float], float]) -> Estimate:
        """Under an increasing function."""
        return Estimate(function(self.value), function(self.low), function(self.high), self.n)

    def row(self, name: str) -> dict[str, float | int | None]:
        """name, name_low, name_high, name_n, as summary.json holds them; None for a number that is not finite."""
        numbers = zip(("", "_low", "_high"), self, strict=True)
        return {f"{name}{end}": each if math.isfinite(each) else None for end, each in numbers} | {f"{name}_n": self.n}

    def text(self, digits: int = 3) -> str:
        """value [low, high] (n = …), or that there are too few units to tell."""
        interval = f"[{self.low:.{digits}f}, {self.high:.{digits}f}]" if self.is_known else "[too few to tell]"
        return f"{self.value:.{digits}f} {interval} (n = {self.n})"


def clopper_pearson(successes: float, trials: float, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high) of a share (Clopper & Pearson 1934): it covers at least as often as the confidence says.

    successes and trials need not be whole numbers: a tie is half a success, an effective sample size is any number.
    """
    if not trials > 0 or not -1e-9 <= successes <= trials + 1e-9:
        raise ValueError(f"an interval needs one trial or more and at most as many successes, got {successes}/{trials}")
    successes = min(max(0.0, successes), trials)  # what a sum of thirds rounds beyond
    tail, failures = (1 - confidence) / 2, trials - successes
    low = float(betaincinv(successes, failures + 1, tail)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1, failures, 1 - tail)) if failures > 0 else 1.0
    return low, high


def share_of(successes: float, trials: int, confidence: float = 0.95) -> Estimate:
    """The share of independent trials that succeeded; a tie may count as half a success (then it is conservative)."""
    return Estimate(successes / trials if trials > 0 else NAN, *clopper_pearson(successes, trials, confidence), trials)


def share(
    values_N: Sequence[float] | np.ndarray,
    clusters_N: Sequence[object] | np.ndarray | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """The mean of values in [0, 1] (`bounded_mean`)."""
    return bounded_mean(values_N, clusters_N, 0.0, 1.0, confidence)


def bounded_mean(
    values_N: Sequence[float] | np.ndarray,
    clusters_N: Sequence[object] | np.ndarray | None,
    lowest: float,
    highest: float,
    confidence: float = 0.95,
) -> Estimate:
    """The mean of values in [lowest, highest], such as outcomes with ties, or differences of outcomes in [−1, 1].

    Clopper and Pearson's interval of p n* successes in n* trials, p the mean scaled to [0, 1] and n* the effective
    sample size (Korn & Graubard 1998): p(1 − p) over the variance of the mean between clusters (`_effective_size`). At
    least the number of clusters, since no values in [0, 1] of mean p scatter more than 0s and 1s do; so it is neither a
    point at 0 and 1 nor too narrow with few clusters.

    clusters_N: [N] the name of each value's cluster; None where every value is a unit of its own
    """
    numbers_N, place_N, groups = _checked(values_N, clusters_N, fewest=1)
    least, most, rounding = float(numbers_N.min()), float(numbers_N.max()), 1e-9 * (highest - lowest)
    if least < lowest - rounding or most > highest + rounding:
        raise ValueError(f"values must lie within {lowest:g} to {highest:g}, got {least:g} to {most:g}")
    mean = min(highest, max(lowest, float(numbers_N.mean())))
    sizes_G, sums_G = np.bincount(place_N), np.bincount(place_N, weights=numbers_N - mean)
    units = _kish(sizes_G)
    variance = groups / max(1, groups - 1) * float((sums_G**2).sum()) / len(numbers_N) ** 2
    scaled, ratio = (mean - lowest) / (highest - lowest), variance / (highest - lowest) ** 2
    trials = max(units, _effective_size(scaled, min(ratio, scaled * (1 - scaled) / units), sums_G, units, confidence))
    return _at_size(mean, scaled, trials, (lowest, highest), groups, confidence)


def mean_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Estimate:
    """The mean of independent values, such as the scores of prompts, with Student's t.

    No interval of one value, nor where all are equal: scores that were all 1 do not say how low others may be.
    """
    if len(values) == 0:
        raise ValueError("an interval needs at least one value")
    if len(values) == 1 or not np.ptp(np.asarray(values, dtype=np.float64)) > 0:
        return Estimate(float(np.mean(values)), NAN, NAN, len(values))
    return t_interval(values, confidence)


def t_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Estimate:
    """The mean of two values or more with Student's t on n − 1 degrees of freedom, such as of three seeds."""
    return clustered(values, np.arange(len(values)), confidence)


def paired_difference(
    first_N: Sequence[float] | np.ndarray, second_N: Sequence[float] | np.ndarray, confidence: float = 0.95
) -> Estimate:
    """The mean of first − second, Student's t: what both share, such as the prompt or the seed, cancels."""
    if len(first_N) != len(second_N):
        raise ValueError(f"pairs need two values each, got {len(first_N)} first and {len(second_N)} second ones")
    return t_interval(np.asarray(first_N, dtype=np.float64) - np.asarray(second_N, dtype=np.float64), confidence)


def clustered(
    values_N: Sequence[float] | np.ndarray, clusters_N: Sequence[object] | np.ndarray, confidence: float = 0.95
) -> Estimate:
    """The mean of unbounded values where those of one cluster, such as the scores of one prompt, resemble each other.

    Jackknife over clusters (CR3 of MacKinnon & White 1985) with Student's t:

        Var = (G − 1) / G · Σ_g (mean without cluster g − mean)²,   t on n_K − 1,   n_K = (Σ m_g)² / Σ m_g²

    with m_g the size of cluster g. With one value a cluster that is s²/N on N − 1.

    clusters_N: [N] the name of each value's cluster; two clusters or more
    """
    numbers_N, place_N, groups = _checked(values_N, clusters_N, fewest=2)
    mean = float(numbers_N.mean())
    sizes_G, sums_G = np.bincount(place_N), np.bincount(place_N, weights=numbers_N - mean)
    moved_G = -sums_G / (len(numbers_N) - sizes_G)
    deviation = math.sqrt((groups - 1) / groups * float((moved_G**2).sum()))
    half = _student(_kish(sizes_G) - 1, confidence) * deviation
    return Estimate(mean, mean - half, mean + half, groups)


def win_rate(wins: int, ties: int, losses: int, confidence: float = 0.95) -> Estimate:
    """How often independent comparisons were won, a tie counting half (`share`)."""
    return share(np.repeat([1.0, 0.5, 0.0], [wins, ties, losses]), None, confidence)


def jackknife(
    statistic: Callable[[np.ndarray], float],
    clusters_N: Sequence[object] | np.ndarray,
    bounds: tuple[float, float],
    units: int | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """A statistic within bounds that has no formula for its variance, such as an area under a curve.

    Its variance is that of the jackknife over clusters, (G − 1) / G · Σ_g (θ_g − mean θ_g)² (Efron & Stein 1981); its
    interval is Clopper and Pearson's at the effective sample size, as in `bounded_mean`, so that a statistic near a
    bound has a skewed interval. No interval with fewer than FEWEST_CLUSTERS clusters, or where it is NaN without one.
    More than MOST_FOLDS clusters are left out in that many groups.

    statistic: indices of rows -> a number. bounds: the lowest and the highest value that it can have.
    units: clusters that it can rest on, where that is fewer than all (of an area, those of the rarer kind)
    """
    names, place_N = np.unique(np.asarray(clusters_N), return_inverse=True)
    groups, value = len(names), statistic(np.arange(len(place_N)))
    units = groups if units is None else min(units, groups)
    if groups < FEWEST_CLUSTERS or units < 2 or math.isnan(value):
        return Estimate(value, NAN, NAN, units)
    fold_N = place_N if groups <= MOST_FOLDS else np.random.default_rng(0).permutation(groups)[place_N] % MOST_FOLDS
    folds = int(fold_N.max()) + 1
    without_F = np.array([statistic(np.flatnonzero(fold_N != fold)) for fold in range(folds)])
    if np.isnan(without_F).any():
        return Estimate(value, NAN, NAN, units)
    variance = (folds - 1) / folds * float(((without_F - without_F.mean()) ** 2).sum())
    return from_variance(value, variance, without_F, bounds, units, confidence)


def from_variance(
    value: float,
    variance: float,
    moves_G: np.ndarray,
    bounds: tuple[float, float],
    units: float,
    confidence: float = 0.95,
) -> Estimate:
    """An estimate within bounds whose variance was found from so many clusters (an effective number may be given).

    moves_G: how far each cluster moves the value, in any unit and from any origin
    """
    lowest, highest = bounds
    width = highest - lowest
    scaled = min(1.0, max(0.0, (value - lowest) / width))
    trials = _effective_size(scaled, variance / width**2, moves_G, units, confidence)
    return _at_size(value, scaled, trials, bounds, units, confidence)


def _effective_size(scaled: float, variance: float, moves_G: np.ndarray, units: float, confidence: float) -> float:
    """n* = units / ratio · (z / t)² (Korn & Graubard 1998), ratio = Var / (p(1 − p) / units).

    The ratio is drawn towards 1, the scatter of one 0 or 1 a unit, as if w = min(0.3 γ², 0.5 / √(p(1 − p))) more units
    had it, γ the skewness of the clusters: where few clusters differ from the others, as near 0 and 1, they tell little
    of the variance. The larger w where no cluster differs.
    """
    spread = scaled * (1 - scaled)
    if spread <= 1e-12:
        return units
    apart_G = moves_G - moves_G.mean()
    square, most = float((apart_G**2).mean()), MOST_SKEWED / math.sqrt(spread)
    flat = square <= 1e-20 * max(1e-300, float((moves_G**2).max()))
    weight = most if flat else min(most, SKEWED * float((apart_G**3).mean()) ** 2 / square**3)
    ratio = (units * variance * units / spread + weight) / (units + weight)
    scale = float(ndtri(0.5 + confidence / 2)) / _student(units - 1, confidence)
    return units * scale**2 / ratio


def _at_size(
    value: float, scaled: float, trials: float, bounds: tuple[float, float], units: float, confidence: float
) -> Estimate:
    lowest, highest = bounds
    low, high = (lowest + (highest - lowest) * each for each in clopper_pearson(scaled * trials, trials, confidence))
    return Estimate(value, min(low, value), max(high, value), int(units))


def _student(free: float, confidence: float) -> float:
    """The quantile of Student's t; degrees of freedom below 1 count as 1."""
    return float(stdtrit(max(1.0, free), 0.5 + confidence / 2))


def _kish(sizes_G: np.ndarray) -> float:
    """How many clusters of equal size are worth as much as these: (Σ m)² / Σ m² (Kish 1965)."""
    return float(sizes_G.sum()) ** 2 / float((sizes_G.astype(np.float64) ** 2).sum())


def _checked(
    values_N: Sequence[float] | np.ndarray, clusters_N: Sequence[object] | np.ndarray | None, fewest: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """(values, index of each one's cluster, clusters)."""
    numbers_N = np.asarray(values_N, dtype=np.float64)
    clusters_N = np.arange(len(numbers_N)) if clusters_N is None else np.asarray(clusters_N)
    names, place_N = np.unique(clusters_N, return_inverse=True)
    if len(place_N) != len(numbers_N):
        raise ValueError(f"each value needs its cluster, got {len(numbers_N)} values and {len(place_N)} clusters")
    if len(names) < fewest:
        few = "an interval needs at least one value, got 0"
        many = f"how far values scatter shows in two or more of them (or clusters), got {len(names)}"
        raise ValueError(few if fewest < 2 else many)
    if not np.isfinite(numbers_N).all():
        raise ValueError(
            f"{int((~np.isfinite(numbers_N)).sum())} of {len(numbers_N)} values are not finite; leave them out"
        )
    return numbers_N, place_N, len(names)
