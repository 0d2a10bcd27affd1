"""Our PPO on the true reward of environments with their own terminations, for control_ppo.py.

Reads {"env", "steps", "seed", "episodes"}, answers with the mean return of fresh episodes, sampled, and the steps a
second of learning (sampling and updates). It stops after as many steps of the environment as were asked for.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from tutelage.algorithms.ppo import PPOConfig, ppo
from tutelage.environments.classic import PENDULUM, Classic
from tutelage.environments.control import Bodies, named
from tutelage.execution.learner import LocalLearner
from tutelage.execution.together import TogetherSampler
from tutelage.formulas import schedule
from tutelage.policies.control import Categorical, Gaussian
from tutelage.recipes.control_tasks import MUJOCO_PPO, PPO
from tutelage.rewards.control import TrueScore
from tutelage.trajectory import Key, Task

CASES: dict[str, tuple[Any, Any, PPOConfig, int]] = {
    "CartPole-v1": (
        lambda seed: Categorical(4, 2, seed=seed),
        lambda seed: Bodies(named("CartPole-v1"), 500, seed, hides=True),
        replace(PPO, trajectories=16, minibatches=8, gamma=0.98, gae_lambda=0.9),
        50,
    ),
    "Pendulum-v1": (
        lambda seed: Gaussian(3, 1, seed=seed),
        lambda seed: Classic(PENDULUM, 200, seed, hides=True),
        replace(PPO, trajectories=16, minibatches=16, gamma=0.9),
        50,
    ),
    "HalfCheetah-v5": (
        lambda seed: Gaussian(17, 6, seed=seed, deviation=0.6, scaled=True),
        lambda seed: Bodies(named("HalfCheetah-v5"), 1000, seed, hides=True),
        MUJOCO_PPO,
        100,
    ),
    "Hopper-v5": (
        lambda seed: Gaussian(11, 3, seed=seed, deviation=0.6, scaled=True),
        lambda seed: Bodies(named("Hopper-v5"), 1000, seed, hides=True),
        replace(MUJOCO_PPO, trajectories=8, minibatches=16),
        50,
    ),
}


class Budget:
    """A run that keeps nothing and ends after so many steps of the environment."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def steps(self, count: int, **_: Any) -> Iterator[int]:
        for step in range(count):
            if self.left <= 0:
                return
            yield step

    def note(self, **_: float) -> None:
        pass

    def record(self, step: int, metrics: Any) -> None:
        pass


def main() -> None:
    asked = json.loads(sys.stdin.read())
    torch.set_num_threads(1)
    make, environment_of, config, piece = CASES[asked["env"]]
    seed, environment = asked["seed"], environment_of(asked["seed"])
    policy = make(seed)
    own = [p for name, p in policy.named_parameters() if not name.startswith("value")]
    longest = asked["steps"] // environment.horizon + 1  # updates, if every episode were as long as it can be
    updates = max(1, longest // config.trajectories) * config.epochs * config.minibatches
    learner = LocalLearner(
        {"policy": (own, config.learning_rate), "value": (policy.value.parameters(), config.value_learning_rate)},
        schedule=partial(falling, updates),
        max_grad_norm=config.max_grad_norm,
        tokens_at_once=config.tokens_at_once,
    )
    sampler, budget = TogetherSampler(policy, seed, piece=piece), Budget(asked["steps"])
    true = TrueScore(centred=False)

    def score(batch: Any) -> torch.Tensor:
        budget.left -= int(batch.mask_BT.sum())
        return true(batch)

    task = Task(environment, score, lambda step: [Key(step, 0, sample) for sample in range(config.trajectories)])
    began = time.perf_counter()
    run: Any = budget
    ppo(
        replace(config, steps=10**6, seed=seed), task, policy, lambda b: b.behaviour_log_probs_BT, sampler, learner, run
    )
    seconds = time.perf_counter() - began
    done = asked["steps"] - budget.left
    fresh = sampler.sample(environment, [Key(2**31, 0, each) for each in range(asked["episodes"])])
    paid = float(fresh.extras["true_rewards"].sum()) / asked["episodes"]
    print(json.dumps({"return": paid, "steps_per_second": done / seconds, "steps": done}))


def falling(updates: int, update: int) -> float:
    return max(0.05, schedule.linear(update, updates))


if __name__ == "__main__":
    main()
