"""Several scores as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tutelage.trajectory import Batch, Score


@dataclass(frozen=True)
class Ensemble:
    """Members combined by a function of formulas.uncertainty, [M, B, T] -> [B, T]; a Score wherever one is taken."""

    members: Sequence[Score]
    combine: Callable[[Tensor], Tensor]

    def __call__(self, batch: Batch) -> Tensor:
        return self.combine(torch.stack([member(batch) for member in self.members]))
