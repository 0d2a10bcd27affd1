"""Advantages of several replies to one prompt, each compared with the others: G groups of S rewards.

A group whose rewards are all equal has the advantage 0 exactly: nothing tells its replies apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-4  # added to the deviation that rewards are divided by (TRL's, so that both give the same numbers)


def leave_one_out(rewards_GS: Tensor) -> Tensor:
    """[G, S] A_i = R_i − 1/(S−1) Σ_{j≠i} R_j (Kool et al. 2019; Ahmadian et al. 2024, eq. 8).

    The baseline of a reply does not depend on it, so E[A_i ∇log π(y_i)] is the policy gradient. Equals
    S/(S−1) · (R_i − mean).
    """
    samples = _samples(rewards_GS)
    others_GS = (rewards_GS.sum(dim=1, keepdim=True) - rewards_GS) / (samples - 1)
    return _zero_where_equal(rewards_GS - others_GS, rewards_GS)


def relative(rewards_GS: Tensor, scale: str = "group") -> Tensor:
    """[G, S] A_i = (R_i − mean) / (deviation + 1e-4), mean over the group (Shao et al. 2024, DeepSeekMath, §4.1.2).

    scale: what is divided by: the deviation of the "group", that of the whole "batch", or "none" (Liu et al. 2025,
        Dr. GRPO: division by the group's deviation weighs prompts by how alike their replies are). Deviations are the
        unbiased ones.
    """
    _samples(rewards_GS)
    centred_GS = rewards_GS - rewards_GS.mean(dim=1, keepdim=True)
    if scale == "group":
        centred_GS = centred_GS / (rewards_GS.std(dim=1, keepdim=True) + EPSILON)
    elif scale == "batch":
        centred_GS = centred_GS / (rewards_GS.std() + EPSILON)
    elif scale != "none":
        raise ValueError(f"scale is {scale!r}, expected group, batch or none")
    return _zero_where_equal(centred_GS, rewards_GS)


def equal(rewards_GS: Tensor) -> Tensor:
    """[G] bool: groups whose rewards are all the same."""
    return rewards_GS.amax(dim=1) == rewards_GS.amin(dim=1)


def _zero_where_equal(advantages_GS: Tensor, rewards_GS: Tensor) -> Tensor:
    """A mean is rounded, so equal rewards may differ from it by a little, which a small deviation would blow up."""
    return torch.where(equal(rewards_GS)[:, None], torch.zeros_like(advantages_GS), advantages_GS)


def _samples(rewards_GS: Tensor) -> int:
    if rewards_GS.dim() != 2 or rewards_GS.shape[1] < 2:
        raise ValueError(f"rewards have shape {tuple(rewards_GS.shape)}, expected [groups, 2 or more samples]")
    return rewards_GS.shape[1]


def token_weights(mask_BT: Tensor, loss_type: str, longest: int) -> Tensor:
    """[B, T] w with Σ w · l = the loss over a minibatch of token losses l; 0 where not masked.

    loss_type: "grpo"     the mean over replies of the mean over their tokens (Shao et al. 2024, eq. 3)
               "dapo"     the mean over all tokens (Yu et al. 2025, DAPO, eq. 8); "bnpo" is the same on one minibatch
               "dr_grpo"  the sum over a reply's tokens divided by `longest`, mean over replies (Liu et al. 2025)
    longest: the most tokens that a reply may have, a constant
    """
    mask_BT = mask_BT.float()
    replies, tokens_B1 = len(mask_BT), mask_BT.sum(dim=1, keepdim=True)
    if loss_type == "grpo":
        return mask_BT / (replies * tokens_B1.clamp(min=1.0))
    if loss_type in ("dapo", "bnpo"):
        return mask_BT / mask_BT.sum().clamp(min=1.0)
    if loss_type == "dr_grpo":
        return mask_BT / (replies * longest)
    raise ValueError(f"loss_type is {loss_type!r}, expected grpo, bnpo, dr_grpo or dapo")
