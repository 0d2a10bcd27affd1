"""Best of n: sample n replies, keep the one the score likes best. The optimiser that needs no training.

Its KL to the policy it samples from is at most log n − (n − 1)/n nats, exactly so for a score without ties
(Nakano et al. 2021; Gao et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tutelage.trajectory import Batch, Environment, Sampler, Score, group_keys


def best_of_n(
    sampler: Sampler, environment: Environment, score: Score, prompts: Sequence[int], n: int, step: int = 0
) -> tuple[Batch, Tensor]:
    """One batch of len(prompts) · n episodes, the n of a prompt side by side, and their scores [len(prompts), n]."""
    batch = sampler.sample(environment, group_keys(step, prompts, n))
    return batch, score(batch).sum(dim=1).view(len(prompts), n)


def chosen(batch: Batch, scores_PN: Tensor, n: int) -> Batch:
    """The best of the first n samples of every prompt; the first of equals."""
    prompts, samples = scores_PN.shape
    return batch.select(torch.arange(prompts) * samples + scores_PN[:, :n].argmax(dim=1))
