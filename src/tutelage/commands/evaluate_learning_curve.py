"""`tutelage evaluate learning-curve`: one reward model from more and more labels, tested on the same prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from tutelage.algorithms.reward_losses import PAIRS
from tutelage.algorithms.reward_model import RewardModelConfig, scores_of
from tutelage.data import preferences
from tutelage.data.columns import parse_columns
from tutelage.data.errors import InputError
from tutelage.data.judgements import judged, tokenised
from tutelage.data.questions import Question
from tutelage.data.split import by_prompt
from tutelage.data.tokens import Codec
from tutelage.evaluation.accuracy import accuracy
from tutelage.evaluation.in_words import lines_of_curve
from tutelage.evaluation.judged import judged_pairs
from tutelage.evaluation.label_counts import Point, curve
from tutelage.models.pretrained import Trust, context_tokens, device_of, load_sequence_classifier, load_tokenizer
from tutelage.models.trunk import Numerics
from tutelage.runs.run import Run
from tutelage.training import stages
from tutelage.training.reward_models import run_reward_model

FEWEST_LABELS = 32
MOST_SIZES = 8


@dataclass(frozen=True)
class LearningCurveJob:
    """Train a reward model on doubling shares of the labels, and tell what the next ones would bring."""

    model: str
    """Model folder or hub id; its trunk starts every reward model, with a fresh head."""
    data: str
    """File, folder or hub id of comparisons."""
    columns: tuple[str, ...] = ()
    """What the data's columns mean: a YAML file, or name=value ... (docs/data.md)."""
    sizes: tuple[int, ...] = ()
    """Label counts to train on; without them at most 8, all labels the last and each half of the next."""
    seeds: int = 2
    """Models a size: other labels, another head, another order."""
    more: int = 1000
    """The labels whose gain is told."""
    max_tokens: int = 512
    """Longest prompt and reply together: the oldest turns go first, then the front; the reply's end stays."""
    device: str = "auto"
    trust: Annotated[Trust, tyro.conf.arg(name="")] = field(default_factory=Trust)
    numerics: Annotated[Numerics, tyro.conf.arg(name="")] = field(default_factory=Numerics)
    settings: Annotated[RewardModelConfig, tyro.conf.arg(name="")] = field(
        default_factory=lambda: RewardModelConfig(learning_rate=3e-4)
    )


@dataclass(frozen=True)
class Material:
    """What every model of the curve shares."""

    codec: Codec
    learned: list[Question]
    held_out: list[Question]
    limit: int


def learning_curve_job(job: LearningCurveJob, run: Run) -> dict[str, Any]:
    material, read = material_of(job)
    sizes = sizes_of(job, len(material.learned))
    todo: dict[str, Callable[[Run], dict[str, Any]]] = {
        stage_name(size, seed): partial(trained, job, material, size, seed)
        for size in sizes
        for seed in range(job.seeds)
    }
    stages.run_stages(todo, run)
    told = judged_pairs(material.held_out, [np.zeros(len(each.responses)) for each in material.held_out]).preferred()
    points = [
        Point(size, seed, np.array(run.stage(stage_name(size, seed)).summary["right"]), told.prompts_P)
        for size in sizes
        for seed in range(job.seeds)
    ]
    found = curve(points, job.more)
    print("\n".join(lines_of_curve(found)))
    length = {name: value for name, value in accuracy(told).items() if name.startswith("length_rule")}
    gain = {name: found[name] for name in found if name.startswith("expected_gain")}
    return {**read, "labels": len(material.learned), "held_out": len(told), **length, **gain, "learning_curve": found}


def material_of(job: LearningCurveJob) -> tuple[Material, dict[str, Any]]:
    codec = Codec(load_tokenizer(job.model, job.trust))
    widest = context_tokens(load_sequence_classifier(job.model, trust=job.trust, fresh_head=True))
    limit = min(job.max_tokens, widest or job.max_tokens)
    questions, report = preferences.comparisons(job.data, codec, parse_columns(job.columns), limit)
    settings = job.settings
    compared = [each for each in questions if each.pairs]
    if not compared:
        raise InputError(f"--data {job.data} compares nothing; a learning curve counts comparisons.")
    learned, held = by_prompt(compared, lambda each: each.prompt, settings.held_out_fraction, settings.seed)
    return Material(codec, learned, held, limit), report.counts()


def sizes_of(job: LearningCurveJob, labels: int) -> list[int]:
    """Ascending. InputError where a curve could not be drawn through them."""
    if job.sizes:
        sizes = sorted(set(job.sizes))
        if sizes[0] < 2 or sizes[-1] > labels:
            raise InputError(f"--sizes {', '.join(map(str, sizes))}: expected 2 to {labels}, the labels to learn from.")
    else:
        sizes = sorted({labels // 2**halvings for halvings in range(MOST_SIZES)})
        sizes = [each for each in sizes if each >= FEWEST_LABELS]
    if len(sizes) < 3 or len(sizes) * job.seeds < 4:
        raise InputError(
            f"a learning curve needs three label counts or more and four models, got {len(sizes)} counts and "
            f"{job.seeds} seeds from {labels} labels. Give more data, --sizes, or --seeds."
        )
    return sizes


def stage_name(size: int, seed: int) -> str:
    return f"labels-{size:06d}-seed-{seed}"


def trained(job: LearningCurveJob, material: Material, size: int, seed: int, run: Run) -> dict[str, Any]:
    """A model from `size` labels; whether it is right about each held-out pair that is no tie."""
    device = device_of(job.device)
    config = replace(job.settings, seed=seed)
    chosen = some(material.learned, size, seed)
    learned, held = (
        judged(tokenised(material.codec, rows, material.limit)[0], rows).to(device)
        for rows in (chosen, material.held_out)
    )
    classifier = load_sequence_classifier(job.model, device, trust=job.trust, fresh_head=True)
    model, _ = run_reward_model(config, classifier, learned, held, PAIRS, run, job.numerics)
    scores_NK = scores_of(model, held).double().cpu().numpy()
    scores = [row[: len(each.responses)] for row, each in zip(scores_NK, material.held_out, strict=True)]
    pairs = judged_pairs(material.held_out, scores).preferred()
    right_P = pairs.right(pairs.differences_P)
    return {"labels": size, "accuracy": float(right_P.mean()), "right": right_P.tolist()}


def some(questions: Sequence[Question], size: int, seed: int) -> list[Question]:
    """The first `size` of a shuffle of the seed's: a smaller share is part of a larger one."""
    order = torch.randperm(len(questions), generator=torch.Generator().manual_seed(seed))
    return [questions[place] for place in order[:size].tolist()]
