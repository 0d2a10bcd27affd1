"""Best of n: how far it moves the policy, and what it is worth, without sampling n again and again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln  # pyright: ignore[reportMissingTypeStubs]


def kl_nats(n: int) -> float:
    """KL(best of n ‖ policy) = log n − (n − 1)/n: exact for a score without ties, otherwise an upper bound."""
    return float(np.log(n) - (n - 1) / n)


def expected(proxy_N: np.ndarray, gold_N: np.ndarray, n: int) -> float:
    """E[gold of the best of n by proxy], unbiased from N ≥ n samples (Nakano et al. 2021, appendix I).

    Σ_i C(i−1, n−1)/C(N, n) · gold of the sample that is i-th by proxy, ascending; binomials as logarithms.
    """
    return float(curve(np.asarray(proxy_N)[None], np.asarray(gold_N)[None], [n])[0, 0])


def curve(proxy_PN: np.ndarray, gold_PN: np.ndarray, ns: Sequence[int]) -> np.ndarray:
    """[P, len(ns)] `expected` for N samples of each of P prompts and for each n; gold may be the proxy itself."""
    count = proxy_PN.shape[1]
    if proxy_PN.shape != gold_PN.shape:
        raise ValueError(f"each sample needs both scores, got proxy {proxy_PN.shape} and gold {gold_PN.shape}")
    for n in ns:
        if not 1 <= n <= count:
            raise ValueError(f"best of {n} needs at least {n} samples, got {count}")
    ordered_PN = np.take_along_axis(gold_PN, np.argsort(proxy_PN, axis=1, kind="stable"), axis=1)
    return ordered_PN @ np.stack([_weights(count, n) for n in ns], axis=1)


def _weights(count: int, n: int) -> np.ndarray:
    """[N] P(the i-th of N, ascending, is the best of n drawn without replacement) = C(i−1, n−1)/C(N, n)."""
    below = np.arange(n - 1, count)
    weights_N = np.zeros(count)
    weights_N[n - 1 :] = np.exp(_log_binomial(below, n - 1) - _log_binomial(np.array(count), n))
    return weights_N


def _log_binomial(above: np.ndarray, below: int) -> np.ndarray:
    return gammaln(above + 1) - gammaln(below + 1) - gammaln(above - below + 1)
