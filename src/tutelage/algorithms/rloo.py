"""REINFORCE leave-one-out (Ahmadian et al. 2024, "Back to Basics", eq. 8; Kool et al. 2019): a reply is one action.

    R_i = score_i − beta · Σ_t (log π_old − log π_reference)        A_i = R_i − 1/(S−1) Σ_{j≠i} R_j
    loss = −mean_i min(A_i ρ_i, A_i clip(ρ_i, 1 ± epsilon)),  ρ_i = π(y_i|x) / π_old(y_i|x)

With one update a step ρ is 1 and the gradient that of −A_i log π(y_i|x), REINFORCE with an unbiased baseline. The ratio
is the whole reply's, so with further updates most of it lies outside of the clip range after small steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tutelage.algorithms.algorithm import Algorithm
from tutelage.algorithms.group_steps import GroupConfig, GroupMethod, learn_in_groups
from tutelage.formulas import groups, masked, surrogate
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, Learner, LogProbs, Sampler, Sums, Task


@dataclass(frozen=True)
class RLOOConfig(GroupConfig):
    """Settings of RLOO: those of `GroupConfig`, and

    epsilon_high: the upper clip range where it differs; None is epsilon
    normalize_advantages: divide them by their deviation over the batch, after taking their mean off
    """

    epsilon_high: float | None = None
    normalize_advantages: bool = False


def rloo(config: RLOOConfig, task: Task, models: Any, sampler: Sampler | None, learner: Learner, run: Run) -> int:
    """Trains `models.policy` in place; returns config.steps."""
    assert sampler is not None
    method = GroupMethod(
        advantages=partial(rloo_advantages, config.normalize_advantages),
        loss=partial(rloo_loss, config, models.policy),
        loss_weights=per_reply,
    )
    return learn_in_groups(config, task, models, sampler, learner, run, method)


def rloo_advantages(normalize: bool, rewards_GS: Tensor) -> Tensor:
    """[G, S], see above."""
    advantages_GS = groups.leave_one_out(rewards_GS)
    if not normalize or bool((advantages_GS == 0).all()):
        return advantages_GS
    return (advantages_GS - advantages_GS.mean()) / (advantages_GS.std() + groups.EPSILON)


def per_reply(mask_BT: Tensor) -> Tensor:
    """[B, T] 1/B at the first action of every reply: its one term."""
    first_BT = mask_BT & (mask_BT.cumsum(dim=1) == 1)
    return first_BT.float() / len(mask_BT)


def rloo_loss(config: RLOOConfig, log_probs: LogProbs, targets: Batch) -> Sums:
    """The clipped surrogate of whole replies; see above."""
    mask_BT, extras = targets.mask_BT, targets.extras
    moved_BT = masked.kept(log_probs(targets) - extras["old_log_probs"], mask_BT)
    advantages_B = extras["advantages"].gather(1, targets.last_action_B[:, None])[:, 0]
    clip = (torch.zeros(()), advantages_B, config.epsilon, config.epsilon_high)
    terms_B = surrogate.clipped(moved_BT.sum(dim=1), *clip)
    policy_loss = (terms_B * extras["loss_weights"].sum(dim=1)).sum()
    with torch.no_grad():
        clipped_B = surrogate.clipped_indicator(moved_BT.sum(dim=1), *clip)
        clipped = (clipped_B * mask_BT.sum(dim=1)).sum()
        moved = masked.total(surrogate.approximate_kl(moved_BT, torch.zeros(())), mask_BT)
    return {"loss": policy_loss, "policy_loss": policy_loss, "clip_fraction": clipped, "approximate_kl_nats": moved}


RLOO = Algorithm("rloo", rloo, lambda config, task: config.total_updates(), reference=True, groups=True)
