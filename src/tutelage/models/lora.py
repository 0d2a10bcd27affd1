"""New LoRA adapters on a loaded model (Hu et al. 2021); adapters that a folder holds are read by `models.adapters`."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from tutelage.data.errors import InputError
from tutelage.models.causality import first_line
from tutelage.models.kernels import is_plain_linear

STATE_SPACE = ("falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h")
UNADAPTED = {
    **dict.fromkeys(STATE_SPACE, ("out_proj", "conv1d")),  # peft refuses to adapt them
    "laguna": ("shared_experts",),  # peft 0.21 saves their adapters and does not find them again
}
"""Kind of model -> layers that get no LoRA adapter."""


def with_lora(model: Any, rank: int) -> Any:
    """The model with a LoRA adapter of this rank on every linear layer; only the adapter learns."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        exclude_modules=unadapted(model) or None,
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers that are stored transposed: peft sets what it warns about
            return get_peft_model(model, config).eval()
    except (ValueError, TypeError, AttributeError, NotImplementedError) as error:
        raise InputError(
            f"--lora-rank {rank}: peft cannot put a LoRA adapter on a model of type {model.config.model_type} "
            f"({first_line(error)}). Leave --lora-rank out to train the weights."
        ) from error


def unadapted(model: Any) -> list[str]:
    """Names of linear layers that a LoRA adapter must leave alone: those of state-space layers whose weights are read
    directly, those whose adapters peft does not read again, and layers that compute something else than their product,
    such as routers and grouped projections."""
    layers = UNADAPTED.get(model.config.model_type, ())
    linear = [(name, each) for name, each in model.named_modules() if isinstance(each, nn.Linear)]
    named = [name for name, _ in linear if any(layer in name.split(".") for layer in layers)]
    special = [(name, each) for name, each in linear if not is_plain_linear(each)]
    return [*layers, *named, *(name for name, each in special if not _computes_its_product(each))]


@torch.no_grad()
def _computes_its_product(layer: nn.Linear) -> bool:
    """Whether a kind of nn.Linear with code of its own still computes x·Wᵀ + b."""
    weight = layer.weight
    try:
        x = torch.linspace(-1.0, 1.0, 2 * weight.shape[1], device=weight.device, dtype=weight.dtype)
        x = x.view(1, 2, weight.shape[1])
        return torch.allclose(layer(x), nn.functional.linear(x, weight, layer.bias), atol=1e-4)
    except Exception:  # of whatever kind: it is no product
        return False
