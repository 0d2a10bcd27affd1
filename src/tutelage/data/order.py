"""In which order rows are seen: a fresh shuffle each epoch, fixed by the seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


def shuffled_minibatches(rows: int, size: int, seed: int) -> Iterator[Tensor]:
    """[size] row indices without end: every row once an epoch; an epoch's short rest opens the next minibatch."""
    rng = np.random.default_rng([seed, 0x0DE5])
    waiting = np.empty(0, dtype=np.int64)
    while True:
        while len(waiting) < size:
            waiting = np.concatenate([waiting, rng.permutation(rows)])
        yield torch.from_numpy(waiting[:size].copy())
        waiting = waiting[size:]


def split_minibatches(rows: int, parts: int, seed: tuple[int, ...]) -> list[Tensor]:
    """A permutation of the rows in `parts` nearly equal pieces."""
    order = torch.from_numpy(np.random.default_rng([*seed, 0x5011]).permutation(rows))
    return [part for part in order.tensor_split(parts) if len(part)]
