"""Our PPO beside stable-baselines3's on control: returns, and steps a second, one thread each, in turn.

    python benchmarks/control_ppo.py [--envs CartPole-v1 Pendulum-v1] [--seeds 5] [--steps 100000] [--episodes 50]

Theirs has the settings of its zoo, in an environment of its own (benchmarks/.peers/sb3); ours those of our tasks. Both
get the same environments with their own terminations and as many steps.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from setting import python_of, run_script
from side_by_side import arguments, compare


def main() -> None:
    parser = arguments(["CartPole-v1", "Pendulum-v1"], 5)
    parser.add_argument("--steps", type=int, default=100_000)
    given = parser.parse_args()
    run = partial(told, {"steps": given.steps, "episodes": given.episodes})
    ours = partial(run, sys.executable, "our_control_ppo.py")
    compare("control_ppo", given, {"ours": ours, "sb3": partial(run, python_of("sb3"), "sb3_ppo.py")})


def told(asked: dict[str, Any], python: str, script: str, env: str, seed: int) -> dict[str, float]:
    return run_script(python, script, {**asked, "env": env, "seed": seed})


if __name__ == "__main__":
    main()
