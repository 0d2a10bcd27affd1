"""Synchronous advantage actor-critic, as GopherCite trained with it (Menick et al. 2022, §2.7):

    loss = alpha · KL(π ‖ π_start) + (1 − alpha) · [ −A_t log π(a_t|s_t) + value_weight · (V(s_t) − R_t)² / 2 ]
    R_t = Σ_{k ≥ t} (score_k + environment's reward_k),    A_t = R_t − V_old(s_t)

The KL is that of the next-token distributions, over the whole vocabulary, and stands in the loss: none is taken from
the reward. Each batch makes one update. The first layers are frozen. Against the paper: AdamW in the place of
Adafactor, and the value is one linear layer on the trunk, or a model of its own, in the place of two layers of 2,048.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tutelage.algorithms.algorithm import Algorithm
from tutelage.algorithms.ppo import PHASES, aimed
from tutelage.formulas import masked, surrogate
from tutelage.formulas.divergence import divergence
from tutelage.models.freezing import freeze_first_layers
from tutelage.runs.progress import ProgressSettings
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, Learner, Sampler, Sums, Task


@dataclass(frozen=True)
class A2CConfig:
    """Settings of A2C.

    trajectories: episodes a step, all of one update
    alpha: share of the KL in the loss, 0 to 1; at 1 nothing is learned from the score and the policy stays where it is
    frozen_layers: share of the layers, from the first on, that do not learn
    normalize_advantages: give them mean 0 and deviation 1 over the batch, as PPO does
    value_weight: of the value loss, where value and policy share a trunk
    truncation_score: replaces the score of an episode that was cut off; None keeps it
    tokens_at_once, parity_tolerance_nats: as for PPO
    """

    steps: int = 100
    trajectories: int = 64
    learning_rate: float = 1e-4
    value_learning_rate: float = 3e-4
    alpha: float = 0.1
    frozen_layers: float = 0.6
    gamma: float = 1.0
    gae_lambda: float = 1.0
    normalize_advantages: bool = False
    value_weight: float = 0.5
    truncation_score: float | None = None
    max_grad_norm: float = 1.0
    tokens_at_once: int = 1024
    parity_tolerance_nats: float = 1e-3
    seed: int = 0


def a2c(config: Any, task: Task, models: Any, sampler: Sampler | None, learner: Learner, run: Run) -> int:
    """Trains `models.critic` in place; returns config.steps. config: an `A2CConfig`"""
    assert sampler is not None
    shows, told = ("score", "kl_nats_per_sequence"), ProgressSettings(PHASES)
    for step in run.steps(config.steps, shows, state={"learner": learner}, best="score", told=told):
        batch = sampler.sample(task.environment, task.keys(step))
        run.lap("sampling")
        score_BT = task.score(batch)
        run.lap("scoring")
        targets, stats = aimed(config, batch, score_BT, 0.0, models.critic, models.reference)
        if task.learned is not None:
            task.learned(targets)
        stats |= learner.update(targets, partial(a2c_loss, config, models))
        sampler.publish()
        run.lap("learning")
        run.record(step, {**stats, "kl_coefficient": config.alpha / max(1.0 - config.alpha, 1e-3)})
    return config.steps


def a2c_loss(config: A2CConfig, models: Any, targets: Batch) -> Sums:
    """See above, summed over real actions."""
    new, mask_BT, extras = models.critic(targets), targets.mask_BT, targets.extras
    advantages_BT = extras["returns"] - extras["old_values"][:, :-1]
    if config.normalize_advantages:
        advantages_BT = extras["advantages"]
    policy_loss = masked.total(surrogate.policy_gradient(new.log_probs_BT, advantages_BT), mask_BT)
    value_loss = 0.5 * masked.total((new.values_BS[:, :-1] - extras["returns"]) ** 2, mask_BT)
    kl_loss = config.alpha * of_next_tokens(models, targets).sum()
    return {
        "loss": kl_loss + (1.0 - config.alpha) * (policy_loss + config.value_weight * value_loss),
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "kl_loss": kl_loss,
    }


def of_next_tokens(models: Any, targets: Batch) -> Tensor:
    """[N] KL(π ‖ π_start) of the next token in every state that the policy acted in, with its gradient."""
    policy, reference = models.policy, models.reference
    logits_NV = policy.action_logits(policy.states(targets), targets) / policy.temperature
    with torch.no_grad(), reference.base():
        start_NV = reference.policy.action_logits(reference.policy.states(targets), targets) / policy.temperature
    return divergence(logits_NV, start_NV)


def freeze(config: A2CConfig, models: Any) -> None:
    """`Algorithm.fit`: the first layers do not learn."""
    freeze_first_layers(models.policy.model, config.frozen_layers)


A2C = Algorithm("a2c", a2c, lambda config, task: config.steps, critic=True, reference=True, fit=freeze)
