"""Parity in full precision of a few rows, for policies that learn in a lower one.

bf16 rounds log-probs by as much as a small update moves them, so a sampler one update behind is lost in the rounding.
A few rows evaluated again in fp32 show it as sharply as training in fp32 does.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from tutelage.formulas.parity import parity_gap
from tutelage.models.trunk import Numerics
from tutelage.policies.language import LanguagePolicy
from tutelage.trajectory import Batch, Environment, Key, Sampler, SamplerMismatchError

ROWS = 4  # of a batch: a stale sampler is stale in all of them


def in_full_precision(policy: LanguagePolicy) -> LanguagePolicy:
    """The same parameters, evaluated in fp32."""
    exact = copy.copy(policy)
    exact.numerics = Numerics(recompute=policy.numerics.recompute)
    return exact


class ExactParitySampler:
    """A sampler whose log-probs are compared with the policy's in fp32, a few rows of every batch.

    sampler: one that computes in fp32 itself, as `NativeSampler` does
    Errors: SamplerMismatchError where one action differs by more than tolerance_nats.
    """

    samples_in_fp32 = True

    def __init__(self, sampler: Sampler, policy: LanguagePolicy, tolerance_nats: float) -> None:
        self.sampler, self.exact, self.tolerance_nats = sampler, in_full_precision(policy), tolerance_nats

    def sample(self, environment: Environment, keys: Sequence[Key]) -> Batch:
        batch = self.sampler.sample(environment, keys)
        rows = batch.select(range(min(ROWS, len(batch))))
        with torch.no_grad():
            gap = parity_gap(self.exact.log_probs(rows), rows.behaviour_log_probs_BT, rows.mask_BT)
        if not gap.within(self.tolerance_nats):
            raise SamplerMismatchError(
                f"in fp32 the policy's log-probs differ from the sampler's by up to {gap.largest:.4g} nats a token (at "
                f"most {self.tolerance_nats:g} expected): the sampler has other weights, another temperature or mask."
            )
        return batch

    def publish(self) -> None:
        self.sampler.publish()
