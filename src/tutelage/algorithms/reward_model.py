"""The reward model: scores whose differences are log-odds of being preferred.

Pairs: −log σ(r_chosen − r_rejected) with soft targets (Stiennon et al. 2020). A best of K: −log softmax of the chosen
(Ziegler et al. 2019). Both are one list of K candidates a question; which loss reads it is passed in as a function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from tutelage.data.order import minibatch
from tutelage.formulas import preference
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, Learner, Sums


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


@dataclass(frozen=True)
class Choices:
    """N questions of K candidates each.

    candidates: batch of N·K rows, the K of a question side by side
    targets_N: what was answered: P(first preferred) for pairs (0.5 a tie), the index of the best for K > 2
    """

    candidates: Batch
    targets_N: Tensor
    width: int

    def __len__(self) -> int:
        return len(self.targets_N)

    @property
    def weight(self) -> float:
        return float(len(self))

    @property
    def lengths_B(self) -> Tensor:
        """[N] padded tokens a question costs: K times its longest candidate."""
        return self.candidates.lengths_B.view(len(self), self.width).amax(dim=1) * self.width

    def to(self, device: torch.device | str) -> Choices:
        return Choices(self.candidates.to(device), self.targets_N.to(device), self.width)

    def select(self, indices: Sequence[int] | Tensor) -> Choices:
        rows_N = torch.as_tensor(indices)
        rows_NK = rows_N[:, None] * self.width + torch.arange(self.width)
        return Choices(self.candidates.select(rows_NK.flatten()), self.targets_N[rows_N], self.width)


ChoiceLoss = Callable[[Tensor, Tensor], Tensor]
"""(scores [N, K], targets [N]) -> [N] terms."""


def pair_loss(scores_N2: Tensor, targets_N: Tensor) -> Tensor:
    return preference.pair(scores_N2[:, 0], scores_N2[:, 1], targets_N)


def choice_loss(scores_NK: Tensor, targets_N: Tensor) -> Tensor:
    return preference.choice(scores_NK, targets_N.long())


def reward_model(
    config: RewardModelConfig,
    choices: Choices,
    model: Callable[[Batch], Tensor],
    loss: ChoiceLoss,
    learner: Learner,
    run: Run,
) -> None:
    """Trains `model` (episodes -> [B] scores) in place on all questions, one minibatch of whole questions a step."""
    questions = partial(minibatch, len(choices), config.batch_size, config.seed)
    for step in run.steps(config.total_steps(len(choices)), shows=("loss", "accuracy"), state={"learner": learner}):
        part = choices.select(questions(step))
        run.record(step, learner.update(part, partial(preference_loss, model, loss)))


def preference_loss(model: Callable[[Batch], Tensor], loss: ChoiceLoss, part: Choices) -> Sums:
    scores_NK = model(part.candidates).view(len(part), part.width)
    return {"loss": loss(scores_NK, part.targets_N).sum(), "accuracy": agreement(scores_NK.detach(), part).sum()}


def agreement(scores_NK: Tensor, choices: Choices) -> Tensor:
    """[N] 1 where the highest score was the answer, 0 where not; tied scores share, and a tied answer is a half."""
    pairs = choices.width == 2
    best_N = (choices.targets_N < 0.5).long() if pairs else choices.targets_N.long()
    leads_NK = (scores_NK == scores_NK.amax(dim=1, keepdim=True)).double()
    right_N = leads_NK.gather(1, best_N[:, None])[:, 0] / leads_NK.sum(dim=1)
    return torch.where(choices.targets_N == 0.5, 0.5, right_N) if pairs else right_N


@torch.no_grad()
def scores_of(model: Callable[[Batch], Tensor], choices: Choices, questions_at_once: int = 64) -> Tensor:
    """[N, K] scores without gradients."""
    parts = torch.arange(len(choices)).split(questions_at_once)
    scores = [model(choices.select(part).candidates).view(-1, choices.width) for part in parts]
    return torch.cat(scores)
