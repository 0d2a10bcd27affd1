"""A policy from what --model names: a folder or hub id, with the adapter that its folder holds or a new one."""

from __future__ import annotations

from typing import Any

import torch

from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec
from tutelage.models.adapters import find_adapter
from tutelage.models.dtypes import refuse_fp16
from tutelage.models.lora import with_lora
from tutelage.models.pretrained import (
    NOTHING,
    Trust,
    load_adapter_to_train,
    load_causal_lm,
    load_tokenizer,
    refuse_missing_rows,
)


def load_policy(name: str, device: torch.device, lora_rank: int = 0, trust: Trust = NOTHING) -> tuple[Any, Codec]:
    """A policy and its codec. With a rank a LoRA adapter learns: that of the folder where `name` holds one, else a new
    one on the model's weights. Without, an adapter of the folder is merged and every weight learns."""
    if lora_rank < 0:
        raise InputError(f"--lora-rank is {lora_rank}, expected 0 (train the weights) or the rank of an adapter.")
    if lora_rank and find_adapter(name):
        model = load_adapter_to_train(name, lora_rank, device, trust)
    else:
        model = load_causal_lm(name, device, trust)
        model = with_lora(model, lora_rank) if lora_rank else model
    if lora_rank:
        refuse_fp16(model.parameters())  # also below an adapter in fp32: gradients pass through them
    codec = Codec(load_tokenizer(name, trust))
    refuse_missing_rows(model, codec.tokenizer, name)
    return model, codec
