"""KL(π ‖ π_reference) of whole distributions, for losses. `formulas.kl` has its estimates from samples."""

from __future__ import annotations

import torch
from torch import Tensor


def divergence(logits: Tensor, reference_logits: Tensor) -> Tensor:
    """[..., V] logits of both -> [...] nats, as `kl.exact`, with a gradient of exactly 0 where both are the same.

    d/dz Σ p (log p − log q) = Σ (log p − log q) dp/dz, since Σ p d(log p)/dz is 0 and is left out here.
    """
    log_p, log_q = (torch.log_softmax(each.float(), dim=-1) for each in (logits, reference_logits))
    return (log_p.exp() * (log_p - log_q).detach()).sum(dim=-1)
