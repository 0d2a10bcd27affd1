"""What recording for the doctor and looking while a run goes on cost: CPU seconds a step, and their share of a step.

    python benchmarks/doctor_cost.py [--steps 400] [--step-seconds 1.2]

Records are those of PPO with two samples a step; what is measured is the time in Run.record, with the doctor off and
with it looking, and what the ten extra numbers of a batch take (64 episodes of 26 actions). CPU time, so
that a busy machine changes little. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.sick_runs import FLAT, healthy

from tutelage.algorithms.ppo import targets_described
from tutelage.data.tokens import written
from tutelage.doctor.watching import Watch
from tutelage.evaluation.diversity import alike
from tutelage.runs.run import Run
from tutelage.trajectory import Batch

REPLY = (
    "Dear Vera, I am very sorry about this. We will replace your kettle from order #F4S within five days. Thank you."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--step-seconds", type=float, default=1.2, help="CPU of a step of the demo's PPO")
    asked = parser.parse_args()
    off, on = recorded(asked.steps, "off"), recorded(asked.steps, "warn")
    extra = described()
    told = {
        "steps": asked.steps,
        "recording_seconds_a_step": off / asked.steps,
        "looking_seconds_a_step": (on - off) / asked.steps,
        "describing_seconds_a_step": extra,
        "share_of_a_step": (on / asked.steps + extra) / asked.step_seconds,
    }
    print(json.dumps({name: float(f"{value:.3g}") for name, value in told.items()}))


def recorded(steps: int, on_disease: str) -> float:
    """CPU seconds in `record` and `keep_samples`."""
    columns = healthy(steps, 0)
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", FLAT)
        run.watch = Watch(on_disease)
        began = time.process_time()
        for step in range(steps):
            run.keep_samples(step, [{"prompt": "p", "response": f"{REPLY} {step} {place}"} for place in range(2)])
            run.record(step, {name: values[step] for name, values in columns.items()})
        return time.process_time() - began


def described(times: int = 50) -> float:
    """What a batch is described by for the doctor: numbers of its targets, and how alike its replies are."""
    batch = Batch.of([written(range(1, 60), range(1, 27)) for _ in range(64)])
    numbers_BT = torch.randn(batch.mask_BT.shape, generator=torch.Generator().manual_seed(0))
    replies = [f"{REPLY} {place}" for place in np.arange(64)]
    began = time.process_time()
    for _ in range(times):
        targets_described(batch, numbers_BT * batch.mask_BT, numbers_BT, numbers_BT)
        alike(replies)
    return (time.process_time() - began) / times


if __name__ == "__main__":
    main()
