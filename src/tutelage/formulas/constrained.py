"""A reward under a constraint: max_π J_R(π) subject to J_C(π) ≤ limit, as a game against the price of the cost.

    min_{λ ≥ 0} max_π  J_R(π) − λ · (J_C(π) − limit)

Altman 1999, Constrained Markov Decision Processes; Ray, Achiam & Amodei 2019 (PPO-Lagrangian); Dai et al. 2023, Safe
RLHF (arXiv 2310.12773), who take the step on ln λ (equation 31) and divide the reward by 1 + λ (equation 30).
"""

from __future__ import annotations

import numpy as np
from torch import Tensor


def penalised(scores: Tensor, costs: Tensor, multiplier: float) -> Tensor:
    """(r − λ·c) / (1 + λ): which of two is better depends on λ, the scale that KL is weighed against hardly does."""
    return (scores - multiplier * costs) / (1.0 + multiplier)


def dual_ascent(multiplier: float, cost: float, limit: float, rate: float) -> float:
    """λ ← max(0, λ + rate · (Ĉ − limit)): the gradient of the dual, projected. rate: of λ, for a cost one above limit.

    Where it comes to rest either the limit is met exactly or λ is 0 and the limit is not reached (complementary
    slackness).
    """
    if rate < 0:
        raise ValueError(f"the rate is {rate}, expected 0 or more: a falling price would reward the cost")
    return max(0.0, multiplier + rate * (cost - limit))


def undominated(points_NK: np.ndarray) -> np.ndarray:
    """[N] whether no other point is as good everywhere and better somewhere; larger is better on each of K axes."""
    as_good_NN = (points_NK[:, None] >= points_NK[None]).all(axis=2)
    better_NN = (points_NK[:, None] > points_NK[None]).any(axis=2)
    return np.logical_not(np.any(as_good_NN & better_NN, axis=0))
