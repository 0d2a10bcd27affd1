"""Importance weights of actions that another policy drew: w = π(a|s) / μ(a|s), truncated so that none explodes.

π is the learner, μ the sampler. E_μ[w f] = E_π[f] without truncation; min(w, c) has less variance and counts what μ
drew too seldom at most c times, so it is biased towards μ (Ionides 2008; Yao et al. 2025).
"""

from __future__ import annotations

from torch import Tensor

from tutelage.formulas import masked

LARGEST_LOG = 20.0  # of a log-ratio before exp, which would overflow for a reply of many tokens


def token_weights(log_probs_BT: Tensor, sampler_log_probs_BT: Tensor, mask_BT: Tensor, largest: float) -> Tensor:
    """[B, T] min(π/μ, largest) of each action, without a gradient; 0 where not masked, which leaves the denominator."""
    log_BT = masked.kept(log_probs_BT - sampler_log_probs_BT, mask_BT).detach()
    return masked.kept(_truncate(log_BT, largest), mask_BT)


def sequence_weights(log_probs_BT: Tensor, sampler_log_probs_BT: Tensor, mask_BT: Tensor, largest: float) -> Tensor:
    """[B, T] min(Π_t π/μ, largest), one weight for all actions of an episode, without a gradient; 0 where not masked.

    Unbiased up to the truncation, also for what happens after an action; a product of many tokens varies widely.
    """
    log_BT = masked.kept(log_probs_BT - sampler_log_probs_BT, mask_BT).detach()
    weight_B1 = _truncate(log_BT.sum(dim=1, keepdim=True), largest)
    return masked.kept(weight_B1.expand_as(log_BT), mask_BT)


def sequence_mean(log_ratio_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """[B, T] 1/|y| Σ_t log ratio: the sequence ratio of GSPO is its exp (Zheng et al. 2025, eq. 7). With a gradient."""
    log_ratio_BT = masked.kept(log_ratio_BT, mask_BT)
    tokens_B1 = mask_BT.sum(dim=1, keepdim=True).clamp(min=1)
    return (log_ratio_BT.sum(dim=1, keepdim=True) / tokens_B1).expand_as(log_ratio_BT)


def _truncate(log_weights: Tensor, largest: float) -> Tensor:
    if largest <= 0:
        raise ValueError(f"the largest weight is {largest}, expected more than 0")
    return log_weights.clamp(-LARGEST_LOG, LARGEST_LOG).exp().clamp(max=largest)
