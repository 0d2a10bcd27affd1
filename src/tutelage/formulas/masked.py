"""Sums, means and whitening over the entries that count. True in a mask counts.

Entries that do not count may hold anything, NaN included: they are replaced before any arithmetic (design §4.1), so
they can leak neither into a value nor into a gradient. Results are 0 where the mask is False.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-8  # inside the rsqrt (openai/lm-human-preferences, whiten)


def total(values: Tensor, mask: Tensor) -> Tensor:
    """Scalar sum of the entries that count."""
    return kept(values, mask).sum()


def mean(values: Tensor, mask: Tensor) -> Tensor:
    """Scalar mean of the entries that count; 0 where none does."""
    return total(values, mask) / mask.sum().clamp(min=1)


def variance(values: Tensor, mask: Tensor) -> Tensor:
    """Scalar population variance (divided by n, not n − 1) of the entries that count."""
    return total((kept(values, mask) - mean(values, mask)) ** 2, mask) / mask.sum().clamp(min=1)


def centre_and_scale(values: Tensor, mask: Tensor) -> Tensor:
    """Whitening: mean 0 and deviation 1 over the entries that count."""
    centred = kept(values, mask) - mean(values, mask)
    return kept(centred * torch.rsqrt(variance(values, mask) + EPSILON), mask)


def scale(values: Tensor, mask: Tensor) -> Tensor:
    """Deviation 1 with the mean left where it was (Ziegler et al. 2019, code: whiten(shift_mean=False))."""
    return kept(centre_and_scale(values, mask) + mean(values, mask), mask)


def kept(values: Tensor, mask: Tensor) -> Tensor:
    """The values where the mask is True, 0 elsewhere."""
    return torch.where(mask, values, torch.zeros((), dtype=values.dtype, device=values.device))
