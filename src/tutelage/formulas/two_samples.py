"""Whether two samples came from one source: of one number, by its distribution."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import ks_2samp  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]


def kolmogorov_smirnov(first_N: np.ndarray, second_M: np.ndarray) -> tuple[float, float]:
    """(D, p): the largest distance between the two distribution functions, and how often chance makes it as large.

    D = sup_x |F_N(x) − G_M(x)| (Smirnov 1939), p from its asymptotic distribution.
    """
    if not len(first_N) or not len(second_M):
        raise ValueError(f"two samples need numbers, got {len(first_N)} and {len(second_M)}")
    found: Any = ks_2samp(np.asarray(first_N, dtype=np.float64), np.asarray(second_M, dtype=np.float64), method="asymp")
    return float(found.statistic), float(found.pvalue)
