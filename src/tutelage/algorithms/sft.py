"""Supervised fine-tuning: make the demonstrations likely.

Token cross-entropy over the reply alone, the end of sequence included; the prompt is context, not a target
(Ouyang et al. 2022, §3.5 step 1). Left out against the paper: residual dropout, choosing the epoch by reward.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from tutelage.algorithms.algorithm import Algorithm, LearnsFrom
from tutelage.algorithms.minibatches import minibatch
from tutelage.formulas import schedule
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, Learner, LogProbs, Sampler, Sums


@dataclass(frozen=True)
class SFTConfig:
    """steps: optimiser steps; None derives them from epochs. learning_rate: cosine to 0 after warm_up steps."""

    epochs: float = 1.0
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float = 1e-3
    warm_up: int = 20
    max_grad_norm: float = 1.0
    tokens_at_once: int = 1024
    seed: int = 0

    def total_steps(self, rows: int) -> int:
        return self.steps if self.steps is not None else max(1, round(self.epochs * rows / self.batch_size))


def sft(config: SFTConfig, demonstrations: Batch, policy: LogProbs, learner: Learner, run: Run) -> None:
    """Trains `policy` in place; records the mean negative log-likelihood in nats per token."""
    loss = partial(negative_log_likelihood, policy)
    steps = config.total_steps(len(demonstrations))
    rows = partial(minibatch, len(demonstrations), config.batch_size, config.seed)
    for step in run.steps(steps, shows=("loss", "perplexity"), state={"learner": learner}):
        stats = learner.update(demonstrations.select(rows(step)), loss)
        run.record(step, {**stats, "perplexity": float(torch.tensor(stats["loss"]).exp())})


def negative_log_likelihood(policy: LogProbs, demonstrations: Batch) -> Sums:
    return {"loss": -policy(demonstrations).masked_fill(~demonstrations.mask_BT, 0.0).sum()}


def page(config: SFTConfig, rows: Batch, models: Any, sampler: Sampler | None, learner: Learner, run: Run) -> int:
    """`sft` as `training.train` calls it."""
    sft(config, rows, models.policy, learner, run)
    return config.total_steps(len(rows))


SFT = Algorithm(
    "sft",
    page,
    lambda config, rows: config.total_steps(len(rows)),
    learns_from=LearnsFrom.DEMONSTRATIONS,
    anneal=schedule.cosine,
    warm_up=lambda config: config.warm_up,
)
