"""REINFORCE with a group baseline (Williams 1992; Ahmadian et al. 2024), as anybody may add an algorithm: no critic,
four replies to every prompt, each compared with the mean of its group."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from tutelage.algorithms.algorithm import Algorithm
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, Learner, LogProbs, Sampler, Sums, Task


@dataclass(frozen=True)
class ReinforceConfig:
    """trajectories: episodes a step, `samples` of each prompt."""

    steps: int = 20
    trajectories: int = 64
    samples: int = 4
    learning_rate: float = 1e-3
    max_grad_norm: float = 1.0
    tokens_at_once: int = 4096
    seed: int = 0


def reinforce(config: ReinforceConfig, task: Task, models: Any, sampler: Sampler, learner: Learner, run: Run) -> int:
    for step in run.steps(config.steps, ("score",), state={"learner": learner}):
        batch = sampler.sample(task.environment, task.keys(step))
        score_B = task.score(batch).sum(dim=1)
        targets = batch.with_extras(advantages=group_advantages(score_B, config.samples, batch.mask_BT))
        stats = learner.update(targets, partial(loss, models.policy))
        sampler.publish()
        run.record(step, {"score": float(score_B.mean()), **stats})
    return config.steps


def group_advantages(score_B: Tensor, samples: int, mask_BT: Tensor) -> Tensor:
    """[B, T] score less the mean score of the replies to the same prompt."""
    score_GS = score_B.view(-1, samples)
    return (score_GS - score_GS.mean(dim=1, keepdim=True)).view(-1, 1) * mask_BT


def loss(log_probs: LogProbs, part: Batch) -> Sums:
    return {"loss": -(log_probs(part) * part.extras["advantages"]).masked_fill(~part.mask_BT, 0.0).sum()}


REINFORCE = Algorithm("reinforce", reinforce, lambda config, task: config.steps, groups=True)
