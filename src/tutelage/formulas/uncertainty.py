"""One score from several reward models: what an ensemble says where its members disagree.

scores_M is [M, ...], one row a member; the result is [...]. Members should have one scale (mean and deviation on the
same sample) before they are put together. A member that failed (NaN) makes the result NaN: none is left out unseen.
"""

from __future__ import annotations

from torch import Tensor


def mean(scores_M: Tensor) -> Tensor:
    """Mean over members (Christiano et al. 2017: of members normalised one by one)."""
    return scores_M.mean(dim=0)


def worst_case(scores_M: Tensor) -> Tensor:
    """The least that any member says: WCO, worst-case optimisation (Coste et al. 2023)."""
    return scores_M.amin(dim=0)


def uncertainty_weighted(scores_M: Tensor, coefficient: float) -> Tensor:
    """Mean − λ · variance: UWO, uncertainty-weighted optimisation (Coste et al. 2023).

    coefficient: λ, in 1/score, since the variance is in score²: halve the scale of the scores and double λ to keep what
    is chosen. 0 is `mean`.
    """
    return mean(scores_M) - coefficient * variance(scores_M)


def variance(scores_M: Tensor) -> Tensor:
    """Population variance over members (divided by M, not M − 1): 0 for one member; how much they disagree."""
    return scores_M.var(dim=0, correction=0)
