"""Matrix products of linear layers in oneDNN, where torch's own library leaves half of the machine unused.

On AMD processors with AVX-512 torch multiplies fp32 matrices with MKL, which takes its AVX2 kernels there. oneDNN, in
torch too, is twice as fast and more at the same precision (benchmarks/limit.py). Nothing changes elsewhere.
The choice depends on the machine alone, stands in every config.json, and a resume on another machine is refused.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.models.kernels import Head, is_plain_linear, kernels

SMALLEST = 5_000_000  # multiplications below which calling oneDNN costs more than it saves
WORTH_PACKING = 2**21  # weights of a head from which its own order pays


@functools.cache
def library() -> str:
    """ "onednn" or "torch": what multiplies fp32 matrices on this processor."""
    info = Path("/proc/cpuinfo")
    is_amd = info.exists() and "AuthenticAMD" in info.read_text()
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return "onednn" if is_amd and wide and torch.backends.mkldnn.is_available() else "torch"


def replace_linear_layers(model: Any) -> Any:
    """The same model, its fp32 linear layers multiplying in oneDNN where that is faster; weights are not touched."""
    if library() == "onednn":
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = Linear
    return model


class Linear(nn.Linear):
    """nn.Linear in oneDNN for large products on the CPU in fp32, and nn.Linear itself for any other."""

    replaces_linear = True

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        if not torch.is_grad_enabled():
            return torch.ops.tutelage.linear(input, self.weight, self.bias)
        return product(input, self.weight, self.bias) if suits(input, self.weight) else super().forward(input)


class Product(torch.autograd.Function):
    """y = x·Wᵀ + b and its gradients: dx = g·W, dW = gᵀ·x, db = Σ g. All in fp32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return _multiply(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        flat, rows = gradients[0].reshape(-1, weight.shape[0]), x.reshape(-1, weight.shape[1])
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            _multiply(flat, weight.t(), None).view_as(x) if needs_x else None,
            kernels().weight_gradient(flat, rows) if needs_weight else None,
            flat.sum(dim=0) if ctx.has_bias and needs_bias else None,
        )


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """[..., K] · [N, K]ᵀ + [N] -> [..., N], differentiable."""
    return Product.apply(x, weight, bias)  # pyright: ignore[reportReturnType]


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")


def suits(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN is the faster one for this product: here, in fp32, and large enough."""
    plain = x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu"
    return library() == "onednn" and plain and x.numel() * weight.shape[0] >= SMALLEST


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """[..., K] · [N, K]ᵀ + [N] -> [..., N] without a gradient, by whichever library is faster here."""
    return _multiply(x, weight, bias) if suits(x, weight) else torch.nn.functional.linear(x, weight, bias)


def packed(weight: Tensor, rows: int) -> Tensor:
    """The weight in oneDNN's own order for products with about so many rows: worth it where it is used many times."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows)


def packs(layer: nn.Module | None) -> bool:
    """Whether an output layer is large enough, and plain: an adapter on the head is more than its weight."""
    if layer is None or not is_plain_linear(layer) or library() != "onednn":
        return False
    weight: Any = layer.weight
    return weight.dtype == torch.float32 and weight.device.type == "cpu" and weight.numel() >= WORTH_PACKING


class PackedHead(Head):
    """A large vocabulary's weights, kept in the order that few rows are multiplied in."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self.linear, self.packed = layer, None

    def forget(self) -> None:
        """Not every optimizer leaves a trace of an update (fused ones bump no version)."""
        self.packed = None

    def __call__(self, states_Bd: Tensor) -> Tensor:
        if self.packed is None:
            self.packed = packed(self.linear.weight, len(states_Bd))
        return _multiply(states_Bd, self.packed, self.linear.bias)


# An operator of its own: torch.jit.trace cannot record oneDNN's, and would fix the choice at the size it was shown.
_OPERATORS = torch.library.Library("tutelage", "FRAGMENT")
_OPERATORS.define("linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor")
_OPERATORS.impl("linear", multiply, "CPU")
