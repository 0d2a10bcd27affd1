"""`tutelage ppo`: a policy optimized against a reward by PPO with a KL penalty."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from tutelage.algorithms.ppo import PPO, PPOConfig
from tutelage.commands.acting import FLAT, ActingJob, prepare_acting, train_acting
from tutelage.runs.run import Run
from tutelage.training.models import critic_of


@dataclass(frozen=True)
class PPOJob(ActingJob):
    """Optimise a policy against a reward by PPO with a KL penalty to where it started."""

    held_out_reward: str = ""
    """A second reward, from labels that the first did not see, for --stop-at-peak; nothing is optimised against it."""
    value_head: bool = False
    """A value head on the policy instead of a value model of its own (which starts as the reward model)."""
    settings: Annotated[PPOConfig, FLAT] = field(
        default_factory=lambda: PPOConfig(learning_rate=1e-5, value_learning_rate=1e-4)
    )


def ppo_job(job: PPOJob, run: Run) -> dict[str, Any]:
    acting = prepare_acting(job, run, job.held_out_reward)
    critic = critic_of(acting.speaker.policy, None if job.value_head else acting.classifier)
    return train_acting(PPO, job.settings, acting, run, critic)
