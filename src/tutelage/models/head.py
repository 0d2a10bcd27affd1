"""Log-probs of actions straight from the states below the head: the logits of a whole batch are never kept.

The head of a small model with a large vocabulary is most of its work and nearly all of its memory. Here its logits live
for a chunk of rows at a time, forward and backward; few enough of them are kept, more are computed a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from tutelage.models.kernels import kernels

CHUNK = 7 * 2**20  # logits at a time: what an allocator still hands out again without asking the system
KEPT = 2**25  # logits up to which the probabilities stay for the backward pass


def said(
    states_Nd: Tensor, weight_Vd: Tensor, bias_V: Tensor | None, actions_N: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """([N] log softmax(z)[action], [N] entropy in nats), z = (states · weightᵀ + bias) / temperature, in fp32.

    The same numbers and gradients as `formulas.likelihood` on the logits. The entropy is for reports: it is NaN where a
    gradient is asked for, since nothing reads it there and it costs as much as the softmax.
    """
    if torch.is_autocast_enabled(states_Nd.device.type):  # the product alone is in the lower precision
        lower = torch.get_autocast_dtype(states_Nd.device.type)
        states_Nd, weight_Vd = states_Nd.to(lower), weight_Vd.to(lower)
        bias_V = None if bias_V is None else bias_V.to(lower)
    learns = torch.is_grad_enabled() and (states_Nd.requires_grad or weight_Vd.requires_grad)
    return _Said.apply(states_Nd, weight_Vd, bias_V, actions_N, temperature, learns)  # pyright: ignore[reportReturnType]


class _Said(torch.autograd.Function):
    """d log p_a / dz_v = 1[v = a] − p_v, so a backward pass needs the probabilities and nothing else."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, actions: Tensor, temperature: float, learns: bool
    ) -> tuple[Tensor, Tensor]:
        log_probs = torch.empty(len(states), dtype=torch.float32, device=states.device)
        entropy = torch.full_like(log_probs, torch.nan)
        keeps = learns and len(states) * len(weight) <= KEPT
        kept: list[Tensor] = []
        for rows in _chunks(len(states), len(weight)):
            scaled = _logits(states[rows], weight, bias, temperature)
            said = torch.log_softmax(scaled, dim=-1)
            log_probs[rows] = said.gather(-1, actions[rows, None])[:, 0]
            if keeps:
                kept.append(said.exp_())
            elif not learns:
                entropy[rows] = -torch.bmm(said.exp()[:, None], said[:, :, None])[:, 0, 0]
        ctx.save_for_backward(states, weight, bias, actions)
        ctx.probs, ctx.temperature = kept, temperature
        ctx.mark_non_differentiable(entropy)
        return log_probs, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        states, weight, bias, actions = ctx.saved_tensors
        needs_states, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        to_states = torch.empty_like(states) if needs_states else None
        to_weight: Tensor | None = None
        to_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and needs_bias else None
        kept, ctx.probs = ctx.probs, []  # they are overwritten below; a second backward pass computes them again
        for number, rows in enumerate(_chunks(len(states), len(weight))):
            pull = gradients[0][rows] / ctx.temperature
            if kept:
                probs, kept[number] = kept[number], None
            else:
                probs = _logits(states[rows], weight, bias, ctx.temperature).softmax(dim=-1)
            to_logits = probs.mul_(-pull[:, None])
            to_logits.scatter_add_(1, actions[rows, None], pull[:, None].to(to_logits.dtype))
            to_logits = to_logits.to(weight.dtype)
            if to_states is not None:
                to_states[rows] = kernels().multiply(to_logits, weight.t())
            if needs_weight:
                part = kernels().weight_gradient(to_logits, states[rows]).float()
                to_weight = part if to_weight is None else to_weight.add_(part)
            if to_bias is not None:
                to_bias += to_logits.sum(dim=0)
        if to_weight is not None:
            to_weight = to_weight.contiguous()  # as the weight lies; tied embeddings add theirs to it
        return to_states, to_weight, to_bias, None, None, None


def _chunks(rows: int, vocabulary: int) -> Iterator[slice]:
    size = max(1, CHUNK // vocabulary)
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def _logits(states: Tensor, weight: Tensor, bias: Tensor | None, temperature: float) -> Tensor:
    logits = kernels().multiply(states, weight, bias).float()
    return logits if temperature == 1.0 else logits.div_(temperature)
