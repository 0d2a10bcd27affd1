"""The reward model: scores whose differences are log-odds of being preferred.

Every candidate of a question is read once and all that was said of the question is learned together (Ouyang et al.
2022, §3.5 step 2). What is minimised is passed in as a function of scores and judgements (`reward_losses`): pairs
(Stiennon et al. 2020), a best of K (Ziegler et al. 2019), rankings, ratings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tutelage.algorithms.algorithm import Algorithm, LearnsFrom
from tutelage.algorithms.minibatches import minibatch
from tutelage.algorithms.reward_losses import Objective
from tutelage.data.judgements import Judgements
from tutelage.formulas import schedule
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, Learner, Sampler, Sums

Scores = Callable[[Batch], Tensor]
"""Episodes -> [B] scores, or [B, H] of several heads."""


@dataclass(frozen=True)
class RewardModelConfig:
    """batch_size: questions (of K candidates) an optimiser step. learning_rate: cosine to 0."""

    epochs: float = 1.0
    batch_size: int = 32
    learning_rate: float = 3e-4
    warm_up: int = 10
    max_grad_norm: float = 1.0
    tokens_at_once: int = 1024
    held_out_fraction: float = 0.1
    seed: int = 0

    def total_steps(self, questions: int) -> int:
        return max(1, round(self.epochs * questions / self.batch_size))


def reward_model(
    config: RewardModelConfig, judgements: Judgements, model: Scores, objective: Objective, learner: Learner, run: Run
) -> None:
    """Trains `model` in place on all questions, one minibatch of whole questions a step."""
    questions = partial(minibatch, len(judgements), config.batch_size, config.seed)
    loss = partial(judged_loss, model, objective)
    for step in run.steps(config.total_steps(len(judgements)), shows=("loss", "accuracy"), state={"learner": learner}):
        run.record(step, learner.update(judgements.select(questions(step)), loss))


def judged_loss(model: Scores, objective: Objective, part: Judgements) -> Sums:
    scores_NK = part.spread(model(part.candidates))
    sums = {"loss": (objective.loss(scores_NK, part) * part.weights_N).sum()}
    if objective.right is not None:
        sums["accuracy"] = (objective.right(scores_NK.detach(), part) * part.weights_N).sum()
    return sums


@torch.no_grad()
def scores_of(model: Scores, judgements: Judgements, questions_at_once: int = 64) -> Tensor:
    """[N, K] scores (or [N, K, H]) without gradients, NaN where a question has no such candidate."""
    parts = torch.arange(len(judgements)).split(questions_at_once)
    return judgements.spread(torch.cat([model(judgements.select(part).candidates) for part in parts]))


def page(
    config: RewardModelConfig, judgements: Judgements, models: Any, sampler: Sampler | None, learner: Learner, run: Run
) -> int:
    """`reward_model` as `training.train` calls it. models: `training.models.RewardModels`."""
    reward_model(config, judgements, models.policy, models.objective, learner, run)
    return config.total_steps(len(judgements))


REWARD_MODEL = Algorithm(
    "reward-model",
    page,
    lambda config, judgements: config.total_steps(len(judgements)),
    learns_from=LearnsFrom.PAIRS,
    anneal=schedule.cosine,
    warm_up=lambda config: config.warm_up,
)
