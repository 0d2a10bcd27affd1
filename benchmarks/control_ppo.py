"""Our PPO beside stable-baselines3's on control: returns, and steps a second, one thread each, in turn.

    python benchmarks/control_ppo.py [--envs CartPole-v1 Pendulum-v1] [--seeds 5] [--steps 100000] [--episodes 50]

Theirs has the settings of its zoo, in an environment of its own (benchmarks/.peers/sb3); ours those of our tasks. Both
get the same environments with their own terminations and as many steps. Intervals over seeds (Student's t).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys

from setting import finish, python_of, run_script

from tutelage.formulas import intervals


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--envs", nargs="+", default=["CartPole-v1", "Pendulum-v1"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--episodes", type=int, default=50)
    given = parser.parse_args()
    rows, answer = [], {}
    for env in given.envs:
        found: dict[str, list[dict[str, float]]] = {"ours": [], "sb3": []}
        for seed in range(given.seeds):
            asked = {"env": env, "steps": given.steps, "seed": seed, "episodes": given.episodes}
            found["ours"].append(run_script(sys.executable, "our_control_ppo.py", asked))
            found["sb3"].append(run_script(python_of("sb3"), "sb3_ppo.py", asked))
            print(
                json.dumps({"env": env, "seed": seed, **{who: each[-1] for who, each in found.items()}}),
                file=sys.stderr,
            )
        for who, each in found.items():
            mean, low, high = intervals.t_interval([run["return"] for run in each])
            speed = statistics.median(run["steps_per_second"] for run in each)
            rows.append([env, who, mean, low, high, speed])
            answer[f"{env} {who}"] = {"return": mean, "low": low, "high": high, "steps_per_second": speed}
    finish(rows, ["environment", "who", "return", "low", "high", "steps a second"], answer)


if __name__ == "__main__":
    main()
