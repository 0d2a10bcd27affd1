"""What stands beside a run of a policy that acts, and is not optimised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tutelage.training.probe import PROMPTS
from tutelage.trajectory import Batch


@dataclass(frozen=True)
class Callbacks:
    """look: sees every scored batch, to judge it; what it returns are samples, one for each of the first episodes,
        which are kept with the numbers of their tokens
    demonstrations: texts that the policy once learned; how likely they still are is recorded every LOOKED_BACK steps
    probes: prompts whose replies are kept along the run (`Probe`); 0 where `look` itself keeps replies to fixed prompts
    """

    look: Callable[[int, Batch, Tensor], Sequence[Mapping[str, Any]] | None] | None = None
    demonstrations: Batch | None = None
    probes: int = PROMPTS
