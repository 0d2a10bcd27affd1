"""Natural language policy optimization (Ramamurthy et al. 2022, algorithm 1): PPO that chooses among likely tokens.

    V_p(s) = the fewest tokens that hold probability mask_top_p under the masking policy ψ in state s
    a ~ π(·|s) renormalized on V_p(s)                  ψ ← π every mask_every steps
    KL in the reward: log π(a|s) − log π_reference(a|s) without the mask      ratio: log-probs under the mask

The mask that a token was drawn under is kept with the batch and replayed in the update, so the ratio of the first
update is 1. With mask_top_p 1 nothing is masked and this is PPO to the bit. Against the paper: the likeliest
`min_tokens_to_keep` may always come, and so may the ends of a reply (in its code all special tokens, and 100 tokens at
least, so that a smaller vocabulary has no mask). In its code sampling keeps the first mask (here: mask_source initial).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from tutelage.algorithms.algorithm import Algorithm
from tutelage.algorithms.ppo import PPOConfig, ppo, refuse_peak_without_judge
from tutelage.data.errors import InputError
from tutelage.execution.masking import LaggedMask
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, Key, Learner, LogProbs, Sampler, Task


@dataclass(frozen=True)
class NLPOConfig(PPOConfig):
    """Settings of NLPO: those of PPO, and

    mask_top_p: probability that the tokens left to choose from hold under the masking policy; 1 masks nothing
    mask_every: steps after which the masking policy becomes the current one (RL4LMs: target_update_iterations)
    min_tokens_to_keep: of the likeliest tokens, which may always come; below the size of the vocabulary
    mask_source: lagged renews the masking policy; initial keeps it as it was at the start
    """

    mask_top_p: float = 0.9
    mask_every: int = 5
    min_tokens_to_keep: int = 5
    mask_source: Literal["lagged", "initial"] = "lagged"


def page(config: NLPOConfig, task: Task, models: Any, sampler: Sampler | None, learner: Learner, run: Run) -> int:
    """PPO's page, with the masking policy renewed as the steps go by."""
    assert sampler is not None
    mask: LaggedMask = models.policy.masking
    run.stateful["mask"] = mask

    def keys(step: int) -> list[Key]:
        if config.mask_source == "lagged" and step % config.mask_every == 0:
            mask.renew(models.policy)
        return list(task.keys(step))

    reference = UnmaskedKL(models.policy, models.reference)
    return ppo(config, replace(task, keys=keys), models.critic, reference, sampler, learner, run)


class UnmaskedKL:
    """`LogProbs` of a reference such that PPO's log π − log π_reference, the first under the mask, is that of both
    without it."""

    def __init__(self, policy: Any, reference: LogProbs) -> None:
        self.policy, self.reference = policy, reference

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        if "support" not in batch.extras:
            self.refuse_unmasked()
            return self.reference(batch)
        plain = replace(batch, extras={name: each for name, each in batch.extras.items() if name != "support"})
        states_BSd = self.policy.states(batch)
        renormalized_BT = self.policy.evaluate(states_BSd, batch)[0] - self.policy.evaluate(states_BSd, plain)[0]
        return self.reference(plain) + renormalized_BT

    def refuse_unmasked(self) -> None:
        if self.policy.masking.top_p < 1.0:
            raise InputError(
                "nlpo masks tokens as they are drawn, and this run's sampler kept no mask with its replies: use the "
                "native sampler (--sampler native), or mask_top_p 1."
            )


def attach_mask(config: NLPOConfig, models: Any) -> None:
    """`Algorithm.fit`: the policy's sampler draws under the mask from the first reply on."""
    if not 0.0 < config.mask_top_p <= 1.0 or config.mask_every < 1 or config.min_tokens_to_keep < 1:
        raise InputError(
            f"nlpo: mask_top_p {config.mask_top_p}, mask_every {config.mask_every}, min_tokens_to_keep "
            f"{config.min_tokens_to_keep}: expected a probability above 0 up to 1, and 1 or more of each."
        )
    vocabulary = models.policy.model.config.get_text_config().vocab_size
    if config.mask_top_p < 1.0 and vocabulary <= config.min_tokens_to_keep:
        raise InputError(
            f"nlpo keeps the {config.min_tokens_to_keep} likeliest tokens at least (min_tokens_to_keep), and this "
            f"vocabulary has {vocabulary}: nothing would ever be masked. Lower min_tokens_to_keep, or train with ppo."
        )
    stops = models.speaker.stop_tokens
    models.policy.masking = LaggedMask(models.policy, config.mask_top_p, config.min_tokens_to_keep, stops)


NLPO = Algorithm(
    "nlpo",
    page,
    lambda config, task: config.total_updates(),
    critic=True,
    reference=True,
    refuse=refuse_peak_without_judge,
    fit=attach_mask,
)
