"""`tutelage a2c`: advantage actor-critic with the KL in the loss and the first layers frozen, as GopherCite trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from tutelage.algorithms.a2c import A2C, A2CConfig
from tutelage.commands.acting import FLAT, ActingJob, prepare_acting, train_acting
from tutelage.runs.run import Run
from tutelage.training.models import critic_of


@dataclass(frozen=True)
class A2CJob(ActingJob):
    """Optimize a policy against a reward by A2C: one update a batch, the KL in the loss, the first layers frozen."""

    value_model: bool = False
    """A value model of its own, which starts as the reward model, instead of a value head on the policy."""
    settings: Annotated[A2CConfig, FLAT] = field(
        default_factory=lambda: A2CConfig(learning_rate=1e-5, value_learning_rate=1e-4)
    )


def a2c_job(job: A2CJob, run: Run) -> dict[str, Any]:
    acting = prepare_acting(job, run)
    critic = critic_of(acting.speaker.policy, acting.classifier if job.value_model else None)
    return train_acting(A2C, job.settings, acting, run, critic)
