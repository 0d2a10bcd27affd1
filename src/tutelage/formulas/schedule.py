"""Multipliers of a learning rate, by update; and how many labels are asked for, by step."""

from __future__ import annotations

import math


def linear(update: int, total: int) -> float:
    """1 at update 0, falling to 0 over `total` updates, constant within one (Ziegler et al. 2019)."""
    return max(0.0, 1.0 - update / total)


def cosine(update: int, total: int, floor: float = 0.0) -> float:
    """½(1 + cos) from 1 to `floor` (0: Stiennon et al. 2020; 0.1: Ouyang et al. 2022)."""
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, update / total)))


def warmed_up(update: int, warm_up: int, start_fraction: float) -> float:
    """Linear from start_fraction to 1 over `warm_up` updates (Ouyang et al. 2022: 10 from a tenth)."""
    return 1.0 if update >= warm_up else start_fraction + (1.0 - start_fraction) * update / warm_up


def hyperbolic(step: float, half: float) -> float:
    """half / (step + half): the rate of labels falls to one half at step `half` (Christiano et al. 2017: 2e6)."""
    return half / (step + half)


def labels_due(step: float, steps: float, labels: int, initial: int, half: float) -> int:
    """How many of `labels` are asked for by `step` of `steps`: `initial` before the first, all at the last.

    Between them the rate is `hyperbolic`, whose integral is half · ln(1 + step / half).
    """
    if not 0 <= initial <= labels:
        raise ValueError(f"the first {initial} of {labels} labels: expected 0 to {labels}")
    done = math.log1p(min(step, steps) / half) / math.log1p(steps / half)
    return initial + math.floor((labels - initial) * done + 1e-9)
