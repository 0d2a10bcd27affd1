"""What PPO and A2C minimise, one term an action; the caller sums over its mask and divides once."""

from __future__ import annotations

import torch
from torch import Tensor


def clipped(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip_range: float, clip_high: float | None = None
) -> Tensor:
    """max(−A ρ, −A clip(ρ, 1 − clip_range, 1 + clip_high)), ρ = exp(log_probs − old_log_probs) (Schulman et al. 2017,
    eq. 7). clip_high: the upper range where it differs (Yu et al. 2025, DAPO, eq. 10); None is clip_range."""
    ratio = (log_probs - old_log_probs).exp()
    return torch.maximum(-advantages * ratio, -advantages * _within(ratio, clip_range, clip_high))


def clipped_indicator(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip_range: float, clip_high: float | None = None
) -> Tensor:
    """1.0 where the clipped branch is the larger one and the term has no gradient; its mean: the clip fraction."""
    ratio = (log_probs - old_log_probs).exp()
    return (-advantages * _within(ratio, clip_range, clip_high) > -advantages * ratio).float()


def _within(ratio: Tensor, clip_range: float, clip_high: float | None) -> Tensor:
    return ratio.clamp(1 - clip_range, 1 + (clip_range if clip_high is None else clip_high))


def clipped_value(values: Tensor, old_values: Tensor, returns: Tensor, clip_range: float) -> Tensor:
    """½ max((V − R)², (clip(V, V_old ± clip_range) − R)²) (openai/lm-human-preferences)."""
    near = old_values + (values - old_values).clamp(-clip_range, clip_range)
    return 0.5 * torch.maximum((values - returns) ** 2, (near - returns) ** 2)


def value_clipped_indicator(values: Tensor, old_values: Tensor, returns: Tensor, clip_range: float) -> Tensor:
    """1.0 where the clipped value is the worse one."""
    near = old_values + (values - old_values).clamp(-clip_range, clip_range)
    return ((near - returns) ** 2 > (values - returns) ** 2).float()


def policy_gradient(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """−A log π (Williams 1992; the actor of A2C). Its gradient is that of `clipped` at ratio 1."""
    return -advantages * log_probs


def approximate_kl(log_probs: Tensor, old_log_probs: Tensor) -> Tensor:
    """½ (log π − log π_old)²: how far the update went, in nats."""
    return 0.5 * (log_probs - old_log_probs) ** 2
