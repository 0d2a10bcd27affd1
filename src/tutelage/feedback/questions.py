"""Which questions to ask of those that could be asked, and with what probability each of them was.

Whoever asks only what it is unsure of can never say how good it is on the rest. So part of the questions is always
drawn uniformly, and the probability with which a question was included stays with it: weighting answers by its inverse
gives unbiased means over all that could have been asked (Horvitz & Thompson 1952).

Legend: N questions that could be asked, K candidates each, M members of an ensemble.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit

LEAST_UNIFORM = 0.1

Interest = Callable[[np.ndarray], np.ndarray]
"""[N, K, M] scores of the candidates -> [N] how much is to be learned from a question, 0 or more."""


def disagreement(scores_NKM: np.ndarray) -> np.ndarray:
    """[N] variance over members of the difference between the first two candidates (Christiano et al. 2017, §2.2.4)."""
    if scores_NKM.shape[2] < 2:
        raise ValueError(f"members can only disagree where there are two of them, got {scores_NKM.shape[2]}")
    return (scores_NKM[:, 0] - scores_NKM[:, 1]).var(axis=1)


def disputed_answers(scores_NKM: np.ndarray) -> np.ndarray:
    """[N] variance over members of P(first preferred) = σ(difference), at most ¼ (Christiano et al. 2017, §2.2.4).

    Unlike `disagreement` it is 0 where all members are sure, however far apart their scores are.
    """
    if scores_NKM.shape[2] < 2:
        raise ValueError(f"members can only disagree where there are two of them, got {scores_NKM.shape[2]}")
    return expit(scores_NKM[:, 0] - scores_NKM[:, 1]).var(axis=1)


def leading(interest_N: np.ndarray, count: int) -> np.ndarray:
    """[N] 1 for the `count` most interesting, the earlier where they tie, 0 for the others: `inclusion` then takes all
    of them but for its uniform part."""
    found_N = np.zeros(len(interest_N))
    found_N[np.argsort(-interest_N, kind="stable")[:count]] = 1.0
    return found_N


def high_scores(scores_NKM: np.ndarray, tail: float = 0.25) -> np.ndarray:
    """[N] 1 for the questions whose better candidate scores in the highest `tail` of all, 0 for the others: there a
    reward model is least calibrated, and there the policy is going (Bai et al. 2022, §4.5)."""
    best_N = scores_NKM.mean(axis=2).max(axis=1)
    return (best_N >= np.quantile(best_N, 1.0 - tail)).astype(np.float64)


def uniform(scores_NKM: np.ndarray) -> np.ndarray:
    """[N] ones."""
    return np.ones(len(scores_NKM))


def inclusion(interest_N: np.ndarray, count: int, uniform_fraction: float = LEAST_UNIFORM) -> np.ndarray:
    """[N] probability that each is among the `count` that are asked; they sum to `count`.

    uniform_fraction of the questions are spread evenly, the others in proportion to their interest, none beyond
    certainty: what is cut off there goes to the rest.
    """
    interest_N = np.asarray(interest_N, dtype=np.float64)
    if not LEAST_UNIFORM <= uniform_fraction <= 1.0:
        raise ValueError(f"at least {LEAST_UNIFORM:.0%} of the questions are drawn uniformly, got {uniform_fraction}")
    if not 0 < count <= len(interest_N):
        raise ValueError(f"{count} questions cannot be drawn from {len(interest_N)}")
    if not np.isfinite(interest_N).all() or (interest_N < 0).any():
        raise ValueError("interest must be finite and 0 or more")
    floor = uniform_fraction * count / len(interest_N)
    weights_N = interest_N if interest_N.sum() > 0 else np.ones_like(interest_N)
    certain_N = np.zeros(len(weights_N), dtype=bool)
    while True:
        left = count - certain_N.sum() - floor * (~certain_N).sum()
        free = weights_N[~certain_N].sum()
        spread_N = left * weights_N / free if free > 0 else np.full(len(weights_N), left / max(1, (~certain_N).sum()))
        probs_N = np.where(certain_N, 1.0, floor + spread_N)
        beyond_N = probs_N > 1.0
        if not beyond_N.any():
            return probs_N
        certain_N |= beyond_N


def drawn(probs_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Places of the questions to ask, in the order drawn: systematic sampling of a random order (Madow 1949), so that
    each is included with exactly its probability and their number is always the same."""
    order_N = rng.permutation(len(probs_N))
    reached_N = np.cumsum(probs_N[order_N])
    count = round(float(reached_N[-1]))
    marks = rng.random() + np.arange(count)
    # a mark falls in the first interval that ends beyond it; rounding must not push the last one out
    return order_N[np.minimum(np.searchsorted(reached_N, marks, side="right"), len(order_N) - 1)]
