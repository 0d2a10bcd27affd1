"""The operations of a model that a processor may have its own code for, and their plain form in torch.

A kernel set is a subclass of `Kernels`. The environment variable TUTELAGE_KERNELS chooses it, for the whole process:
one of the names in `tutelage.KERNELS`, such as `plain`, or `module:Class`. It is read where a model is wrapped in a
policy, a critic or a reward model, so set it before that.
"""

from __future__ import annotations

import functools
import os
import pkgutil
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from tutelage import KERNELS
from tutelage.data.errors import InputError

SWITCH = "TUTELAGE_KERNELS"
DEFAULT = "cpu"
Advance = Callable[[Any, Tensor, Tensor, list[Tensor], list[Tensor]], Tensor]
"""(model, tokens [R, 1], positions [R, 1], keys, values: a cache tensor a layer) -> [R, 1, d] last states or logits"""


class Head:
    """Last hidden states [B, d] -> logits [B, V] while replies are sampled. layer: None where the states are logits."""

    def __init__(self, layer: nn.Module | None) -> None:
        self.layer = layer

    def forget(self) -> None:
        """The weights may have changed since the last call."""

    def __call__(self, states_Bd: Tensor) -> Tensor:
        return states_Bd if self.layer is None else self.layer(states_Bd)


class DecodingStep:
    """One more token of every running sequence: the model itself, called as `advance` calls it."""

    def __init__(self, model: Any, advance: Advance) -> None:
        self.model, self.advance = model, advance

    def begin(self) -> None:
        """A new call of the sampler: weights and adapters may have changed."""

    def __call__(self, tokens: Tensor, positions: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
        return self.advance(self.model, tokens, positions, keys, values)


class Kernels:
    """The plain kernels. Every method of a subclass computes the same up to fp32 rounding."""

    products = "torch"
    """The library that multiplies matrices: `matrix_products` in config.json. A run resumes with the same one only."""

    def accelerate(self, model: Any) -> Any:
        """The same model, its linear layers computed by this kernel set; weights and their names are not touched."""
        return model

    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """[..., K] · [N, K]ᵀ + [N] -> [..., N] without a gradient."""
        return nn.functional.linear(x, weight, bias)

    def weight_gradient(self, g: Tensor, x: Tensor) -> Tensor:
        """gᵀ · x, [M, N] and [M, K] -> [N, K], with the longer side as the outputs of the product: oneDNN is up to
        twice as fast that way."""
        if g.shape[1] > x.shape[1]:
            return self.multiply(x.t(), g.t()).t()
        return self.multiply(g.t(), x.t())

    def head(self, layer: nn.Module | None) -> Head:
        """The output layer while replies are sampled."""
        return Head(layer)

    def decoding_step(self, model: Any, advance: Advance, warn: Callable[[str], None]) -> DecodingStep:
        """A step of sampling. warn: hears one sentence where the kernel set cannot serve this model."""
        return DecodingStep(model, advance)


def kernels() -> Kernels:
    """The kernel set of this process. InputError where TUTELAGE_KERNELS names none."""
    return _load(os.environ.get(SWITCH) or DEFAULT)


def is_plain_linear(layer: Any) -> bool:
    """Whether a layer is nn.Linear and nothing else (no adapter, no code of its own), whoever computes it."""
    return type(layer) is nn.Linear or bool(vars(type(layer)).get("replaces_linear"))


@functools.cache
def _load(name: str) -> Kernels:
    path = KERNELS.get(name, name)
    try:
        found = pkgutil.resolve_name(path)() if ":" in path else None
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{SWITCH}={name}: {path} cannot be loaded ({type(error).__name__}: {error}).") from error
    if not isinstance(found, Kernels):
        raise InputError(
            f"{SWITCH}={name}: expected {', '.join(KERNELS)} or module:Class, a subclass of "
            "tutelage.models.kernels.Kernels."
        )
    return found
