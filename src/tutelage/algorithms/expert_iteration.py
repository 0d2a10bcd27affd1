"""Expert iteration (RAFT, Dong et al. 2023; best-of-n distillation): learn by heart the best of one's own replies.

    sample n replies to every prompt → score → keep the best → supervised steps on what was kept → publish → repeat

    loss = −mean over the kept replies' actions of log π(a_t|s_t)                    (that of `sft`)

No KL is charged and there is no critic: what holds the policy is that it only ever learns from its own replies. With
one sample a prompt it is SFT on them. The reference serves to record how far it has gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from tutelage.algorithms.algorithm import Algorithm
from tutelage.algorithms.group_steps import GroupMethod, weigh
from tutelage.algorithms.minibatches import split_minibatches
from tutelage.algorithms.ppo import PHASES, averaged
from tutelage.algorithms.sft import negative_log_likelihood
from tutelage.runs.progress import ProgressSettings
from tutelage.runs.run import Run
from tutelage.trajectory import Learner, Sampler, Task


@dataclass(frozen=True)
class ExpertIterationConfig:
    """Settings of expert iteration.

    trajectories: episodes a step, `samples` (n) of each prompt
    keep: the best reply to each prompt; or the best quarter of all replies of the step, whatever their prompts
    epochs, minibatches: passes over what was kept, optimizer steps a pass
    truncation_score: replaces the score of a reply that was cut off; None keeps it
    tokens_at_once: padded tokens of a micro-batch     parity_tolerance_nats: as for PPO
    """

    steps: int = 100
    trajectories: int = 64
    samples: int = 4
    keep: Literal["best", "quarter"] = "best"
    epochs: int = 1
    minibatches: int = 1
    learning_rate: float = 1e-5
    truncation_score: float | None = None
    max_grad_norm: float = 1.0
    tokens_at_once: int = 1024
    parity_tolerance_nats: float = 1e-3
    seed: int = 0

    def total_updates(self) -> int:
        """Optimizer steps of a whole run."""
        return self.steps * self.epochs * self.minibatches

    @property
    def beta(self) -> float:
        """What a nat of KL costs: nothing."""
        return 0.0


def expert_iteration(
    config: ExpertIterationConfig, task: Task, models: Any, sampler: Sampler | None, learner: Learner, run: Run
) -> int:
    """Trains `models.policy` in place; returns config.steps."""
    assert sampler is not None
    shows, told = ("score", "kl_nats_per_sequence"), ProgressSettings(PHASES)
    loss, method = partial(negative_log_likelihood, models.policy), METHODS[config.keep]
    for step in run.steps(config.steps, shows, state={"learner": learner}, best="score", told=told):
        batch = sampler.sample(task.environment, task.keys(step))
        run.lap("sampling")
        score_BT = task.score(batch)
        run.lap("scoring")
        targets, stats = weigh(config, batch, score_BT, models, method)
        if task.learned is not None:
            task.learned(targets)
        is_kept_B = (targets.extras["advantages"] > 0).any(dim=1)
        kept, updates = targets.select(is_kept_B.nonzero()[:, 0]), list[dict[str, float]]()
        for epoch in range(config.epochs):
            for rows in split_minibatches(len(kept), config.minibatches, (config.seed, step, epoch)):
                updates.append(learner.update(kept.select(rows), loss))
        sampler.publish()
        run.lap("learning")
        kept_score = float((score_BT + batch.rewards_BT).sum(dim=1)[is_kept_B].mean())
        run.record(step, {**stats, **averaged(updates), "kept_score": kept_score})
    return config.steps


def keep_best(rewards_GS: Tensor) -> Tensor:
    """[G, S] 1 for the best of each group, the first of equals, 0 for the others."""
    return torch.zeros_like(rewards_GS).scatter(1, rewards_GS.argmax(dim=1, keepdim=True), 1.0)


def keep_quarter(rewards_GS: Tensor) -> Tensor:
    """[G, S] 1 for the best quarter of all, one at least, the first of equals; 0 for the others."""
    count = max(1, rewards_GS.numel() // 4)
    order = rewards_GS.flatten().argsort(descending=True, stable=True)[:count]
    return torch.zeros_like(rewards_GS).flatten().index_fill(0, order, 1.0).view_as(rewards_GS)


METHODS = {
    name: GroupMethod(choose, loss=lambda part: {}, loss_weights=lambda mask_BT: mask_BT, kl_in_reward=False)
    for name, choose in (("best", keep_best), ("quarter", keep_quarter))
}

EXPERT_ITERATION = Algorithm(
    "expert-iteration", expert_iteration, lambda config, task: config.total_updates(), reference=True
)
