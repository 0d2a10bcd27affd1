"""What RLOO and GRPO share: the step. Several replies to every prompt are drawn and scored, each is compared with the
others of its group, and the policy learns from that. There is no critic.

    sample → score → old and reference log-probs → advantages of groups → updates → publish
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tutelage.algorithms.minibatches import split_minibatches
from tutelage.algorithms.ppo import (
    PHASES,
    averaged,
    correlation,
    described,
    penalised,
    refuse_mismatch,
    targets_described,
)
from tutelage.formulas import groups, kl, masked
from tutelage.runs.progress import ProgressSettings
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, Evaluation, Learner, Sampler, Sums, Task, in_parts


@dataclass(frozen=True)
class GroupConfig:
    """What the settings of RLOO and GRPO have in common.

    trajectories: episodes a step, `samples` (2 or more) of each prompt (TRL: num_generations)
    epochs, minibatches: passes over them (TRL: num_iterations), optimizer steps a pass
    beta: what a nat of KL to the reference costs
    epsilon: a ratio further from 1 than this has no gradient, where it would move further
    truncation_score: replaces the score of a reply that was cut off; None keeps it
    tokens_at_once: padded steps a micro-batch; changes memory and speed, no number
    parity_tolerance_nats: as for PPO
    """

    steps: int = 100
    trajectories: int = 64
    samples: int = 8
    epochs: int = 1
    minibatches: int = 1
    learning_rate: float = 1e-4
    beta: float = 0.05
    epsilon: float = 0.2
    truncation_score: float | None = None
    max_grad_norm: float = 1.0
    tokens_at_once: int = 1024
    parity_tolerance_nats: float = 1e-3
    seed: int = 0

    def total_updates(self) -> int:
        """Optimizer steps of a whole run."""
        return self.steps * self.epochs * self.minibatches


@dataclass(frozen=True)
class GroupMethod:
    """What sets an algorithm apart from another that learns in groups.

    advantages: [G, S] rewards -> [G, S]
    loss: of a micro-batch, sums over it; its extras hold advantages, old_log_probs, reference_log_probs, loss_weights
    loss_weights: mask [B, T] of a minibatch -> [B, T] w with Σ w · l = the loss
    kl_in_reward: whether beta · Σ_t KL_t is taken from a reply's reward (else the loss charges it)
    """

    advantages: Callable[[Tensor], Tensor]
    loss: Callable[[Batch], Sums]
    loss_weights: Callable[[Tensor], Tensor]
    kl_in_reward: bool = True


def learn_in_groups(
    config: Any, task: Task, models: Any, sampler: Sampler, learner: Learner, run: Run, method: GroupMethod
) -> int:
    """Trains `models.policy` in place. config: a `GroupConfig`"""
    shows, told = ("score", "kl_nats_per_sequence"), ProgressSettings(PHASES)
    for step in run.steps(config.steps, shows, state={"learner": learner}, best="score", told=told):
        batch = sampler.sample(task.environment, task.keys(step))
        run.lap("sampling")
        score_BT = task.score(batch)
        run.lap("scoring")
        targets, stats = weigh(config, batch, score_BT, models, method)
        if task.learned is not None:
            task.learned(targets)
        updates = []
        for epoch in range(config.epochs):
            for rows in split_minibatches(len(targets), config.minibatches, (config.seed, step, epoch)):
                part = targets.select(rows)
                weights_BT = part.weight * method.loss_weights(part.mask_BT)  # the learner divides by the weight
                updates.append(learner.update(part.with_extras(loss_weights=weights_BT), method.loss))
        sampler.publish()
        run.lap("learning")
        run.record(step, {**stats, **averaged(updates)})
    return config.steps


def weigh(
    config: Any, batch: Batch, score_BT: Tensor, models: Any, method: GroupMethod
) -> tuple[Batch, dict[str, float]]:
    """The batch with what is learned from it, and what there is to say of it before any update.

    extras: advantages (the same for every action of a reply), old_log_probs, reference_log_probs, log_ratios
    """
    score_BT, _ = penalised(config, batch, score_BT)
    old, reference_BT = remember(models, batch, config.tokens_at_once)
    gap = refuse_mismatch(old, batch, config.parity_tolerance_nats)
    kl_BT = kl.k1(old.log_probs_BT, reference_BT).masked_fill(~batch.mask_BT, 0.0)
    paid_B = (batch.rewards_BT + score_BT).sum(dim=1)
    reward_B = paid_B - config.beta * kl_BT.sum(dim=1) if method.kl_in_reward else paid_B
    advantages_B = method.advantages(reward_B.view(-1, config.samples)).flatten()
    targets = batch.with_extras(
        advantages=advantages_B[:, None] * batch.mask_BT,
        old_log_probs=old.log_probs_BT,
        reference_log_probs=reference_BT,
        log_ratios=kl_BT,
    )
    told = targets_described(batch, score_BT, targets.extras["advantages"])
    del told["score_advantage_correlation"]  # over episodes; scores are compared within groups here
    return targets, {
        **described(batch, score_BT, kl_BT),
        **told,
        **groups_described(paid_B.view(-1, config.samples), advantages_B),
        "sampler_gap_nats": gap.largest,
        "sampler_gap_mean_nats": gap.mean,
        "entropy_nats": float(masked.mean(old.entropy_BT, batch.mask_BT)),
        "kl_coefficient": config.beta,
    }


@torch.no_grad()
def remember(models: Any, batch: Batch, tokens_at_once: int) -> tuple[Evaluation, Tensor]:
    """What the policy that acted and the reference say of the batch, before any update. There are no values."""

    def both(part: Batch) -> tuple[Tensor, ...]:
        return *models.policy.evaluate(models.policy.states(part), part), models.reference(part)

    log_probs_BT, entropy_BT, reference_BT = in_parts(both, batch, tokens_at_once)
    values_BS = torch.zeros(len(batch), batch.mask_BT.shape[1] + 1, device=log_probs_BT.device)
    return Evaluation(log_probs_BT, entropy_BT, values_BS, models.policy.rounding), reference_BT


def groups_described(paid_GS: Tensor, advantages_B: Tensor) -> dict[str, float]:
    """How many groups say nothing, and the correlation with advantages of scores less the mean of their group; none
    where all groups say nothing."""
    equal_G = groups.equal(paid_GS)
    told = {"equal_groups_fraction": float(equal_G.float().mean())}
    if equal_G.all():
        return told
    within_B = (paid_GS - paid_GS.mean(dim=1, keepdim=True)).flatten()
    return {"score_advantage_correlation": correlation(within_B, advantages_B), **told}
