"""How gold reward rises and falls as a policy is optimised against a proxy (Gao, Schulman & Hilton 2022).

The distance d is √KL(policy ‖ initial policy), in √nats; reward is measured from the initial policy, so it is 0 at 0.
Both forms are linear in (α, β) and fitted by least squares. A proxy with independent noise alone only lowers α: the
fall (β > 0) needs errors that the optimiser can find.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit, xlogy  # pyright: ignore[reportMissingTypeStubs]

from tutelage.formulas import intervals

LARGEST_EXPONENT = 700.0  # of e in double precision


@dataclass(frozen=True)
class Peak:
    """Where gold reward is highest. distance: √KL there, in √nats; reward: what it is there."""

    distance: float
    reward: float


@dataclass(frozen=True)
class Fit:
    """(α, β) with their intervals: on n − 2 degrees of freedom where the points are independent, over runs where the
    points of one run (a seed's curve) are clusters. NaN ends: one run, so nobody knows how far another would differ.

    n: points, or runs
    r_squared: 1 − Σ w (R − fit)² / Σ w (R − mean)², against the weighted mean of R. The forms have no constant, so it
    can be below 0 (worse than the mean); NaN where all R are equal.
    peak: None where the curve rises without end (β ≤ 0), so that no finite peak follows from these points.
    """

    alpha: float
    alpha_low: float
    alpha_high: float
    beta: float
    beta_low: float
    beta_high: float
    r_squared: float
    peak: Peak | None
    n: int


def best_of_n_form(distances: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """R(d) = d (α − β d): gold reward of the best of n by proxy."""
    return distances * (alpha - beta * distances)


def reinforcement_form(distances: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """R(d) = d (α − β log d), R(0) = 0: gold reward of reinforcement learning. Its slope at 0 is infinite."""
    return alpha * distances - beta * np.asarray(xlogy(distances, distances))


def best_of_n_peak(alpha: float, beta: float) -> Peak | None:
    """d* = α / 2β, R = α² / 4β, at 0 where α ≤ 0; None where the curve rises without end."""
    if beta < 0 or (beta == 0 and alpha > 0):
        return None
    if alpha <= 0:
        return Peak(0.0, 0.0)
    return Peak(alpha / (2 * beta), alpha * alpha / (4 * beta))


def reinforcement_peak(alpha: float, beta: float) -> Peak | None:
    """d* = e^{α/β − 1}, R = β d*; None where the curve rises without end (or its peak exceeds what a float holds)."""
    if beta == 0 and alpha <= 0:
        return Peak(0.0, 0.0)
    if beta <= 0 or alpha / beta - 1 > LARGEST_EXPONENT:
        return None
    distance = float(np.exp(alpha / beta - 1))
    return Peak(distance, beta * distance)


def fit_best_of_n(
    distances_N: Sequence[float] | np.ndarray,
    rewards_N: Sequence[float] | np.ndarray,
    weights_N: Sequence[float] | np.ndarray | None = None,
    confidence: float = 0.95,
    runs_N: Sequence[object] | np.ndarray | None = None,
) -> Fit:
    """(α, β) of `best_of_n_form` from N ≥ 3 points; weights: how much each counts, 1 / variance of its reward.

    runs_N: the run (seed) of each point, where points of one run are not independent
    """
    distances_N = np.asarray(distances_N, dtype=np.float64)
    columns_N2 = np.stack([distances_N, -(distances_N**2)], axis=1)
    rewards_N = np.asarray(rewards_N, dtype=np.float64)
    return _fit(columns_N2, rewards_N, _Points(weights_N, runs_N), confidence, best_of_n_peak)


def fit_reinforcement(
    distances_N: Sequence[float] | np.ndarray,
    rewards_N: Sequence[float] | np.ndarray,
    weights_N: Sequence[float] | np.ndarray | None = None,
    confidence: float = 0.95,
    runs_N: Sequence[object] | np.ndarray | None = None,
) -> Fit:
    """(α, β) of `reinforcement_form` from N ≥ 3 points; weights: how much each counts, 1 / variance of its reward.

    runs_N: the run (seed) of each point, where points of one run are not independent
    """
    distances_N = np.asarray(distances_N, dtype=np.float64)
    columns_N2 = np.stack([distances_N, -np.asarray(xlogy(distances_N, distances_N))], axis=1)
    rewards_N = np.asarray(rewards_N, dtype=np.float64)
    return _fit(columns_N2, rewards_N, _Points(weights_N, runs_N), confidence, reinforcement_peak)


class _Points(NamedTuple):
    weights_N: Sequence[float] | np.ndarray | None
    runs_N: Sequence[object] | np.ndarray | None


def _fit(
    columns_N2: np.ndarray,
    rewards_N: np.ndarray,
    points: _Points,
    confidence: float,
    peak: Callable[[float, float], Peak | None],
) -> Fit:
    """Weighted least squares: Cov(α, β) = s² (XᵀWX)⁻¹, s² = Σ w · residual² / (n − 2); over runs, the jackknife."""
    given = points.weights_N
    weights = np.ones(len(rewards_N)) if given is None else np.asarray(given, dtype=np.float64)
    _check(columns_N2, rewards_N, weights)
    inverse_22 = np.linalg.inv(columns_N2.T @ (weights[:, None] * columns_N2))
    root_N1 = np.sqrt(weights)[:, None]
    found_2 = np.linalg.lstsq(root_N1 * columns_N2, root_N1[:, 0] * rewards_N, rcond=None)[0]
    unexplained = float(weights @ (rewards_N - columns_N2 @ found_2) ** 2)
    scatter = float(weights @ (rewards_N - np.average(rewards_N, weights=weights)) ** 2)
    count, variance_2 = int((weights > 0).sum()), np.full(2, np.nan)
    free = count - 2
    if points.runs_N is None:
        variance_2 = unexplained / free * np.diag(inverse_22)
    else:
        count, variance_2 = _between_runs(root_N1 * columns_N2, root_N1[:, 0] * rewards_N, points.runs_N)
        free = count - 1
    half_2 = float(stdtrit(max(1, free), 0.5 + confidence / 2)) * np.sqrt(variance_2)
    alpha, beta = (float(each) for each in found_2)
    return Fit(
        alpha=alpha,
        alpha_low=alpha - float(half_2[0]),
        alpha_high=alpha + float(half_2[0]),
        beta=beta,
        beta_low=beta - float(half_2[1]),
        beta_high=beta + float(half_2[1]),
        r_squared=1 - unexplained / scatter if scatter > 0 else float("nan"),
        peak=peak(alpha, beta),
        n=count,
    )


def _between_runs(
    columns_N2: np.ndarray, rewards_N: np.ndarray, runs_N: Sequence[object] | np.ndarray
) -> tuple[int, np.ndarray]:
    """(runs, [2] variance of (α, β)): (G − 1) / G · Σ_g (θ without run g − their mean)².

    NaN of one run, and where the points without one of the runs do not determine (α, β).
    """
    names, place_N = np.unique(np.asarray(runs_N), return_inverse=True)
    if len(place_N) != len(rewards_N):
        raise ValueError(f"each point needs its run, got {len(rewards_N)} points and {len(place_N)} runs")
    left = [columns_N2[place_N != run, 0] for run in range(len(names))]
    if len(names) < 2 or min(_distinct(distances) for distances in left) < 2:
        return len(names), np.full(2, np.nan)
    without_G2 = np.stack(
        [
            np.linalg.lstsq(columns_N2[place_N != run], rewards_N[place_N != run], rcond=None)[0]
            for run in range(len(names))
        ]
    )
    moved_G2 = without_G2 - without_G2.mean(axis=0)
    return len(names), (len(names) - 1) / len(names) * (moved_G2**2).sum(axis=0)


def _check(columns_N2: np.ndarray, rewards_N: np.ndarray, weights_N: np.ndarray) -> None:
    if not len(columns_N2) == len(rewards_N) == len(weights_N):
        counts = f"{len(columns_N2)}, {len(rewards_N)} and {len(weights_N)}"
        raise ValueError(f"each point needs a distance, a reward and a weight, got {counts}")
    if not (np.isfinite(columns_N2).all() and np.isfinite(rewards_N).all() and (columns_N2[:, 0] >= 0).all()):
        raise ValueError("distances (√KL, so 0 or above) and rewards must be finite; leave the other points out")
    if not (np.isfinite(weights_N).all() and (weights_N >= 0).all()):
        raise ValueError("weights must be finite and 0 or above: 1 / variance of each reward")
    counting_N = columns_N2[weights_N > 0, 0]
    apart, points = _distinct(counting_N), len(counting_N)
    if not can_fit(counting_N):
        raise ValueError(
            "a fit of (α, β) with intervals needs three points, at two or more distances above 0; "
            f"got {points} points at {apart} such distances"
        )


def can_fit(distances_N: Sequence[float] | np.ndarray) -> bool:
    """Whether points at these distances determine (α, β) with an interval: three points, two distances above 0."""
    return len(distances_N) >= 3 and _distinct(distances_N) >= 2


def _distinct(distances_N: Sequence[float] | np.ndarray) -> int:
    """How many different distances above 0 these are."""
    distances_N = np.asarray(distances_N, dtype=np.float64)
    return len(np.unique(distances_N[distances_N > 0]))


@dataclass(frozen=True)
class Drop:
    """checkpoint: the best one on the first half; drop: its mean on the second half minus that of the last one; n:
    prompts of the second half"""

    checkpoint: int
    drop: float
    low: float
    high: float
    n: int


def held_out_drop(first_half_CP: np.ndarray, second_half_CP: np.ndarray, confidence: float = 0.95) -> Drop:
    """How far gold fell from its peak to the end, without the luck of the peak.

    The checkpoint is chosen on one half of the prompts and the fall measured on the other, paired by prompt: the
    highest of many noisy means is too high where it was chosen, but not on prompts that had no say.

    first_half_CP: [C, P] gold of C checkpoints, in order, on P prompts; second_half_CP: [C, P'] on P' ≥ 2 other prompts
    """
    if len(first_half_CP) != len(second_half_CP) or not len(first_half_CP):
        raise ValueError(
            f"both halves need the same checkpoints, got {len(first_half_CP)} and {len(second_half_CP)} of them"
        )
    if not (np.isfinite(first_half_CP).all() and np.isfinite(second_half_CP).all()):
        raise ValueError("gold scores must be finite; leave the prompts out that have none, at every checkpoint")
    best, prompts = int(first_half_CP.mean(axis=1).argmax()), second_half_CP.shape[1]
    if best == len(second_half_CP) - 1:  # the last one is the best one: it did not fall
        return Drop(best, 0.0, 0.0, 0.0, prompts)
    found = intervals.paired_difference(second_half_CP[best], second_half_CP[-1], confidence)
    return Drop(best, found.value, found.low, found.high, prompts)
