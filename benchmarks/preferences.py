"""Learning from comparisons of clips, ours beside imitation 1.0.1's PreferenceComparisons: return and wall-clock.

    python benchmarks/preferences.py [--envs Pendulum-v1 CartPole-v1] [--seeds 3] [--labels 700]

The same tasks, labels, steps and clips, a synthetic teacher without faults, one thread, in turn. Theirs runs in an
environment of its own (benchmarks/.peers/imitation). Ours is the recipe, its store and files included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile

from setting import finish, python_of, run_script

from tutelage.formulas import intervals
from tutelage.recipes.christiano import christiano
from tutelage.recipes.christiano_settings import ChristianoConfig, ClipQuestions
from tutelage.recipes.control_tasks import task_of
from tutelage.runs.run import Run


def ours(env: str, seed: int, labels: int, episodes: int) -> dict[str, float]:
    config = ChristianoConfig(
        env, seed, baseline=False, evaluation_episodes=episodes, asking=ClipQuestions(labels=labels)
    )
    with tempfile.TemporaryDirectory() as folder:
        found = christiano(config, Run.create(f"{folder}/run", config))
    return {"return": found["true_return_preferences"], "seconds": found["seconds_by_stage"]["preferences"]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--envs", nargs="+", default=["Pendulum-v1", "CartPole-v1"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labels", type=int, default=700)
    parser.add_argument("--episodes", type=int, default=50)
    given = parser.parse_args()
    rows, answer = [], {}
    for env in given.envs:
        task = task_of(env)
        found: dict[str, list[dict[str, float]]] = {"ours": [], "imitation": []}
        for seed in range(given.seeds):
            found["ours"].append(ours(env, seed, given.labels, given.episodes))
            asked = {"env": env, "steps": task.steps_of(task.ppo), "labels": given.labels, "seed": seed}
            asked |= {"episodes": given.episodes, "fragment": task.clip_steps}
            found["imitation"].append(run_script(python_of("imitation"), "imitation_preferences.py", asked))
            print(
                json.dumps({"env": env, "seed": seed, **{who: each[-1] for who, each in found.items()}}),
                file=sys.stderr,
            )
        for who, each in found.items():
            mean, low, high = intervals.t_interval([run["return"] for run in each])
            seconds = statistics.median(run["seconds"] for run in each)
            rows.append([env, who, mean, low, high, seconds])
            answer[f"{env} {who}"] = {"return": mean, "low": low, "high": high, "seconds": seconds}
    finish(rows, ["task", "who", "true return", "low", "high", "seconds"], answer)


if __name__ == "__main__":
    main()
