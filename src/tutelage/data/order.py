"""In which order rows are seen: a fresh shuffle each epoch, fixed by the seed."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def minibatch(rows: int, size: int, seed: int, step: int) -> Tensor:
    """[size] row indices of optimiser step `step`: every row once an epoch; an epoch's short rest opens the next one.

    A function of its arguments alone, so a resumed run sees what an undisturbed one would have seen.
    """
    first = step * size
    places = np.arange(first, first + size)
    return torch.from_numpy(np.array([_epoch(rows, seed, int(place // rows))[place % rows] for place in places]))


@lru_cache(maxsize=8)
def _epoch(rows: int, seed: int, epoch: int) -> np.ndarray:
    """The epoch's shuffle: the one that a generator of this seed draws after those of the epochs before."""
    rng = np.random.default_rng([seed, 0x0DE5])
    for _ in range(epoch):
        rng.permutation(rows)
    return rng.permutation(rows)


def split_minibatches(rows: int, parts: int, seed: tuple[int, ...]) -> list[Tensor]:
    """A permutation of the rows in `parts` nearly equal pieces."""
    order = torch.from_numpy(np.random.default_rng([*seed, 0x5011]).permutation(rows))
    return [part for part in order.tensor_split(parts) if len(part)]
