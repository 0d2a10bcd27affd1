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


def _epoch(rows: int, seed: int, epoch: int) -> np.ndarray:
    """The epoch's shuffle: the one that a generator of this seed draws after those of the epochs before."""
    shuffles = _shuffles(rows, seed)
    if epoch < shuffles.first:
        _shuffles.cache_clear()
        shuffles = _shuffles(rows, seed)
    return shuffles.at(epoch)


class _Shuffles:
    """Epoch after epoch of one generator; the last two are kept, since a minibatch may span both."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows, self.generator = rows, np.random.default_rng([seed, 0x0DE5])
        self.first, self.drawn = 0, [self.generator.permutation(rows)]

    def at(self, epoch: int) -> np.ndarray:
        while epoch >= self.first + len(self.drawn):
            self.drawn.append(self.generator.permutation(self.rows))
            if len(self.drawn) > 2:
                self.drawn.pop(0)
                self.first += 1
        return self.drawn[epoch - self.first]


_shuffles = lru_cache(maxsize=8)(_Shuffles)


def split_minibatches(rows: int, parts: int, seed: tuple[int, ...]) -> list[Tensor]:
    """A permutation of the rows in `parts` nearly equal pieces."""
    order = torch.from_numpy(np.random.default_rng([*seed, 0x5011]).permutation(rows))
    return [part for part in order.tensor_split(parts) if len(part)]
