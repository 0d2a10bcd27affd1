"""Preference-model pretraining (Bai et al. 2022): a reward model learns weak comparisons first, then people's labels.

What it is worth is counted in labels: how many more of them a reward model needs that began without it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tutelage.algorithms.reward_losses import PAIRS, Objective
from tutelage.algorithms.reward_model import RewardModelConfig, scores_of
from tutelage.data.judgements import Judgements
from tutelage.data.tokens import Codec
from tutelage.formulas import learning_curve
from tutelage.models.pretrained import load_sequence_classifier
from tutelage.rewards.language import RewardModel, start_head
from tutelage.runs.files import write_folder
from tutelage.runs.run import Run
from tutelage.training.reward_models import HeldOut, counted, train_reward_model


@dataclass(frozen=True)
class Phases:
    """Settings of both phases. Bai et al. take a tenth of the first one's learning rate for the second."""

    weak: RewardModelConfig = field(default_factory=lambda: RewardModelConfig(learning_rate=1e-3))
    human: RewardModelConfig = field(default_factory=lambda: RewardModelConfig(learning_rate=1e-4))


def run_weak_phase(config: RewardModelConfig, classifier: Any, weak: Judgements, codec: Codec, run: Run) -> RewardModel:
    """A reward model of weak comparisons, trained in the stage `weak` and saved there; read back where it is done."""
    stage = run.stage("weak")
    if not stage.finished:
        start_head(classifier, config.seed)
        model = RewardModel(classifier)
        train_reward_model(config, model, weak, PAIRS, stage)
        write_folder(stage.path / "model", partial(model.save, codec=codec))
        stage.mark_finished({"questions": len(weak), **stage.latest})
    device = weak.weights_N.device
    return RewardModel(load_sequence_classifier(str(stage.path / "model"), device))


def run_human_phase(
    config: RewardModelConfig,
    model: RewardModel,
    learned: Judgements,
    held_out: Judgements,
    objective: Objective,
    run: Run,
) -> HeldOut:
    """Goes on with trunk and head as they are, in place, on what people said."""
    train_reward_model(config, model, learned, objective, run)
    return counted(objective, scores_of(model, held_out), held_out)


@dataclass(frozen=True)
class Labelled:
    """People's labels: the counts that are tried are the first so many of `learned`."""

    learned: Judgements
    held_out: Judgements
    objective: Objective = PAIRS


def labels_saved(
    phases: Phases, classifier: Any, weak: Judgements, labelled: Labelled, counts: Sequence[int], codec: Codec, run: Run
) -> list[dict[str, float | None]]:
    """A row for each label count: held-out accuracy with and without the first phase, and what that is in labels.

    Both begin from the same trunk. Without the first phase a fresh head is learned at its rate, for as many steps as
    the second phase has. labels_without: how many labels the model without pretraining needs for the accuracy of the
    pretrained one, by interpolation in log labels; None where it gets there at none of the counts.
    """
    start = copy.deepcopy(classifier)
    start_head(start, phases.human.seed)
    pretrained = run_weak_phase(phases.weak, classifier, weak, codec, run)
    fresh = replace(phases.human, learning_rate=phases.weak.learning_rate)
    without, with_it = [], []
    for count in counts:
        model = RewardModel(copy.deepcopy(start))
        without.append(_accuracy(fresh, model, labelled, count, run.stage(f"fresh-{count}")))
        model = copy.deepcopy(pretrained)
        with_it.append(_accuracy(phases.human, model, labelled, count, run.stage(f"human-{count}")))
    needed = [learning_curve.labels_for(counts, without, accuracy) for accuracy in with_it]
    names = ("labels", "accuracy", "accuracy_pretrained", "labels_without")
    return [dict(zip(names, row, strict=True)) for row in zip(counts, without, with_it, needed, strict=True)]


def _accuracy(config: RewardModelConfig, model: RewardModel, labelled: Labelled, count: int, stage: Run) -> float:
    """On what is held out, after learning from the first so many labels."""
    if not stage.finished:
        learned = labelled.learned.select(range(count))
        held = run_human_phase(config, model, learned, labelled.held_out, labelled.objective, stage)
        stage.mark_finished({"labels": count, "accuracy": held.accuracy})
    return stage.summary["accuracy"]
