"""Proximal policy optimisation (Schulman et al. 2017) with a KL penalty in the reward (Ziegler et al. 2019).

    r_t = environment's reward + score_t − kl_coefficient · (log π_old(a_t|s_t) − log π_reference(a_t|s_t))

Against the papers: advantages are whitened over the whole batch, not per minibatch; rewards are not whitened; the old
log-probs are recomputed by the learner, which also proves on every batch that sampler and learner are one policy.
Knows no environment, policy or reward: a language model and a cart-pole learn from this same page.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tutelage.algorithms.algorithm import Algorithm
from tutelage.algorithms.kl_controller import KLController
from tutelage.algorithms.minibatches import split_minibatches
from tutelage.algorithms.peak import Peak
from tutelage.data.errors import InputError
from tutelage.execution.ranks import agree_to_stop
from tutelage.formulas import advantage, kl, masked, surrogate
from tutelage.formulas.parity import ParityGap, parity_gap
from tutelage.runs.progress import ProgressSettings
from tutelage.runs.run import Run
from tutelage.trajectory import (
    ActorCritic,
    Batch,
    Evaluation,
    Learner,
    LogProbs,
    Sampler,
    SamplerMismatchError,
    Sums,
    Task,
    in_parts,
)

PHASES = ("sampling", "scoring", "learning")


@dataclass(frozen=True)
class PPOConfig:
    """Settings of PPO.

    trajectories: episodes a step          epochs, minibatches: passes over them, optimiser steps a pass
    kl_coefficient: reward per nat; with kl_target_nats it is the start of the adaptive controller
    kl_target_nats: KL a sequence that the controller aims at; None keeps the coefficient fixed
    kl_horizon: episodes; the controller's time constant
    value_weight: of the value loss, where value and policy share a trunk
    tokens_at_once: padded steps a micro-batch
    parity_tolerance_nats: how far sampler and learner may differ on one action, in fp32; in a lower precision the mean
        and the 99 % quantile over actions are judged by its rounding (formulas.parity)
    truncation_score: replaces the score of a cut-off episode, after which nothing follows; None keeps its own score,
        and V(s_T) follows it only where the reward is paid step by step (`Finish.TRUNCATED`)
    stop_at_peak: steps without a higher held-out score after which the run ends and takes the weights of the peak; 0
        runs on
    """

    steps: int = 100
    trajectories: int = 64
    epochs: int = 4
    minibatches: int = 1
    learning_rate: float = 1e-4
    value_learning_rate: float = 3e-4
    clip_range: float = 0.2
    value_clip_range: float = 0.2
    gamma: float = 1.0
    gae_lambda: float = 0.95
    kl_coefficient: float = 0.1
    kl_target_nats: float | None = None
    kl_horizon: float = 10000.0
    truncation_score: float | None = None
    value_weight: float = 0.5
    max_grad_norm: float = 1.0
    tokens_at_once: int = 1024
    parity_tolerance_nats: float = 1e-3
    stop_at_peak: int = 0
    seed: int = 0

    def total_updates(self) -> int:
        """Optimizer steps of a whole run."""
        return self.steps * self.epochs * self.minibatches


def ppo(
    config: PPOConfig,
    task: Task,
    actor_critic: ActorCritic,
    reference: LogProbs,
    sampler: Sampler,
    learner: Learner,
    run: Run,
) -> int:
    """Trains `actor_critic` in place; `sampler` draws from the same policy, `reference` is frozen.

    Returns after how many updates the weights are that it ends with: config.steps, or those of the held-out peak.
    """
    controller = KLController(config.kl_coefficient, config.kl_target_nats, config.kl_horizon)
    peak = Peak(learner, task.held_out, config.stop_at_peak) if config.stop_at_peak else None
    kept = {"learner": learner, "kl_controller": controller, **({"peak": peak} if peak else {})}
    shows, told = ("score", "kl_nats_per_sequence"), ProgressSettings(PHASES)
    for step in run.steps(config.steps, shows, state=kept, best="score", told=told):
        batch = sampler.sample(task.environment, task.keys(step))  # tau ~ pi
        run.lap("sampling")
        score_BT = task.score(batch)
        run.lap("scoring")
        if peak:
            run.note(held_out_score=peak.saw(step, batch))
            if agree_to_stop(peak.passed(step)):
                break
        targets, stats = aimed(config, batch, score_BT, controller.coefficient, actor_critic, reference)
        if task.learned is not None:
            task.learned(targets)
        stats |= updated(config, targets, actor_critic, learner)
        sampler.publish()
        run.lap("learning")
        run.record(step, stats)
        controller.saw(stats["kl_nats_per_sequence"], len(batch))
    if not peak:
        return config.steps
    peak.put_back()
    sampler.publish()
    return peak.step


def improve(
    config: PPOConfig,
    batch: Batch,
    score_BT: Tensor,
    coefficient: float,
    actor_critic: ActorCritic,
    reference: LogProbs,
    learner: Learner,
) -> dict[str, float]:
    """One PPO step on trajectories that were drawn and scored: rewards, advantages, epochs of updates."""
    targets, stats = aimed(config, batch, score_BT, coefficient, actor_critic, reference)
    return stats | updated(config, targets, actor_critic, learner)


def aimed(
    config: PPOConfig,
    batch: Batch,
    score_BT: Tensor,
    coefficient: float,
    actor_critic: ActorCritic,
    reference: LogProbs,
) -> tuple[Batch, dict[str, float]]:
    """The batch with what is learned from it, and what there is to say of it before any update.

    extras: advantages (whitened), returns, old_log_probs, old_values; rewards, log_ratios (of policy and reference)
    """
    score_BT, terminated_B = penalised(config, batch, score_BT)
    old, reference_BT = remembered(actor_critic, reference, batch, config.tokens_at_once)
    gap = refuse_mismatch(old, batch, config.parity_tolerance_nats)
    kl_BT = kl.k1(old.log_probs_BT, reference_BT).masked_fill(~batch.mask_BT, 0.0)
    rewards_BT = batch.rewards_BT + score_BT - coefficient * kl_BT
    terminated_B = terminated_B | ~batch.bootstrap_B  # a score of the whole text closes its episode
    advantages_BT, returns_BT = advantage.generalised(
        rewards_BT, old.values_BS, batch.mask_BT, batch.lengths_B, terminated_B, config.gamma, config.gae_lambda
    )
    targets = batch.with_extras(
        advantages=masked.centre_and_scale(advantages_BT, batch.mask_BT),
        returns=returns_BT,
        old_log_probs=old.log_probs_BT,
        old_values=old.values_BS,
        rewards=rewards_BT,
        log_ratios=kl_BT,
    )
    return targets, {
        **described(batch, score_BT, kl_BT),
        **targets_described(batch, score_BT, advantages_BT),
        "return_deviation": float(masked.variance(returns_BT, batch.mask_BT)) ** 0.5,
        "sampler_gap_nats": gap.largest,
        "sampler_gap_mean_nats": gap.mean,
        "entropy_nats": float(masked.mean(old.entropy_BT, batch.mask_BT)),
        "explained_variance": explained_variance(old.values_BS[:, :-1], returns_BT, batch.mask_BT),
        "kl_coefficient": coefficient,
    }


def updated(config: PPOConfig, targets: Batch, actor_critic: ActorCritic, learner: Learner) -> dict[str, float]:
    """Epochs of updates; means over them."""
    loss, step = partial(ppo_loss, config, actor_critic), targets.keys[0].step
    updates = []
    for epoch in range(config.epochs):
        for rows in split_minibatches(len(targets), config.minibatches, (config.seed, step, epoch)):
            updates.append(learner.update(targets.select(rows), loss))
    return averaged(updates)


def ppo_loss(config: PPOConfig, actor_critic: ActorCritic, targets: Batch) -> Sums:
    """Clipped surrogate plus value_weight × clipped value loss, summed over real actions.

    The weight matters only where policy and value share parameters: apart, each is clipped and scaled by Adam alone.
    """
    new = actor_critic(targets)
    mask, adv, old = targets.mask_BT, targets.extras["advantages"], targets.extras["old_log_probs"]
    values, old_values = new.values_BS[:, :-1], targets.extras["old_values"][:, :-1]
    policy_loss = masked.total(surrogate.clipped(new.log_probs_BT, old, adv, config.clip_range), mask)
    value = surrogate.clipped_value(values, old_values, targets.extras["returns"], config.value_clip_range)
    value_loss = masked.total(value, mask)
    with torch.no_grad():
        clipped = masked.total(surrogate.clipped_indicator(new.log_probs_BT, old, adv, config.clip_range), mask)
        moved = masked.total(surrogate.approximate_kl(new.log_probs_BT, old), mask)
        far = masked.total(((values - old_values).abs() > config.value_clip_range).float(), mask)
    return {
        "loss": policy_loss + config.value_weight * value_loss,
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "clip_fraction": clipped,
        "approximate_kl_nats": moved,
        "value_clipped_fraction": far,
    }


def penalised(config: PPOConfig, batch: Batch, score_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and terminations after the penalty for cut-off episodes, whose score is replaced, not added to."""
    if config.truncation_score is None:
        return score_BT, batch.terminated_B
    flat_BT = batch.at_last_action(torch.full((len(batch),), config.truncation_score, device=score_BT.device))
    return torch.where(batch.terminated_B[:, None], score_BT, flat_BT), torch.ones_like(batch.terminated_B)


@torch.no_grad()
def remembered(
    actor_critic: ActorCritic, reference: LogProbs, batch: Batch, steps_at_once: int
) -> tuple[Evaluation, Tensor]:
    """What the policy that acted and the reference say of the batch, before any update."""

    roundings = set[float]()

    def both(part: Batch) -> tuple[Tensor, ...]:
        old = actor_critic(part)
        roundings.add(old.rounding)
        return old.log_probs_BT, old.entropy_BT, old.values_BS, reference(part)

    log_probs_BT, entropy_BT, values_BS, reference_BT = in_parts(both, batch, steps_at_once)
    return Evaluation(log_probs_BT, entropy_BT, values_BS, max(roundings)), reference_BT


def refuse_mismatch(old: Evaluation, batch: Batch, tolerance_nats: float) -> ParityGap:
    """The gap between the learner's and the sampler's log-probs of the actions taken; too large, it raises."""
    gap = parity_gap(old.log_probs_BT, batch.behaviour_log_probs_BT, batch.mask_BT)
    if not gap.within(tolerance_nats, old.rounding):
        raise SamplerMismatchError(
            f"the learner's log-probs differ from the sampler's by {gap.mean:.3g} nats a token in the mean, "
            f"{gap.high:.3g} at the 99 % quantile, {gap.largest:.3g} at most (tolerance {tolerance_nats:g}): "
            "the sampler has other weights, another temperature or another mask."
        )
    return gap


def described(batch: Batch, score_BT: Tensor, kl_BT: Tensor) -> dict[str, float]:
    """What a person asks first of a batch; means over episodes unless the name says otherwise."""
    actions_B = batch.mask_BT.sum(dim=1).float()
    return {
        "score": float(score_BT.sum(dim=1).mean()),
        "score_deviation": float(score_BT.sum(dim=1).std(unbiased=False)),
        "environment_reward": float(batch.rewards_BT.sum(dim=1).mean()),
        "kl_nats_per_sequence": float(kl_BT.sum(dim=1).mean()),
        "kl_nats_per_action": float(kl_BT.sum() / batch.mask_BT.sum()),
        "actions": float(actions_B.mean()),
        "terminated_fraction": float(batch.terminated_B.float().mean()),
    }


def targets_described(batch: Batch, score_BT: Tensor, advantages_BT: Tensor) -> dict[str, float]:
    """What a doctor asks: the scales of what is learned from, and whether it points where the score does."""
    paid_B = (score_BT + batch.rewards_BT).sum(dim=1)
    _, counts = paid_B.round(decimals=6).unique(return_counts=True)
    pushed_B = advantages_BT.masked_fill(~batch.mask_BT, 0.0).sum(dim=1)
    return {
        "commonest_score_fraction": float(counts.max()) / len(batch),
        "length_score_correlation": correlation(batch.mask_BT.sum(dim=1), paid_B),
        "score_advantage_correlation": correlation(paid_B, pushed_B),
        "advantage_deviation": float(masked.variance(advantages_BT, batch.mask_BT)) ** 0.5,
    }


def correlation(first_B: Tensor, second_B: Tensor) -> float:
    """Pearson's, over episodes; 0 where one of the two is the same for all."""
    x_B, y_B = first_B.double() - first_B.double().mean(), second_B.double() - second_B.double().mean()
    scale = float(x_B.norm() * y_B.norm())
    return float(x_B @ y_B) / scale if scale > 1e-12 else 0.0


def explained_variance(values_BT: Tensor, returns_BT: Tensor, mask_BT: Tensor) -> float:
    """1 − Var(R − V) / Var(R) over real actions: 1 a perfect critic, 0 knows only the mean, below 0 harms."""
    spread = float(masked.variance(returns_BT, mask_BT))
    return 1.0 - float(masked.variance(returns_BT - values_BT, mask_BT)) / spread if spread > 0 else 0.0


def averaged(updates: list[dict[str, float]]) -> dict[str, float]:
    """Means over a step's updates, which all weigh the same."""
    return {name: sum(each[name] for each in updates) / len(updates) for name in updates[0]}


def page(config: PPOConfig, task: Task, models: Any, sampler: Sampler | None, learner: Learner, run: Run) -> int:
    """`ppo` as `training.train` calls it."""
    assert sampler is not None
    return ppo(config, task, models.critic, models.reference, sampler, learner, run)


def refuse_peak_without_judge(config: PPOConfig, task: Task) -> None:
    if config.stop_at_peak < 0:
        raise InputError(f"--stop-at-peak {config.stop_at_peak}: expected 0 (run on), or 1 step or more of patience.")
    if config.stop_at_peak and task.held_out is None:
        raise InputError(
            "--stop-at-peak needs a held-out reward: a second one, from labels that the first did not see."
        )


PPO = Algorithm(
    "ppo",
    page,
    lambda config, task: config.total_updates(),
    critic=True,
    reference=True,
    refuse=refuse_peak_without_judge,
)
