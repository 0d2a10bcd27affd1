"""Bytes of the weights that a run holds, by holder: weights that several share are counted once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn


def bytes_by_holder(**holders: object) -> dict[str, int]:
    """Holder -> bytes of the parameters and buffers that no earlier holder has.

    A storage that several tensors or several holders share (tied embeddings, a reference that is the policy with its
    adapter off) is counted once, under the first holder in the order of the arguments; a holder that shares everything
    has 0. Gradients, optimizer state and activations are not counted.

    holders: modules, or what holds some: a reference, a score, a critic, a dict or list of them; None has 0 bytes

        bytes_by_holder(policy=policy, reference=reference, critic=critic, reward=score)
    """
    counted: dict[Any, Tensor] = {}
    return {name: _uncounted_bytes(holder, counted) for name, holder in holders.items()}


def _uncounted_bytes(holder: object, counted: dict[Any, Tensor]) -> int:
    """Bytes of the storages of `holder` that are not in `counted`, to which they are added."""
    total = 0
    for tensor in _tensors(holder, set()):
        key, size = _storage(tensor)
        if key not in counted:
            counted[key] = tensor  # kept alive: the address of a storage that is gone is given out again
            total += size
    return total


def _storage(tensor: Tensor) -> tuple[Any, int]:
    """(what tells one storage from another, its bytes); a tensor on the meta device has an identity alone."""
    if tensor.device.type == "meta":
        return id(tensor), tensor.numel() * tensor.element_size()
    storage = tensor.untyped_storage()
    return (tensor.device, storage.data_ptr() or id(tensor)), storage.nbytes()


def _tensors(holder: object, seen: set[int]) -> Iterator[Tensor]:
    """Parameters and buffers of every module, and every tensor, that is reached from `holder`."""
    if holder is None or id(holder) in seen or isinstance(holder, (str, bytes, int, float, type)):
        return
    seen.add(id(holder))
    if isinstance(holder, nn.Module):
        yield from holder.parameters()
        yield from holder.buffers()
    elif isinstance(holder, Tensor):
        yield holder
    else:
        for each in _parts(holder):
            yield from _tensors(each, seen)


def _parts(holder: object) -> Iterator[object]:
    """What a container, an object or a function's closure holds."""
    if isinstance(holder, Mapping):
        yield from holder.values()
    elif isinstance(holder, (list, tuple, set, frozenset)):
        yield from holder
    elif isinstance(holder, MethodType):
        yield holder.__self__
    elif isinstance(holder, FunctionType):
        yield from (cell.cell_contents for cell in holder.__closure__ or ())
    elif type(holder).__module__.split(".")[0] not in ("builtins", torch.__name__):
        yield from vars(holder).values() if hasattr(holder, "__dict__") else ()
