"""The dtype of a model's weights: fp32, or what its checkpoint holds (--dtype checkpoint), tensor by tensor."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from torch import nn
from transformers.utils.hub import cached_file

from tutelage.data.errors import InputError
from tutelage.models.trunk import trunk

Dtype = Literal["float32", "checkpoint", "bfloat16"]
NAMES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
LOWER = (torch.float16, torch.bfloat16)
NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)  # autocast leaves them alone, and they refuse another dtype


def checkpoint_dtypes(name: str) -> dict[str, torch.dtype]:
    """Tensor name -> dtype, of the floating-point tensors in the safetensors files of a folder or hub id.

    Empty where there is none, as where the weights are pickled.
    """
    found: dict[str, torch.dtype] = {}
    for path in weight_files(name):
        with safe_open(path, framework="pt") as weights:
            kinds = {key: NAMES.get(weights.get_slice(key).get_dtype()) for key in weights.keys()}  # noqa: SIM118
        found |= {key: kind for key, kind in kinds.items() if kind is not None}
    return found


def dtype_to_load(wish: Dtype, name: str) -> tuple[torch.dtype | str, dict[str, torch.dtype]]:
    """(what transformers is asked for, the dtypes to give back to single tensors afterwards).

    A checkpoint of several dtypes is loaded in fp32, which holds every bf16 and fp16 number exactly.
    """
    if wish != "checkpoint":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wish], {}
    dtypes = checkpoint_dtypes(name)
    kinds = set(dtypes.values())
    if not kinds:
        return "auto", {}
    return (kinds.pop(), {}) if len(kinds) == 1 else (torch.float32, dtypes)


def restore_dtypes(model: Any, dtypes: Mapping[str, torch.dtype]) -> None:
    """Every parameter and buffer in the dtype of its tensor in the checkpoint; one that is not there (a fresh head) in
    that of most weights."""
    most = Counter(dtypes.values()).most_common(1)[0][0]
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point():
            found = _dtype_of(name, dtypes, model.base_model_prefix)
            kept = most if found is None and isinstance(tensor, nn.Parameter) else found
            tensor.data = tensor.data.to(kept or tensor.dtype)


def run_in_mixed_dtypes(model: Any) -> None:
    """Lets a model of several dtypes compute: by autocast to the lower one, where it does not run as it is.

    transformers' layers expect one dtype, unless the family itself keeps some weights in fp32.
    """
    lower = [each.dtype for each in model.parameters() if each.dtype in LOWER]
    if not lower or len({each.dtype for each in model.parameters()}) == 1 or _runs(model):
        return
    dtype = Counter(lower).most_common(1)[0][0]
    heads = [model.get_output_embeddings(), getattr(model, "score", None)]
    for module in (model, trunk(model), *heads):
        if module is not None:
            module.__class__ = _autocasting(type(module), dtype)
    for module in model.modules():
        if type(module) in NORMS and module.weight is not None:
            module.__class__ = _reading_its_own_dtype(type(module))


def rounding_of(model: nn.Module) -> float:
    """torch.finfo(dtype).eps of the coarsest dtype below fp32 among the weights; 0 where all are fp32."""
    kinds = {each.dtype for each in model.parameters() if each.dtype in LOWER}
    return max((torch.finfo(each).eps for each in kinds), default=0.0)


def refuse_fp16(parameters: Iterable[torch.Tensor]) -> None:
    """InputError where one of these weights is fp16: it cannot be trained, nor what depends on it."""
    if any(each.dtype == torch.float16 for each in parameters):
        raise InputError(
            "weights in fp16 cannot be trained: gradients below 6e-8 become 0 in it. Give --dtype bfloat16 or float32."
        )


def weight_files(name: str) -> list[str]:
    """Paths of the safetensors of a folder or hub id, an adapter's not among them."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return sorted(str(each) for each in folder.glob("*.safetensors") if not each.name.startswith("adapter"))
    kinds = ("missing_entries", "gated_repo", "connection_errors")
    options: dict[str, Any] = {f"_raise_exceptions_for_{each}": False for each in kinds}  # the loader says them better
    index = cached_file(name, "model.safetensors.index.json", **options)
    if index is not None:
        names = set(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values())
    else:
        names = {"model.safetensors"}
    found = [cached_file(name, each, **options) for each in sorted(names)]
    return [each for each in found if each is not None]


def _dtype_of(name: str, dtypes: Mapping[str, torch.dtype], prefix: str) -> torch.dtype | None:
    """transformers adds or drops the name of the trunk where a folder holds the other kind of model."""
    for each in (name, name.removeprefix(f"{prefix}."), f"{prefix}.{name}"):
        if each in dtypes:
            return dtypes[each]
    return None


@torch.no_grad()
def _runs(model: Any) -> bool:
    tokens = torch.arange(3, device=next(model.parameters()).device)[None] % model.config.get_text_config().vocab_size
    try:
        model(input_ids=tokens, attention_mask=torch.ones_like(tokens))
    except RuntimeError:  # of two dtypes in one product
        return False
    return True


@functools.cache
def _autocasting(kind: type, dtype: torch.dtype) -> type:
    """The class with its forward pass under autocast, under the same name: it is saved with the model."""

    def forward(self: Any, *arguments: Any, **options: Any) -> Any:
        with torch.autocast(next(self.parameters()).device.type, dtype):
            return kind.forward(self, *arguments, **options)

    functools.update_wrapper(forward, kind.forward)  # transformers reads its signature
    return type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})


@functools.cache
def _reading_its_own_dtype(kind: type) -> type:
    """The class of a norm, computing in the dtype of its weight whatever it is given."""

    def forward(self: Any, input: torch.Tensor) -> torch.Tensor:
        return kind.forward(self, input.to(self.weight.dtype))

    return type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
