"""How far scores go with single judgements: the area under the curve for good and bad, the correlation of ranks."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]


def area_under_curve(scores_N: np.ndarray, good_N: np.ndarray) -> float:
    """P(a good one scores above a bad one), equal scores counting half (Mann & Whitney 1947); NaN without both kinds.

    (Σ ranks of the good − n(n+1)/2) / (n m), n good and m bad. 0.5 is chance.
    """
    good_N = np.asarray(good_N, dtype=bool)
    good, bad = int(good_N.sum()), int((~good_N).sum())
    if not good or not bad:
        return float("nan")
    return (float(_ranks(scores_N)[good_N].sum()) - good * (good + 1) / 2) / (good * bad)


def rank_correlation(first_N: np.ndarray, second_N: np.ndarray) -> float:
    """Spearman's ρ: the correlation of the ranks, equal values sharing theirs; NaN where either is constant."""
    first_N, second_N = _ranks(first_N), _ranks(second_N)
    first_N, second_N = first_N - first_N.mean(), second_N - second_N.mean()
    scale = float(np.sqrt((first_N**2).sum() * (second_N**2).sum()))
    return float(first_N @ second_N) / scale if scale > 0 else float("nan")


def _ranks(values_N: np.ndarray) -> np.ndarray:
    return np.asarray(rankdata(values_N), dtype=np.float64)
