"""Best of n: how far it moves the policy, and what it is worth, without sampling n again and again."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln  # pyright: ignore[reportMissingTypeStubs]


def kl_nats(n: int) -> float:
    """KL(best of n ‖ policy) = log n − (n − 1)/n: exact for a score without ties, otherwise an upper bound."""
    return float(np.log(n) - (n - 1) / n)


def expected(proxy_N: np.ndarray, gold_N: np.ndarray, n: int) -> float:
    """E[gold of the best of n by proxy], unbiased from N ≥ n samples (Nakano et al. 2021, appendix I).

    Σ_i C(i−1, n−1)/C(N, n) · gold of the sample that is i-th by proxy, ascending; binomials as logarithms.
    """
    count = len(proxy_N)
    if not 1 <= n <= count:
        raise ValueError(f"best of {n} needs at least {n} samples, got {count}")
    ranks = np.arange(n, count + 1)
    log_weights = _log_binomial(ranks - 1, n - 1) - _log_binomial(np.array(count), n)
    return float(np.exp(log_weights) @ gold_N[np.argsort(proxy_N, kind="stable")][n - 1 :])


def _log_binomial(above: np.ndarray, below: int) -> np.ndarray:
    return gammaln(above + 1) - gammaln(below + 1) - gammaln(above - below + 1)
