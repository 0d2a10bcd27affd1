"""The kernel set for CPUs. Only the recorded step does anything on other devices and processors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from tutelage.execution.cpu import products
from tutelage.execution.cpu.recorded_step import RecordedStep
from tutelage.models.kernels import Advance, DecodingStep, Head, Kernels


class CpuKernels(Kernels):
    """oneDNN where torch's own products leave half of the machine unused, and decoding steps without Python."""

    def __init__(self) -> None:
        self.products = products.library()

    def accelerate(self, model: Any) -> Any:
        return products.replace_linear_layers(model)

    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return products.multiply(x, weight, bias)

    def head(self, layer: nn.Module | None) -> Head:
        return products.PackedHead(layer) if products.packs(layer) else Head(layer)

    def decoding_step(self, model: Any, advance: Advance, warn: Callable[[str], None]) -> DecodingStep:
        return RecordedStep(model, advance, warn)
