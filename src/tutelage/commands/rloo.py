"""`tutelage rloo`: a policy optimized against a reward by RLOO, without a value model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from tutelage.algorithms.rloo import RLOO, RLOOConfig
from tutelage.commands.acting import FLAT, ActingJob, prepare_acting, train_acting
from tutelage.runs.run import Run


@dataclass(frozen=True)
class RLOOJob(ActingJob):
    """Optimize a policy against a reward by REINFORCE with a leave-one-out baseline (RLOO): several replies to each
    prompt, and no value model."""

    settings: Annotated[RLOOConfig, FLAT] = field(default_factory=lambda: RLOOConfig(learning_rate=1e-5))


def rloo_job(job: RLOOJob, run: Run) -> dict[str, Any]:
    return train_acting(RLOO, job.settings, prepare_acting(job, run), run)
