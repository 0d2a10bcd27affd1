"""How far people agree: percent, kappas, alpha, and the ceiling that this sets for any model of them.

ratings_UR is [U units, R raters], numbers that name categories or stand on a scale, NaN where a rater did not judge.
A coefficient that corrects for chance is 0/0, so NaN, where everybody always said the same: then nothing was measured.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tutelage.formulas import intervals

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""([V] values ascending, [V] how often each was given) -> [V, V] squared differences."""


def counts(ratings_UR: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([U, V] how many raters gave a unit each value, [V] the values, ascending)."""
    ratings_UR = np.asarray(ratings_UR, dtype=np.float64)
    if ratings_UR.ndim != 2:
        raise ValueError(f"ratings come as [units, raters], got shape {ratings_UR.shape}")
    values_V = np.unique(ratings_UR[~np.isnan(ratings_UR)])
    return (ratings_UR[:, :, None] == values_V).sum(axis=1), values_V


def percent_agreement(ratings_UR: np.ndarray) -> float:
    """Share of the pairs of ratings of one unit that are equal; for two raters, of the units on which they agree."""
    counts_UV, _ = counts(ratings_UR)
    given_U = counts_UV.sum(axis=1)
    pairs = int((given_U * (given_U - 1)).sum())
    if not pairs:
        raise ValueError("no unit was rated twice, so there is no agreement to measure")
    return int((counts_UV * (counts_UV - 1)).sum()) / pairs


def cohen_kappa(first_U: np.ndarray, second_U: np.ndarray) -> float:
    """(p_o − p_e) / (1 − p_e) of two raters, p_e from each one's own habits (Cohen 1960); units that both rated."""
    first_U, second_U = np.asarray(first_U, dtype=np.float64), np.asarray(second_U, dtype=np.float64)
    both_U = ~(np.isnan(first_U) | np.isnan(second_U))
    if not both_U.any():
        raise ValueError("no unit was rated by both, so there is no agreement to measure")
    first_U, second_U = first_U[both_U], second_U[both_U]
    values_V = np.unique(np.concatenate([first_U, second_U]))
    habits_V = [(each_U[:, None] == values_V).mean(axis=0) for each_U in (first_U, second_U)]
    return _beyond_chance(float((first_U == second_U).mean()), float(habits_V[0] @ habits_V[1]))


def fleiss_kappa(counts_UV: np.ndarray) -> float:
    """(P̄ − P̄_e) / (1 − P̄_e) of n raters a unit, not always the same ones (Fleiss 1971).

    counts_UV: [U, V] how many of them put a unit in each category; every row adds up to n ≥ 2
    """
    raters = int(counts_UV[0].sum()) if len(counts_UV) else 0
    if raters < 2 or not (counts_UV.sum(axis=1) == raters).all():
        raise ValueError("each unit needs the same number of ratings, two or more; krippendorff_alpha takes any number")
    within = float((counts_UV * (counts_UV - 1)).sum(axis=1).mean()) / (raters * (raters - 1))
    share_V = counts_UV.sum(axis=0) / counts_UV.sum()
    return _beyond_chance(within, float(share_V @ share_V))


def nominal(values_V: np.ndarray, total_V: np.ndarray) -> np.ndarray:
    """δ² = 1 between different categories."""
    return 1.0 - np.eye(len(values_V))


def ordinal(values_V: np.ndarray, total_V: np.ndarray) -> np.ndarray:
    """δ² = (Σ_{g=v..w} n_g − (n_v + n_w)/2)²: how many ratings lie between two ranks; only their order counts."""
    middle_V = total_V.cumsum() - total_V / 2
    return (middle_V[:, None] - middle_V) ** 2


def interval(values_V: np.ndarray, total_V: np.ndarray) -> np.ndarray:
    """δ² = (v − w)²: for numbers whose differences mean something."""
    return (values_V[:, None] - values_V) ** 2


def krippendorff_alpha(ratings_UR: np.ndarray, distance: Distance = nominal) -> float:
    """α = 1 − D_observed / D_expected (Krippendorff 2011), for any number of raters and missing ratings.

    o_vw = Σ_u n_uv (n_uw − [v = w]) / (n_u − 1),   α = 1 − (n − 1) Σ o_vw δ²_vw / Σ n_v n_w δ²_vw

    distance: `nominal`, `ordinal` or `interval`. Units with one rating do not count.
    """
    counts_UV, values_V = counts(ratings_UR)
    counts_UV = counts_UV[counts_UV.sum(axis=1) >= 2]
    if not len(counts_UV):
        raise ValueError("no unit was rated twice, so there is no agreement to measure")
    shares_UV = counts_UV / (counts_UV.sum(axis=1, keepdims=True) - 1)
    observed_VV = shares_UV.T @ counts_UV  # less [v = w] only where the distance is 0
    total_V = counts_UV.sum(axis=0)
    squared_VV = distance(values_V, total_V)
    observed, expected = float((observed_VV * squared_VV).sum()), float((np.outer(total_V, total_V) * squared_VV).sum())
    return 1 - (int(total_V.sum()) - 1) * observed / expected if expected else float("nan")


def human_ceiling(ratings_UR: np.ndarray, confidence: float = 0.95) -> intervals.Estimate:
    """How often one rater agrees with the majority of the others; the ratings of a unit are one cluster.

    Where k values share the majority, agreeing with one of them is worth 1/k. Every rating with another beside it
    counts. A model that agrees with the majority as often is as good as one more person.
    """
    worth_N, units_N = with_majority(ratings_UR)
    units = len(np.unique(units_N))
    if units < 2:
        raise ValueError(f"an interval needs two units that were rated twice, got {units}")
    return intervals.share(worth_N, units_N, confidence)


def with_majority(ratings_UR: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([N] how far each rating is that of most others of its unit, 1/k where k values lead; [N] index of its unit)."""
    counts_UV, _ = counts(ratings_UR)
    rated_U = np.flatnonzero(counts_UV.sum(axis=1) >= 2)
    counts_UV = counts_UV[rated_U]
    others_UVV = counts_UV[:, None, :] - np.eye(counts_UV.shape[1], dtype=counts_UV.dtype)
    majority_UVV = others_UVV == others_UVV.max(axis=2, keepdims=True)
    worth_UV = np.einsum("uvv->uv", majority_UVV) / majority_UVV.sum(axis=2)
    unit_N, value_N = np.nonzero(counts_UV)
    repeat_N = counts_UV[unit_N, value_N]
    return np.repeat(worth_UV[unit_N, value_N], repeat_N), rated_U[np.repeat(unit_N, repeat_N)]


def _beyond_chance(observed: float, expected: float) -> float:
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")
