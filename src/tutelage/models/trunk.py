"""The transformer below the head, run over whole sequences: in fp32 or bf16, keeping its activations or not.

Weights, log-softmax, losses and the optimiser stay in fp32 whatever is chosen here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from tutelage.data.errors import InputError

ON_PASS: ContextVar[Callable[[Any, int], None] | None] = ContextVar("on_pass", default=None)
"""Called with the model and its tokens, padding included, before every pass over whole sequences (`models.flops`)."""


@dataclass(frozen=True)
class Numerics:
    """How forward passes are computed.

    precision: of matrix products; bf16 by autocast, for processors that have it (GPUs, AMX, AVX512-BF16)
    recompute: layers keep their inputs alone and are run again in the backward pass (Chen et al. 2016): less memory,
        a third more time
    """

    precision: Literal["fp32", "bf16"] = "fp32"
    recompute: bool = False

    @property
    def rounding(self) -> float:
        """torch.finfo(dtype).eps of a precision below fp32: what two right computations may differ by; 0 in fp32."""
        return 0.0 if self.precision == "fp32" else torch.finfo(torch.bfloat16).eps

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")


def trunk(model: Any) -> Any:
    """The transformer below the head, whichever family; through a LoRA wrapper its adapted layers still run."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return getattr(inner, trunk_name(inner))


def trunk_name(model: Any) -> str:
    """The attribute that holds the transformer below the head: the one that transformers names, else the only one."""
    if hasattr(model, model.base_model_prefix):
        return model.base_model_prefix
    names = [name for name, child in model.named_children() if isinstance(child, PreTrainedModel)]
    if len(names) != 1:
        raise InputError(f"{type(model).__name__} has no transformer apart from its head, so it cannot be used here.")
    return names[0]


def last_states(model: Any, tokens_BS: Tensor, numerics: Numerics = Numerics()) -> Tensor:
    """[B, S, d] last hidden states of right-padded sequences; attention is causal, so padding needs no mask."""
    observe = ON_PASS.get()
    if observe is not None:
        observe(model, tokens_BS.numel())
    body = trunk(model)
    keep = _kept_as_usual if not (numerics.recompute and torch.is_grad_enabled()) else _recomputed
    with numerics.autocast(tokens_BS.device), keep(body):
        return body(input_ids=tokens_BS, use_cache=False).last_hidden_state


@contextmanager
def _kept_as_usual(body: Any) -> Iterator[None]:
    yield


@contextmanager
def _recomputed(body: Any) -> Iterator[None]:
    """transformers checkpoints the layers that train; ours never do (no dropout), so they say so for one pass."""
    layers = [module for module in body.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise InputError(
            f"--recompute: the layers of {type(body).__name__} cannot be run again in the backward pass. Leave it out."
        )
    enable = getattr(body, "activation_checkpointing_enable", None) or body.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    before = [layer.training for layer in layers]
    try:
        for layer in layers:
            layer.training = True
        yield
    finally:
        for layer, trains in zip(layers, before, strict=True):
            layer.training = trains
