"""A reward model trained on what was said, and how often it agrees with what was held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tutelage.algorithms.reward_losses import Objective
from tutelage.algorithms.reward_model import REWARD_MODEL, RewardModelConfig, scores_of
from tutelage.data.judgements import Judgements
from tutelage.formulas.intervals import share_of
from tutelage.models.trunk import Numerics
from tutelage.rewards.language import Heads, RewardModel, start_head
from tutelage.runs.run import Run
from tutelage.training.engine import engine_of
from tutelage.training.models import Groups, Models
from tutelage.training.train import train


@dataclass(frozen=True)
class RewardModels(Models):
    """A reward model, called with a batch of episodes, and what it shall agree with. Make one by `reward_models`.

    objective: the loss, and what else it learns
    """

    objective: Objective | None = None

    def parameter_groups(self, config: Any) -> Groups:
        groups = {"reward_model": (list(self.policy.parameters()), config.learning_rate)}
        if self.objective is not None and self.objective.learns is not None:
            groups["thresholds"] = (list(self.objective.learns.parameters()), THRESHOLD_LEARNING_RATE)
        return groups


THRESHOLD_LEARNING_RATE = 1e-2  # of an ordinal loss: they are scores, and weights of a network move far less


def reward_models(model: Any, objective: Objective) -> RewardModels:
    return RewardModels(model, objective=objective)


@dataclass(frozen=True)
class HeldOut:
    """How often the reward model agrees with the held-out answers."""

    right: float
    questions: int

    @property
    def accuracy(self) -> float:
        return self.right / self.questions

    @property
    def row(self) -> dict[str, Any]:
        """accuracy, accuracy_low, accuracy_high, accuracy_n."""
        return share_of(self.right, self.questions).row("accuracy")


def train_reward_model(
    config: RewardModelConfig, model: Heads, learned: Judgements, objective: Objective, run: Run
) -> None:
    """Trains the model as it is, in place, and what else the objective learns."""
    train(REWARD_MODEL, config, learned, reward_models(model, objective), engine_of(run), run)
    model.eval()


def run_reward_model(
    config: RewardModelConfig,
    classifier: Any,
    learned: Judgements,
    held_out: Judgements,
    objective: Objective,
    run: Run,
    numerics: Numerics = Numerics(),
) -> tuple[RewardModel, HeldOut]:
    """Trains a fresh head and the trunk below it; the model comes back neither normalised nor saved.

    The objective must be countable (comparisons, or good and bad): what is held out is counted.
    """
    start_head(classifier, config.seed)
    model = RewardModel(classifier, numerics)
    train_reward_model(config, model, learned, objective, run)
    return model, counted(objective, scores_of(model, held_out), held_out)


def counted(objective: Objective, scores_NK: Tensor, held_out: Judgements) -> HeldOut:
    if objective.right is None:
        raise ValueError("what is right cannot be counted for this loss; measure its concordance instead")
    return HeldOut(float(objective.right(scores_NK, held_out).sum()), len(held_out))
