"""How often one policy's replies are preferred to another's, without the help of position or of length.

outcomes: 1 where the candidate was preferred, 0 where the other was, 0.5 for a tie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, stdtrit  # pyright: ignore[reportMissingTypeStubs]

from tutelage.formulas import intervals
from tutelage.formulas.intervals import Estimate


@dataclass(frozen=True)
class Swapped:
    """What is left when each pair is judged in both orders.

    rate, low, high: of the candidate, a pair being the mean of its two judgements
    first_advantage, first_low, first_high: its rate shown first minus shown second; 0 for a judge blind to position
    consistent_fraction: pairs judged the same way in both orders
    pairs: that have both judgements; the others do not count. units: the clusters (prompts) that they belong to
    """

    rate: float
    low: float
    high: float
    first_advantage: float
    first_low: float
    first_high: float
    consistent_fraction: float
    pairs: int
    units: int


def position_swapped(
    shown_first_N: np.ndarray,
    shown_second_N: np.ndarray,
    confidence: float = 0.95,
    clusters_N: np.ndarray | None = None,
) -> Swapped:
    """Outcomes of the candidate where it was shown first and where second, pair by pair; NaN: not judged that way.

    A preference for a position adds to one and takes from the other, so their mean is free of it. Intervals by
    `intervals.bounded_mean`, over clusters (prompts) where they are given.
    """
    first_N, second_N = _outcomes(shown_first_N), _outcomes(shown_second_N)
    if first_N.shape != second_N.shape:
        raise ValueError(f"each pair needs both orders, got {len(first_N)} shown first and {len(second_N)} second")
    both_N = ~(np.isnan(first_N) | np.isnan(second_N))
    first_N, second_N = first_N[both_N], second_N[both_N]
    clusters_N = None if clusters_N is None else clusters_N[both_N]
    rate = intervals.share((first_N + second_N) / 2, clusters_N, confidence)
    return Swapped(
        *rate,
        *intervals.bounded_mean(first_N - second_N, clusters_N, -1.0, 1.0, confidence),
        consistent_fraction=float((first_N == second_N).mean()),
        pairs=len(first_N),
        units=rate.n,
    )


def length_term(lengths_N: np.ndarray, other_lengths_N: np.ndarray) -> np.ndarray:
    """[N] tanh((length − other) / deviation of that difference) (Dubois et al. 2024, length-controlled AlpacaEval)."""
    difference_N = np.asarray(lengths_N, dtype=np.float64) - np.asarray(other_lengths_N, dtype=np.float64)
    deviation = float(difference_N.std())
    return np.tanh(difference_N / deviation) if deviation > 0 else np.sign(difference_N)


def log_length_ratio(lengths_N: np.ndarray, other_lengths_N: np.ndarray) -> np.ndarray:
    """[N] log(length / other), lengths above 0 (Stiennon et al. 2020)."""
    lengths_N, other_lengths_N = np.asarray(lengths_N, dtype=np.float64), np.asarray(other_lengths_N, dtype=np.float64)
    if not ((lengths_N > 0) & (other_lengths_N > 0)).all():
        raise ValueError("a ratio of lengths needs lengths above 0; leave out empty replies or use length_term")
    return np.log(lengths_N / other_lengths_N)


def length_controlled(
    outcomes_N: np.ndarray,
    length_terms_N: np.ndarray,
    confidence: float = 0.95,
    clusters_N: np.ndarray | None = None,
) -> Estimate:
    """The rate of the candidate as if both replies were equally long.

    A logistic regression of the outcome on a length term that is 0 at equal length, read there: σ(intercept).
    (AlpacaEval adds a difficulty of each instruction, known from many models; two policies alone cannot tell it.)
    Jeffreys' prior (Firth 1993) keeps the fit finite where the outcomes are separated and moves it by about half a
    judgement each way: with equal lengths the rate is (wins + ½) / (N + 1).

    Interval by Student's t on the log-odds. The variance is the inverse information or, where clusters of several pairs
    are given and it is larger, the jackknife over them (one step of Newton's method without each cluster).

    length_terms_N: `length_term` or `log_length_ratio`
    """
    outcomes_N, terms_N = _outcomes(outcomes_N), np.asarray(length_terms_N, dtype=np.float64)
    if outcomes_N.shape != terms_N.shape or not len(outcomes_N):
        raise ValueError(f"one length term an outcome, at least one, got {len(terms_N)} and {len(outcomes_N)}")
    if np.isnan(outcomes_N).any() or not np.isfinite(terms_N).all():
        raise ValueError("outcomes and length terms must be finite; leave out what was not judged")
    columns_NC = (
        np.ones((len(outcomes_N), 1)) if not terms_N.any() else np.stack([np.ones_like(terms_N), terms_N], axis=1)
    )
    if columns_NC.shape[1] == 2 and not np.ptp(terms_N) > 0:
        raise ValueError(
            f"all length terms are {terms_N[0]:g}, so length and preference cannot be told apart; "
            "give pairs whose lengths differ by different amounts"
        )
    coefficients_C, covariance_CC = _logistic(columns_NC, outcomes_N)
    place_N = np.arange(len(outcomes_N))
    variance = float(covariance_CC[0, 0])
    if clusters_N is not None:
        _, place_N = np.unique(np.asarray(clusters_N), return_inverse=True)
    units = int(place_N.max()) + 1
    if units < len(outcomes_N):
        variance = max(variance, _between(columns_NC, outcomes_N, coefficients_C, place_N))
    free = max(1, units - columns_NC.shape[1])
    half, centre = float(stdtrit(free, 0.5 + confidence / 2)) * float(np.sqrt(variance)), float(coefficients_C[0])
    low, high = (float(expit(centre + side)) for side in (-half, half))
    return Estimate(float(expit(centre)), low, high, units)


def _between(columns_NC: np.ndarray, outcomes_N: np.ndarray, coefficients_C: np.ndarray, place_N: np.ndarray) -> float:
    """Jackknife variance of the intercept over clusters, each left out by one Newton step (CR3)."""
    expected_N = np.asarray(expit(columns_NC @ coefficients_C))
    slopes_NC = (outcomes_N - expected_N)[:, None] * columns_NC
    weighted_NC = (expected_N * (1 - expected_N))[:, None] * columns_NC
    total_CC, groups = columns_NC.T @ weighted_NC, int(place_N.max()) + 1
    squares = 0.0
    for group in range(groups if groups > 1 else 0):
        inside_N = place_N == group
        rest_CC = total_CC - columns_NC[inside_N].T @ weighted_NC[inside_N]
        squares += float((np.linalg.pinv(rest_CC) @ slopes_NC[inside_N].sum(axis=0))[0]) ** 2
    return (groups - 1) / groups * squares


def _logistic(columns_NC: np.ndarray, outcomes_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(coefficients [C], covariance [C, C]) by Fisher scoring on Xᵀ(y − p + h (½ − p)) = 0, h the leverages."""
    coefficients_C = np.zeros(columns_NC.shape[1])
    for _ in range(200):
        expected_N = np.asarray(expit(columns_NC @ coefficients_C))
        weights_N = expected_N * (1 - expected_N)
        covariance_CC = np.linalg.inv(columns_NC.T @ (weights_N[:, None] * columns_NC))
        leverage_N = weights_N * np.einsum("nc,cd,nd->n", columns_NC, covariance_CC, columns_NC)
        step_C = covariance_CC @ (columns_NC.T @ (outcomes_N - expected_N + leverage_N * (0.5 - expected_N)))
        coefficients_C = coefficients_C + np.clip(step_C, -1.0, 1.0)
        if float(np.abs(step_C).max()) < 1e-10:
            return coefficients_C, covariance_CC
    raise ValueError("the regression on length did not settle; are a few lengths far from all others? Use length_term")


def _outcomes(values_N: np.ndarray) -> np.ndarray:
    outcomes_N = np.asarray(values_N, dtype=np.float64)
    if outcomes_N.ndim != 1 or ((outcomes_N < 0) | (outcomes_N > 1)).any():
        raise ValueError("outcomes are one number a pair: 1 preferred, 0 not, 0.5 a tie")
    return outcomes_N
