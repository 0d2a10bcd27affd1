"""Drawing actions from logits: which tokens may come next, and which one does."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 256
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
    """[B] the first token whose cumulative probability exceeds the row's uniform in [0, 1); never one of probability 0.

    One uniform a row: on a CPU torch.multinomial draws one a token, which costs more than the softmax of 32,000 logits.
    A large vocabulary is searched by blocks first, which reads it once and adds up little.
    """
    tokens = probs_BV.shape[-1]
    if tokens <= 4 * BLOCK:
        return _first_above(probs_BV, uniforms_B.double())
    whole = tokens - tokens % BLOCK
    sums_BK = probs_BV[:, :whole].reshape(len(probs_BV), -1, BLOCK).sum(dim=-1)
    if whole < tokens:
        sums_BK = torch.cat([sums_BK, probs_BV[:, whole:].sum(dim=-1, keepdim=True)], dim=-1)
    ends_BK = sums_BK.cumsum(dim=-1, dtype=torch.float64)
    wanted_B = uniforms_B.to(ends_BK) * ends_BK[:, -1]
    block_B1 = _first_above(sums_BK, uniforms_B.double())[:, None]
    places_BS = block_B1 * BLOCK + torch.arange(BLOCK, device=probs_BV.device)
    inside_BS = probs_BV.gather(1, places_BS.clamp(max=tokens - 1)).masked_fill(places_BS >= tokens, 0.0)
    sums_B = sums_BK.gather(1, block_B1)[:, 0].double()
    rest_B = (wanted_B - ends_BK.gather(1, block_B1)[:, 0] + sums_B) / sums_B
    return block_B1[:, 0] * BLOCK + _first_above(inside_BS, rest_B)


def _first_above(weights_BK: Tensor, uniforms_B: Tensor) -> Tensor:
    """[B] the first place whose cumulative share exceeds the uniform, at most the last that has any weight."""
    ends_BK = weights_BK.cumsum(dim=-1, dtype=torch.float64)
    found_B = torch.searchsorted(ends_BK, uniforms_B[:, None] * ends_BK[:, -1:], right=True)[:, 0]
    places_K = torch.arange(weights_BK.shape[-1], device=weights_BK.device)
    return torch.minimum(found_B, torch.where(weights_BK > 0, places_K, 0).amax(dim=-1))


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
