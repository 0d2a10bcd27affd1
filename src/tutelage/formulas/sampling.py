"""Drawing actions from logits: which tokens may come next, and which one does."""

from __future__ import annotations

import torch
from torch import Tensor

NEVER = -1e9  # a logit of what may not come: probability 0, and no NaN where a probability of 0 is multiplied by it


def support(logits_BV: Tensor, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """[B, V] bool: the top_k likeliest tokens of each row, and of those the fewest whose probability reaches top_p.

    0 and 1.0 keep all. The likeliest is always kept; of equals at the border the earlier ones are.
    Nucleus sampling is Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", eq. 2-3.
    """
    kept_BV = torch.ones_like(logits_BV, dtype=torch.bool)
    if 0 < top_k < logits_BV.shape[-1]:
        best_BK = logits_BV.topk(top_k, dim=-1).indices
        kept_BV = torch.zeros_like(kept_BV).scatter(-1, best_BK, True)
    if top_p < 1.0:
        allowed_BV = logits_BV.float().masked_fill(~kept_BV, NEVER)
        probs_BV, order_BV = allowed_BV.softmax(-1).sort(dim=-1, descending=True, stable=True)
        before_BV = probs_BV.cumsum(-1, dtype=torch.float64) - probs_BV
        within_BV = before_BV < top_p
        within_BV[:, 0] = True
        kept_BV &= torch.zeros_like(kept_BV).scatter(-1, order_BV, within_BV)
    return kept_BV


def inverse_cdf(probs_BV: Tensor, uniforms_B: Tensor) -> Tensor:
    """[B] the first token whose cumulative probability exceeds the row's uniform in [0, 1).

    One uniform a row: on a CPU torch.multinomial draws one a token, which costs more than the softmax of 32,000 logits.
    """
    cumulative_BV = probs_BV.cumsum(dim=-1, dtype=torch.float64)
    wanted_B1 = uniforms_B[:, None].to(cumulative_BV) * cumulative_BV[:, -1:]
    found_B = torch.searchsorted(cumulative_BV, wanted_B1, right=True)[:, 0]
    return found_B.clamp(max=probs_BV.shape[-1] - 1)


def pack(support_BV: Tensor) -> Tensor:
    """[..., V] bool -> [..., ⌈V/8⌉] uint8, the first token in the lowest bit."""
    bits = torch.zeros((*support_BV.shape[:-1], -(-support_BV.shape[-1] // 8) * 8), dtype=torch.uint8)
    bits = bits.to(support_BV.device)
    bits[..., : support_BV.shape[-1]] = support_BV
    weights = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], device=bits.device)
    bytes_of_bits = bits.reshape(*bits.shape[:-1], -1, 8)
    return (bytes_of_bits * weights).sum(dim=-1).to(torch.uint8)


def unpack(packed: Tensor, tokens: int) -> Tensor:
    """[..., ⌈V/8⌉] uint8 -> [..., V] bool."""
    bits = (packed[..., None] >> torch.arange(8, device=packed.device).to(torch.uint8)) & 1
    return bits.flatten(-2)[..., :tokens].bool()
