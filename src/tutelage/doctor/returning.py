"""Back to the best checkpoint: which one that is, and how a stage comes to end there."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from tutelage.doctor.chart import Stage, read_stage
from tutelage.doctor.series import WINDOW
from tutelage.doctor.watching import Diseased
from tutelage.doctor.witness import FEWEST, judged
from tutelage.runs.went_back import go_back


def returned(error: Diseased) -> bool:
    """Puts the stage that is ill back to its best checkpoint, where it ends when it is resumed. False where none is
    left from before the disease: then there is nothing to go back to."""
    run, finding = error.run, error.finding
    if finding is None:
        return False
    step, why = best_before(read_stage(run.path), finding.step, run.checkpoints.steps())
    if step is None:
        print(f"doctor: {finding.disease}, and no checkpoint from before it: {why}", file=sys.stderr)
        return False
    told = {"disease": finding.disease, "onset": finding.step, "from_step": run.step, "why": why}
    go_back(run.path, step, told)
    print(
        f"doctor: {finding.disease}: {run.name} goes back from step {run.step} to step {step}, {why}.", file=sys.stderr
    )
    return True


def best_before(stage: Stage, onset: int | None, kept: Sequence[int]) -> tuple[int | None, str]:
    """(steps done at the checkpoint to go back to, why that one): None where there is none.

    Weights after k updates show in the record of step k, so those of the onset are ill already. Of the others the one
    that a judge likes best which nothing is optimised against; without such a judge the last one.
    """
    before = [step for step in kept if onset is None or step < onset]
    if not before:
        return None, f"checkpoints are of the steps {', '.join(map(str, kept)) or 'none'}, it began at step {onset}"
    for name, seen, _ in judged(stage):
        if len(seen) < FEWEST:
            continue
        scores = {step: seen.values[(seen.steps <= step) & (seen.steps > step - WINDOW)] for step in before}
        rated = {step: float(np.mean(each)) for step, each in scores.items() if len(each)}
        if rated:
            return max(rated, key=lambda step: rated[step]), f"where {name} is highest of the checkpoints before it"
    return max(before), "the last checkpoint before it; no judge looked on who could say more"
