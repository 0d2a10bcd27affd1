"""Learning from comparisons of clips, ours beside imitation 1.0.1's PreferenceComparisons: return and wall-clock.

    python benchmarks/preferences.py [--envs Pendulum-v1 CartPole-v1] [--seeds 3] [--labels 700] [--steps 0]

The same tasks, lengths of episodes and clips, labels and steps, a synthetic teacher without faults, one thread, in
turn. Theirs runs in an environment of its own (benchmarks/.peers/imitation). Ours is the recipe with its store, clips
and checkpoints; its seconds include the evaluation, theirs do not.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial

import torch
from setting import python_of, run_script
from side_by_side import arguments, compare

from tutelage.recipes.christiano import christiano
from tutelage.recipes.christiano_settings import ChristianoConfig, ClipQuestions
from tutelage.recipes.control_tasks import task_of, with_steps
from tutelage.runs.run import Run


def ours(given: argparse.Namespace, env: str, seed: int) -> dict[str, float]:
    asking = ClipQuestions(labels=given.labels)
    config = ChristianoConfig(env, seed, given.steps, False, given.episodes, asking=asking)
    worked = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        found = christiano(config, Run.create(f"{folder}/run", config))
    processor, seconds = time.process_time() - worked, found["seconds_by_stage"]["preferences"]
    told = {"return": found["true_return_preferences"], "seconds": seconds, "processor_seconds": processor}
    return {**told, "steps": found["environment_steps"]}


def imitation(given: argparse.Namespace, env: str, seed: int) -> dict[str, float]:
    task = task_of(env)
    asked = {"env": env, "steps": task.steps_of(with_steps(task, given.steps)), "labels": given.labels, "seed": seed}
    asked |= {"episodes": given.episodes, "fragment": task.clip_steps, "horizon": task.horizon}
    return run_script(python_of("imitation"), "imitation_preferences.py", asked)


def main() -> None:
    torch.set_num_threads(1)
    parser = arguments(["Pendulum-v1", "CartPole-v1"], 3)
    parser.add_argument("--labels", type=int, default=700)
    parser.add_argument("--steps", type=int, default=0, help="0: as many as our task takes")
    given = parser.parse_args()
    compare("preferences", given, {"ours": partial(ours, given), "imitation": partial(imitation, given)})


if __name__ == "__main__":
    main()
