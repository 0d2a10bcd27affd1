"""Group relative policy optimization (Shao et al. 2024, DeepSeekMath, eq. 3), and what others changed of it.

    A_i = (R_i − mean of the group) / (deviation of the group + 1e-4)         ρ_t = π(a_t|s_t) / π_old(a_t|s_t)
    l_t = −min(A_i ρ_t, A_i clip(ρ_t, 1 ± epsilon)) + beta · (e^d − d − 1),   d = log π_reference − log π
    loss = mean over replies of the mean over their tokens

Each variant is one setting that changes one term:

    scale_rewards none               A_i without the division (Liu et al. 2025, Dr. GRPO)
    loss_type dapo | dr_grpo         mean over all tokens; sum over tokens divided by a constant
    epsilon_high 0.28                a higher upper clip range (Yu et al. 2025, DAPO)
    kl_in reward                     beta · Σ_t KL_t is taken from R_i, as PPO and RLOO do, and not charged in the loss
    importance_sampling_level sequence   ρ = (π(y)/π_old(y))^(1/|y|) for all tokens of a reply (Zheng et al. 2025, GSPO)

The gradient of e^d − d − 1 alone is biased where π is not π_old; use_bias_correction_kl multiplies it by π/π_old, which
makes its expectation that of the KL (DeepSeek-AI 2025, V3.2), and is the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch

from tutelage.algorithms.algorithm import Algorithm
from tutelage.algorithms.group_steps import GroupConfig, GroupMethod, learn_in_groups
from tutelage.formulas import groups, importance, kl, masked, surrogate
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, Learner, LogProbs, Sampler, Sums, Task


@dataclass(frozen=True)
class GRPOConfig(GroupConfig):
    """Settings of GRPO: those of `GroupConfig`, and those above.

    max_completion_length: what loss_type dr_grpo divides by; None is the most tokens that the sampler gives a reply
    """

    beta: float = 0.04
    epsilon_high: float | None = None
    scale_rewards: Literal["group", "batch", "none"] = "group"
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "grpo"
    max_completion_length: int | None = None
    kl_in: Literal["loss", "reward"] = "loss"
    use_bias_correction_kl: bool = True
    importance_sampling_level: Literal["token", "sequence"] = "token"


def grpo(config: GRPOConfig, task: Task, models: Any, sampler: Sampler | None, learner: Learner, run: Run) -> int:
    """Trains `models.policy` in place; returns config.steps."""
    assert sampler is not None
    longest = config.max_completion_length or models.speaker.sampling.max_new_tokens
    method = GroupMethod(
        advantages=partial(groups.relative, scale=config.scale_rewards),
        loss=partial(grpo_loss, config, models.policy),
        loss_weights=partial(groups.token_weights, loss_type=config.loss_type, longest=longest),
        kl_in_reward=config.kl_in == "reward",
    )
    return learn_in_groups(config, task, models, sampler, learner, run, method)


def grpo_loss(config: GRPOConfig, log_probs: LogProbs, targets: Batch) -> Sums:
    """See above; `loss_weights` of the batch says what a token counts."""
    mask_BT, extras = targets.mask_BT, targets.extras
    log_probs_BT = masked.kept(log_probs(targets), mask_BT)
    moved_BT = log_probs_BT - masked.kept(extras["old_log_probs"], mask_BT)
    of_replies = config.importance_sampling_level == "sequence"
    log_ratio_BT = importance.sequence_mean(moved_BT, mask_BT) if of_replies else moved_BT
    clip = (torch.zeros(()), extras["advantages"], config.epsilon, config.epsilon_high)
    policy_loss = (surrogate.clipped(log_ratio_BT, *clip) * extras["loss_weights"]).sum()
    with torch.no_grad():
        clipped = masked.total(surrogate.clipped_indicator(log_ratio_BT, *clip), mask_BT)
        moved = masked.total(surrogate.approximate_kl(moved_BT, torch.zeros(())), mask_BT)
    sums = {"policy_loss": policy_loss, "clip_fraction": clipped, "approximate_kl_nats": moved}
    if config.kl_in == "reward" or config.beta == 0.0:
        return {"loss": policy_loss, **sums}
    kl_BT = kl.k3(log_probs_BT, masked.kept(extras["reference_log_probs"], mask_BT))
    if config.use_bias_correction_kl:
        kl_BT = moved_BT.exp() * kl_BT
    kl_loss = config.beta * (kl_BT * extras["loss_weights"]).sum()
    return {"loss": policy_loss + kl_loss, "kl_loss": kl_loss, **sums}


GRPO = Algorithm("grpo", grpo, lambda config, task: config.total_updates(), reference=True, groups=True)
