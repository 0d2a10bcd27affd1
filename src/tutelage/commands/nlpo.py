"""`tutelage nlpo`: PPO whose replies are drawn under a mask of likely tokens, renewed as the policy learns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from tutelage.algorithms.nlpo import NLPO, NLPOConfig
from tutelage.commands.acting import FLAT, prepare_acting, train_acting
from tutelage.commands.ppo import PPOJob
from tutelage.data.errors import InputError
from tutelage.runs.run import Run
from tutelage.training.models import critic_of


@dataclass(frozen=True)
class NLPOJob(PPOJob):
    """Optimize a policy against a reward by PPO, choosing among tokens that an earlier policy finds likely (NLPO)."""

    settings: Annotated[NLPOConfig, FLAT] = field(
        default_factory=lambda: NLPOConfig(learning_rate=1e-5, value_learning_rate=1e-4)
    )


def nlpo_job(job: NLPOJob, run: Run) -> dict[str, Any]:
    if job.sampler != "native":
        raise InputError(f"--sampler {job.sampler} does not draw under a mask of tokens: nlpo needs --sampler native.")
    acting = prepare_acting(job, run, job.held_out_reward)
    critic = critic_of(acting.speaker.policy, None if job.value_head else acting.classifier)
    return train_acting(NLPO, job.settings, acting, run, critic)
