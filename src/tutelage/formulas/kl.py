"""KL(π ‖ π_reference) in nats: estimates from samples of π, the exact value, and the controller of its price."""

from __future__ import annotations

import torch
from torch import Tensor


def k1(log_probs: Tensor, reference_log_probs: Tensor) -> Tensor:
    """log π − log π_ref: unbiased, may be negative. For rewards and reports; as a loss its expected gradient is 0."""
    return log_probs - reference_log_probs


def k2(log_probs: Tensor, reference_log_probs: Tensor) -> Tensor:
    """½ (log π − log π_ref)²: biased as a value, but its expected gradient is the KL's. For losses."""
    return 0.5 * (log_probs - reference_log_probs) ** 2


def k3(log_probs: Tensor, reference_log_probs: Tensor) -> Tensor:
    """e^{−l} − 1 + l with l = log π − log π_ref: unbiased and ≥ 0 as a value; as a loss biased. For reports only."""
    difference = log_probs - reference_log_probs
    return torch.expm1(-difference) + difference


def k3_weighted(log_probs: Tensor, reference_log_probs: Tensor) -> Tensor:
    """ρ · k3 with ρ = π / stop_gradient(π): the expected gradient is the KL's. For losses on samples of π."""
    return (log_probs - log_probs.detach()).exp() * k3(log_probs, reference_log_probs)


def exact(logits: Tensor, reference_logits: Tensor) -> Tensor:
    """[..., V] logits of both -> [...] nats, over the whole vocabulary, in fp32."""
    log_p = torch.log_softmax(logits.float(), dim=-1)
    log_q = torch.log_softmax(reference_logits.float(), dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1)


def adapted(coefficient: float, kl_nats: float, target_nats: float, episodes: int, horizon_episodes: float) -> float:
    """The next KL coefficient: up where the KL a sequence is above target (Ziegler et al. 2019, code).

    coefficient · (1 + clip(kl/target − 1, ±0.2) · min(1, episodes/horizon)), after the batch that showed this KL. The
    paper's horizon is many batches long; the minimum keeps the coefficient positive where one batch is longer.
    """
    if target_nats <= 0 or horizon_episodes <= 0:
        raise ValueError(f"target ({target_nats}) and horizon ({horizon_episodes}) must be above 0")
    error = min(max(kl_nats / target_nats - 1.0, -0.2), 0.2)
    return coefficient * (1.0 + error * min(1.0, episodes / horizon_episodes))
