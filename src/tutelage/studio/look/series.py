"""A column of many rows as the few points that a plot of so many pixels can show: no peak and no dip is lost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def thinned(x_N: np.ndarray, y_N: np.ndarray, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """The first, lowest, highest and last point of every bucket of neighbours, in their order; NaN are left out.

    x_N, y_N: [N]; at most 4 points a bucket (as M4, Jugel et al. 2014, with buckets of equally many points).
    """
    known = np.isfinite(y_N) & np.isfinite(x_N)
    x_N, y_N = x_N[known], y_N[known]
    if len(y_N) <= 4 * buckets:
        return x_N, y_N
    edges = np.linspace(0, len(y_N), buckets + 1).astype(int)
    kept: list[int] = []
    for start, end in pairwise(edges.tolist()):
        part = y_N[start:end]
        kept += [start, start + int(part.argmin()), start + int(part.argmax()), end - 1]
    places = np.unique(np.array(kept))
    return x_N[places], y_N[places]


def short(values: Sequence[float] | np.ndarray, digits: int = 5) -> list[float]:
    """Plain floats of so many digits: what the eye cannot see need not be sent."""
    return [float(f"{float(value):.{digits}g}") for value in values]
