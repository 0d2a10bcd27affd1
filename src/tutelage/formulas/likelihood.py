"""Log-probabilities of actions from logits: log-softmax in fp32, at one temperature."""

from __future__ import annotations

import torch
from torch import Tensor


def action_log_probs(logits_NV: Tensor, actions_N: Tensor, temperature: float = 1.0) -> Tensor:
    """[N, V] logits and [N] actions -> [N] log softmax(logits / temperature)[action], fp32."""
    log_probs_NV = torch.log_softmax(logits_NV.float() / temperature, dim=-1)
    return log_probs_NV.gather(-1, actions_N[:, None])[:, 0]


def entropy(logits_NV: Tensor, temperature: float = 1.0) -> Tensor:
    """[N, V] -> [N] logsumexp(z) − Σ softmax(z)·z in nats, z = logits / temperature; in [0, ln V], shift-invariant."""
    scaled_NV = logits_NV.float() / temperature
    log_probs_NV = torch.log_softmax(scaled_NV, dim=-1)
    return -(log_probs_NV.exp() * log_probs_NV).sum(dim=-1)
