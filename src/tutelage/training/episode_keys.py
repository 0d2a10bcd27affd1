"""Which episodes a step draws: prompts × samples, epoch after epoch."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from tutelage.trajectory import Key


def prompt_keys(prompts: int, config: Any, step: int) -> list[Key]:
    """The episodes of a step: walk through the prompts in a shuffle of the seed's, epoch after epoch.

    config: its `trajectories` are the episodes of a step, its `samples` (1 where it has none) those of each prompt,
        which stand side by side; `seed` decides the order. `Key.sample` counts through the step.
    """
    samples = getattr(config, "samples", 1)
    drawn = config.trajectories // samples
    keys = []
    for place in range(drawn):
        epoch, index = divmod(step * drawn + place, prompts)
        prompt = int(shuffle(prompts, config.seed * 1000003 + epoch)[index])
        keys += [Key(step, prompt, place * samples + sample) for sample in range(samples)]
    return keys


@lru_cache(maxsize=2)
def shuffle(count: int, seed: int) -> Tensor:
    """[count] the numbers below `count` in an order that the seed decides; cached, since an epoch asks often."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))
