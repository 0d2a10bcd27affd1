"""Whether a reward model's probabilities are what happens: bins, expected error, and the temperature that repairs them.

A difference of scores is a log-odds, so σ(difference) is the probability that the first is preferred. Which candidate
stands first is arbitrary; `folded` looks from the side of the higher score, which makes every table symmetric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
from scipy.special import expit, stdtrit  # pyright: ignore[reportMissingTypeStubs]

from tutelage.formulas import intervals
from tutelage.formulas.intervals import Estimate

TENTHS = tuple(i / 10 for i in range(11))


@dataclass(frozen=True)
class Bin:
    """Judgements with low ≤ x < high (the last bin holds its high end).

    mean: of x; rate: how often it came true, a tie being half; rate_low, rate_high: its interval (`intervals.share_of`)
    """

    low: float
    high: float
    count: int
    mean: float
    rate: float
    rate_low: float
    rate_high: float


def folded(differences_N: np.ndarray, targets_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([N] σ(|Δ|) ≥ ½, [N] how far the answer agrees with the higher score), from Δ and P(first preferred).

    Equal scores agree by half with any answer.
    """
    _check(differences_N, targets_N)
    agreed_N = np.where(differences_N > 0, targets_N, 1.0 - targets_N)
    return np.asarray(expit(np.abs(differences_N))), np.where(differences_N == 0, 0.5, agreed_N)


def reliability(
    probabilities_N: np.ndarray, outcomes_N: np.ndarray, edges: Sequence[float] = TENTHS, confidence: float = 0.95
) -> list[Bin]:
    """The reliability diagram as a table: per bin of probability, its mean beside the observed rate; no empty bins.

    outcomes_N: [N] 1 it happened, 0 it did not, anything between where that is shared (a tie: 0.5)
    """
    _check(probabilities_N, outcomes_N)
    if probabilities_N.min() < edges[0] or probabilities_N.max() > edges[-1]:
        raise ValueError(
            f"probabilities must lie within the edges {edges[0]} to {edges[-1]}; scores go through σ first"
        )
    return _table(probabilities_N, outcomes_N, np.asarray(edges, dtype=np.float64), confidence)


def expected_error(probabilities_N: np.ndarray, outcomes_N: np.ndarray, edges: Sequence[float] = TENTHS) -> float:
    """Expected calibration error Σ_bins n_b/N · |mean probability − observed rate| (Guo et al. 2017), in [0, 1].

    Noise alone makes it positive: with n judgements a bin expect about √(2p(1−p)/πn) from a perfect model.
    """
    bins = reliability(probabilities_N, outcomes_N, edges)
    return sum(each.count * abs(each.mean - each.rate) for each in bins) / len(probabilities_N)


def equal_counts(values_N: np.ndarray, bins: int) -> list[float]:
    """Edges of bins that hold about the same number of values; fewer bins where many values are equal."""
    edges = np.unique(np.quantile(values_N, np.linspace(0.0, 1.0, bins + 1))).tolist()
    return edges if len(edges) > 1 else edges * 2


def accuracy_by_gap(
    differences_N: np.ndarray, targets_N: np.ndarray, bins: int = 5, confidence: float = 0.95
) -> list[Bin]:
    """How often people side with the higher score, by how much higher it is: bins of |Δ| of about equal size.

    A calibrated model has rate σ(|Δ|) in each (Bai et al. 2022).
    """
    _, agreed_N = folded(differences_N, targets_N)
    gaps_N = np.abs(differences_N)
    return _table(gaps_N, agreed_N, np.asarray(equal_counts(gaps_N, bins)), confidence)


def temperature(
    differences_N: np.ndarray,
    targets_N: np.ndarray,
    confidence: float = 0.95,
    clusters_N: np.ndarray | None = None,
) -> Estimate:
    """The T that makes σ(Δ / T) likeliest (Platt 1999; Guo et al. 2017): one slope s = 1/T of a logistic regression.

    Scores are to be divided by T; above 1 they are too sure of themselves. inf: the scores say nothing of the answers
    (or the opposite). 0: they say every answer right, no temperature is the likeliest, and the interval is (0, inf).

    The interval is that of s, turned over: s ± t · √Var on G − 1 degrees of freedom, by the jackknife over G clusters,
    each left out by one step of Newton's method (CR3 of MacKinnon & White 1985). It is robust, so soft targets may
    stand. None with fewer than `intervals.FEWEST_CLUSTERS` clusters.

    differences_N: [N] first − second; targets_N: [N] P(first preferred); clusters_N: [N] such as the prompt of each
    """
    _check(differences_N, targets_N)
    told_N = differences_N != 0
    if not told_N.any():
        raise ValueError(
            "all scores are equal, so no temperature changes what they say; give pairs whose scores differ"
        )
    clusters_N = np.arange(len(differences_N)) if clusters_N is None else np.asarray(clusters_N)
    names, place_N = np.unique(clusters_N, return_inverse=True)
    groups, few = len(names), len(names) < intervals.FEWEST_CLUSTERS
    if folded(differences_N, targets_N)[1][told_N].min() == 1:
        return Estimate(0.0, np.nan, np.nan, groups) if few else Estimate(0.0, 0.0, np.inf, groups)
    sharpness = _likeliest_sharpness(differences_N, targets_N)
    if few:
        return Estimate(_inverse(sharpness), np.nan, np.nan, groups)
    expected_N = np.asarray(expit(sharpness * differences_N))
    slopes_G = np.bincount(place_N, weights=differences_N * (targets_N - expected_N))
    information_G = np.bincount(place_N, weights=differences_N**2 * expected_N * (1 - expected_N))
    rest_G = np.maximum(information_G.sum() - information_G, 1e-300)
    deviation = float(np.sqrt((groups - 1) / groups * ((slopes_G / rest_G) ** 2).sum()))
    half = float(stdtrit(groups - 1, 0.5 + confidence / 2)) * deviation
    return Estimate(_inverse(sharpness), _inverse(sharpness + half), _inverse(sharpness - half), groups)


def _likeliest_sharpness(differences_N: np.ndarray, targets_N: np.ndarray) -> float:
    """The s ≥ 0 where the likelihood's slope Σ Δ (p − σ(sΔ)) is 0; it only falls with s."""

    def slope(sharpness: float) -> float:
        return float(differences_N @ (targets_N - np.asarray(expit(sharpness * differences_N))))

    if slope(0.0) <= 0:
        return 0.0
    top = 1.0 / float(np.abs(differences_N).max())
    while slope(top) > 0:
        top *= 2
    return float(brentq(slope, 0.0, top, xtol=1e-14 * top))  # pyright: ignore[reportArgumentType]


def _inverse(sharpness: float) -> float:
    return 1.0 / sharpness if sharpness > 0 else float("inf")


def _table(values_N: np.ndarray, outcomes_N: np.ndarray, edges: np.ndarray, confidence: float) -> list[Bin]:
    last = len(edges) - 2
    place_N = np.clip(np.searchsorted(edges, values_N, side="right") - 1, 0, last)
    bins: list[Bin] = []
    for place in np.unique(place_N):
        inside_N = place_N == place
        count, happened = int(inside_N.sum()), float(outcomes_N[inside_N].sum())
        rate = intervals.share_of(happened, count, confidence)
        mean = float(values_N[inside_N].mean())
        bins.append(Bin(float(edges[place]), float(edges[place + 1]), count, mean, *rate))
    return bins


def _check(values_N: np.ndarray, outcomes_N: np.ndarray) -> None:
    if values_N.shape != outcomes_N.shape or values_N.ndim != 1 or not len(values_N):
        raise ValueError(f"one outcome a value, at least one, got shapes {values_N.shape} and {outcomes_N.shape}")
    if not np.isfinite(values_N).all():
        raise ValueError(
            f"{int((~np.isfinite(values_N)).sum())} of {len(values_N)} values are not finite; leave them out"
        )
    if not ((outcomes_N >= 0) & (outcomes_N <= 1)).all():
        raise ValueError("outcomes are shares from 0 to 1 (a tie: 0.5); leave out what was not judged")
