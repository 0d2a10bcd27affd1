"""Do two computations of the same log-probs agree, up to the rounding of the precision that they were made in?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

HIGH_QUANTILE = 0.99
MEAN_ROUNDINGS = 8.0  # of torch.finfo(dtype).eps: bf16 gave 2 (5 layers) to 4 (30 layers), in the mean over actions
HIGH_ROUNDINGS = 32.0  # bf16 gave 11 to 14 at the quantile; the largest of thousands (0.6 nats) says nothing


@dataclass(frozen=True)
class ParityGap:
    """|log π − log π'| over the actions that count, in nats; infinite where one of them is not a number."""

    mean: float
    high: float
    largest: float

    def within(self, tolerance_nats: float, rounding: float = 0.0) -> bool:
        """Whether the two are one policy.

        tolerance_nats: of the largest gap, in fp32
        rounding: torch.finfo(dtype).eps of a lower precision. The mean and the quantile are judged then: a few actions
            in thousands lie far apart by rounding alone
        """
        if rounding:
            return self.mean <= MEAN_ROUNDINGS * rounding and self.high <= HIGH_ROUNDINGS * rounding
        return self.largest <= tolerance_nats


def parity_gap(log_probs_BT: Tensor, other_BT: Tensor, mask_BT: Tensor) -> ParityGap:
    """The gap between [B, T] log-probs of the same actions; 0 where no action counts."""
    gaps_N = (log_probs_BT - other_BT)[mask_BT].abs().float()
    if not len(gaps_N):
        return ParityGap(0.0, 0.0, 0.0)
    if not bool(torch.isfinite(gaps_N).all()):
        return ParityGap(math.inf, math.inf, math.inf)
    place = max(1, math.ceil(HIGH_QUANTILE * len(gaps_N)))
    return ParityGap(float(gaps_N.mean()), float(gaps_N.kthvalue(place).values), float(gaps_N.max()))
