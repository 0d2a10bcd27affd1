"""Online direct preference optimization (Guo et al. 2024): DPO on pairs that the policy itself has just written.

    sample → judge → of every prompt's replies the best against the worst → the loss of `dpo` → publish

Who judges is the task's score: a reward model, a function, or people through the feedback store. The reference stays
the policy as it was at the start. A group whose replies are judged alike holds no pair: it is counted, and has no
gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from tutelage.algorithms.algorithm import Algorithm
from tutelage.algorithms.dpo import DPOConfig, dpo_loss, refuse_wrong_numbers
from tutelage.algorithms.group_steps import GroupMethod, weigh
from tutelage.algorithms.minibatches import split_minibatches
from tutelage.algorithms.ppo import PHASES, averaged
from tutelage.data.judgements import Judgements, judge_pairs
from tutelage.formulas.groups import equal
from tutelage.runs.progress import ProgressSettings
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, Learner, Sampler, Sums, Task


@dataclass(frozen=True)
class OnlineDPOConfig:
    """Settings of online DPO.

    trajectories: episodes a step, `samples` (2 or more) of each prompt, of which the best and the worst are a pair
    epochs, minibatches: passes over a step's pairs, optimizer steps a pass
    loss, beta, label_smoothing, per_token: as for DPO
    truncation_score: replaces the score of a reply that was cut off; None keeps it
    tokens_at_once: padded tokens of a micro-batch     parity_tolerance_nats: as for PPO
    """

    steps: int = 100
    trajectories: int = 64
    samples: int = 2
    epochs: int = 1
    minibatches: int = 1
    loss: Literal["sigmoid", "ipo"] = "sigmoid"
    beta: float = 0.1
    label_smoothing: float = 0.0
    per_token: bool = False
    learning_rate: float = 1e-5
    truncation_score: float | None = None
    max_grad_norm: float = 1.0
    tokens_at_once: int = 1024
    parity_tolerance_nats: float = 1e-3
    seed: int = 0

    def total_updates(self) -> int:
        """Optimizer steps of a whole run in which every step has a pair."""
        return self.steps * self.epochs * self.minibatches

    @property
    def pairwise(self) -> DPOConfig:
        """What the loss of DPO reads."""
        return DPOConfig(self.loss, self.beta, label_smoothing=self.label_smoothing, per_token=self.per_token)


def online_dpo(
    config: OnlineDPOConfig, task: Task, models: Any, sampler: Sampler | None, learner: Learner, run: Run
) -> int:
    """Trains `models.policy` in place; returns config.steps."""
    assert sampler is not None
    loss = partial(dpo_loss, config.pairwise, models.policy)
    shows, told = ("score", "kl_nats_per_sequence"), ProgressSettings(PHASES)
    for step in run.steps(config.steps, shows, state={"learner": learner}, best="score", told=told):
        batch = sampler.sample(task.environment, task.keys(step))
        run.lap("sampling")
        score_BT = task.score(batch)
        run.lap("scoring")
        targets, stats = weigh(config, batch, score_BT, models, METHOD)
        if task.learned is not None:
            task.learned(targets)
        updates = updated(config, pairs_of(targets), step, learner, loss)
        sampler.publish()
        run.lap("learning")
        run.record(step, {**stats, **updates})
    return config.steps


def updated(
    config: OnlineDPOConfig, pairs: Judgements | None, step: int, learner: Learner, loss: Callable[[Any], Sums]
) -> dict[str, float]:
    """Epochs of updates, means over them; nothing where there are no pairs."""
    updates = list[dict[str, float]]()
    if pairs is None:
        return {}
    for epoch in range(config.epochs):
        for rows in split_minibatches(len(pairs), config.minibatches, (config.seed, step, epoch)):
            updates.append(learner.update(pairs.select(rows), loss))
    return averaged(updates)


def best_against_worst(rewards_GS: Tensor) -> Tensor:
    """[G, S] 1 for the best of each group, −1 for the worst, the first of equals; 0 for the others, and for groups
    whose rewards are all equal."""
    signs_GS = torch.zeros_like(rewards_GS)
    signs_GS.scatter_(1, rewards_GS.argmin(dim=1, keepdim=True), -1.0)
    signs_GS.scatter_(1, rewards_GS.argmax(dim=1, keepdim=True), 1.0)
    return signs_GS.masked_fill(equal(rewards_GS)[:, None], 0.0)


def pairs_of(targets: Batch) -> Judgements | None:
    """The best and the worst reply of every group that has both, the best first; None where no group has."""
    sign_B = targets.extras["advantages"].sum(dim=1).sign()
    better, worse = (sign_B > 0).nonzero()[:, 0], (sign_B < 0).nonzero()[:, 0]
    return judge_pairs(targets.select(torch.stack([better, worse], dim=1).flatten())) if len(better) else None


METHOD = GroupMethod(best_against_worst, loss=lambda part: {}, loss_weights=lambda mask_BT: mask_BT, kl_in_reward=False)

ONLINE_DPO = Algorithm(
    "online-dpo",
    online_dpo,
    lambda config, task: config.total_updates(),
    reference=True,
    groups=True,
    refuse=lambda config, task: refuse_wrong_numbers(config.pairwise),
)
