"""`tutelage grpo`: a policy optimized against a reward by GRPO, without a value model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from tutelage.algorithms.grpo import GRPO, GRPOConfig
from tutelage.commands.acting import FLAT, ActingJob, prepare_acting, train_acting
from tutelage.runs.run import Run


@dataclass(frozen=True)
class GRPOJob(ActingJob):
    """Optimize a policy against a reward by GRPO: several replies to each prompt, each compared with its group, and no
    value model."""

    settings: Annotated[GRPOConfig, FLAT] = field(default_factory=lambda: GRPOConfig(learning_rate=1e-5))


def grpo_job(job: GRPOJob, run: Run) -> dict[str, Any]:
    return train_acting(GRPO, job.settings, prepare_acting(job, run), run)
