"""The page that trains language models balances a pole: nothing below the waist knows the difference.

The settings were chosen on seeds 0-2. Of the seeds 0-9 every one ended at 500 of 500, in 6-7 s on one core.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import pytest
import torch
from tests.stories.quiet_run import QuietRun

from tutelage.algorithms.ppo import PPOConfig, ppo
from tutelage.environments.control import Control, named
from tutelage.execution.learner import LocalLearner
from tutelage.execution.stepwise import StepwiseSampler
from tutelage.formulas import schedule
from tutelage.policies.control import Categorical
from tutelage.trajectory import Key, Task

SEEDS = (0, 1, 2)
CONFIG = PPOConfig(
    steps=30,
    trajectories=16,
    epochs=6,
    minibatches=4,
    learning_rate=1e-3,
    value_learning_rate=1e-2,  # returns reach 100 here, and Adam moves a weight by its rate: at 1e-3 the critic never
    value_clip_range=1e9,  # arrives (explained variance stays 0); a value clip of 0.2, too, is for scores near 1
    gamma=0.99,
    kl_coefficient=0.0,
    max_grad_norm=0.5,
    tokens_at_once=100_000,
)


def episodes(step: int, count: int) -> list[Key]:
    return [Key(step, 0, sample) for sample in range(count)]


def trained(config: PPOConfig) -> tuple[Categorical, Control, QuietRun]:
    environment = Control(named("CartPole-v1"), seed=config.seed)
    policy = Categorical(observation_size=4, actions=2, seed=config.seed)
    updates = config.steps * config.epochs * config.minibatches
    learner = LocalLearner(
        {
            "policy": (policy.policy.parameters(), config.learning_rate),
            "value": (policy.value.parameters(), config.value_learning_rate),
        },
        schedule=partial(schedule.linear, total=updates),
        max_grad_norm=config.max_grad_norm,
        tokens_at_once=config.tokens_at_once,
    )
    task = Task(
        environment,
        score=lambda batch: torch.zeros_like(batch.rewards_BT),  # the environment pays all there is
        keys=partial(episodes, count=config.trajectories),
    )
    run = QuietRun()
    sampler = StepwiseSampler(policy, config.seed)
    ppo(config, task, policy, lambda batch: batch.behaviour_log_probs_BT, sampler, learner, run)
    return policy, environment, run


def mean_return(policy: Categorical, environment: Control, seed: int) -> float:
    """Of 100 fresh episodes, sampled, not greedy."""
    batch = StepwiseSampler(policy, seed + 1000).sample(environment, episodes(10**6, 100))
    return float(batch.rewards_BT.sum(dim=1).mean())


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_page_learns_to_balance_a_pole(seed):
    started = time.perf_counter()
    policy, environment, run = trained(replace(CONFIG, seed=seed))
    seconds = time.perf_counter() - started
    untrained = mean_return(Categorical(4, 2, seed=seed), environment, seed)
    reached = mean_return(policy, environment, seed)
    assert untrained < 50
    assert reached >= 450, f"{reached} of 500 in {seconds:.0f} s, from {untrained}"
    assert seconds < 60
    assert all(abs(event["kl_nats_per_sequence"]) < 1e-3 for event in run.events)  # its own behaviour is the reference
