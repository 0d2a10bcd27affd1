"""`tutelage expert-iteration`: a policy learns the best of its own replies by heart, again and again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from tutelage.algorithms.expert_iteration import EXPERT_ITERATION, ExpertIterationConfig
from tutelage.commands.acting import FLAT, ActingJob, prepare_acting, train_acting
from tutelage.runs.run import Run


@dataclass(frozen=True)
class ExpertIterationJob(ActingJob):
    """Sample replies to each prompt, keep the best, fine-tune on them, repeat (RAFT, best-of-n distillation)."""

    settings: Annotated[ExpertIterationConfig, FLAT] = field(default_factory=ExpertIterationConfig)


def expert_iteration_job(job: ExpertIterationJob, run: Run) -> dict[str, Any]:
    return train_acting(EXPERT_ITERATION, job.settings, prepare_acting(job, run), run)
