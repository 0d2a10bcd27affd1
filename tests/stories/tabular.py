"""The smallest language: one token is said, and each has a fixed score. Its optimum under a KL penalty is known."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from tests.stories.quiet_run import QuietRun
from torch import Tensor, nn

from tutelage.algorithms.ppo import PPOConfig, ppo
from tutelage.execution.learner import LocalLearner
from tutelage.execution.stepwise import StepwiseSampler
from tutelage.formulas import schedule
from tutelage.trajectory import Batch, Evaluation, Finish, Key, Step, Task

REFERENCE = (0.5, 0.3, 0.2)  # fact 15
SCORES = (0.0, 1.0, 2.0)
START = np.int64(0)


class Word:
    """One running episode: one token ends it, and it is what is seen last."""

    first = START

    def step(self, action: np.int64) -> Step:
        return Step(observation=action, finish=Finish.TERMINATED)


class Vocabulary:
    """The environment: every episode is a `Word`."""

    def episode(self, key: Key) -> Word:
        return Word()


class Table(nn.Module):
    """π = softmax(logits_V), and one value for the one state: an ActorCritic and an Actor of four numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.logits_V = nn.Parameter(torch.tensor(REFERENCE).log())
        self.value = nn.Parameter(torch.zeros(()))

    def forward(self, batch: Batch) -> Evaluation:
        log_probs_V = self.logits_V.log_softmax(0)
        entropy = -(log_probs_V.exp() * log_probs_V).sum()
        values_BS = self.value.expand(batch.observations.shape)
        return Evaluation(log_probs_V[batch.actions], entropy.expand(batch.mask_BT.shape), values_BS)

    def noise(self, stream: np.random.Generator) -> np.ndarray:
        return stream.random(1)

    def act(self, observations_N: Tensor, uniforms_N1: Tensor) -> tuple[Tensor, Tensor]:
        log_probs_V = self.logits_V.log_softmax(0)
        ends_V = log_probs_V.exp().double().cumsum(0)
        actions_N = (uniforms_N1 * ends_V[-1] >= ends_V).sum(1).clamp(max=len(ends_V) - 1)
        return actions_N, log_probs_V[actions_N]


def config(coefficient: float, seed: int) -> PPOConfig:
    return PPOConfig(
        steps=80,
        trajectories=256,
        epochs=4,
        minibatches=2,
        learning_rate=0.03,
        value_learning_rate=0.03,
        kl_coefficient=coefficient,
        seed=seed,
    )


def keys(trajectories: int, step: int) -> list[Key]:
    return [Key(step, 0, sample) for sample in range(trajectories)]


def scored(batch: Batch) -> Tensor:
    return torch.tensor(SCORES)[batch.actions]


def reference(batch: Batch) -> Tensor:
    return torch.tensor(REFERENCE).log()[batch.actions]


def learned(coefficient: float, seed: int) -> Tensor:
    """[V] probabilities after PPO."""
    settings, table = config(coefficient, seed), Table()
    updates = settings.steps * settings.epochs * settings.minibatches
    learner = LocalLearner(
        {"policy": ([table.logits_V], settings.learning_rate), "value": ([table.value], settings.value_learning_rate)},
        schedule=partial(schedule.linear, total=updates),
    )
    task = Task(Vocabulary(), scored, partial(keys, settings.trajectories))
    ppo(settings, task, table, reference, StepwiseSampler(table, seed), learner, QuietRun())
    return table.logits_V.detach().softmax(0)


def measured(probabilities_V: Tensor) -> tuple[float, float]:
    """(E r, KL to the reference in nats), both exact."""
    p, q = probabilities_V.double(), torch.tensor(REFERENCE, dtype=torch.float64)
    return float((p * torch.tensor(SCORES)).sum()), float((p * (p / q).log()).sum())
