"""`tutelage evaluate reward-model`: every model on every data set, by what people said there (docs/evaluation.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from tutelage.commands.reward_model import RewardModelJob, asked_rows, split
from tutelage.data import preferences
from tutelage.data.columns import parse_columns
from tutelage.data.errors import InputError
from tutelage.data.questions import Question
from tutelage.data.tokens import Codec
from tutelage.data.truncate import told_apart
from tutelage.evaluation.in_words import lines
from tutelage.evaluation.reward_models import report
from tutelage.models.pretrained import NOTHING, Trust, device_of, load_tokenizer
from tutelage.models.trunk import Numerics
from tutelage.rewards.text_scores import TextScorer, labels
from tutelage.runs.files import entry, read_json
from tutelage.runs.run import Run
from tutelage.runs.settings import overridden


@dataclass(frozen=True)
class RewardModelsJob:
    """Measure reward models by what people said: accuracy beside length and chance, calibration, ceilings, subsets.

    Several models and data sets give a cross table. What a model of `tutelage reward-model` learned from is left out.
    """

    model: tuple[str, ...]
    """Reward-model folders or hub ids (one-label sequence classifiers)."""
    data: tuple[str, ...]
    """Files, folders or hub ids of comparisons or ratings, each measured by itself."""
    columns: tuple[str, ...] = ()
    """What the data's columns mean: a YAML file, or name=value ... (docs/data.md)."""
    by: str | None = None
    """A column to group by: accuracy in each subset, and its weighted and unweighted mean."""
    max_tokens: int = 512
    """Longest prompt and reply together: the oldest turns go first, then the front; the reply's end stays."""
    limit: int | None = None
    """Use only so many prompts of each data set, drawn by the seed."""
    seed: int = 0
    device: str = "auto"
    trust: Annotated[Trust, tyro.conf.arg(name="")] = field(default_factory=Trust)
    numerics: Annotated[Numerics, tyro.conf.arg(name="")] = field(default_factory=Numerics)


@dataclass(frozen=True)
class DataSet:
    """Questions as they were read from `source`, and what was read and dropped."""

    source: str
    name: str
    questions: list[Question]
    counts: dict[str, Any]


def reward_models_job(job: RewardModelsJob, run: Run) -> dict[str, Any]:
    device = device_of(job.device)
    data = data_sets(job)
    models = labels(job.model)
    rows = []
    for name, title in zip(job.model, models, strict=True):
        scorer = TextScorer.load(name, device, job.max_tokens, job.numerics, trust=job.trust)
        learned = learned_prompts(name, job.trust)
        for each in data:
            rows.append({"model": title, "data": each.name, **measured(job, scorer, each, learned)})
            print("\n".join(lines(rows[-1])))
    return {"models": models, "data": [each.name for each in data], **headline(rows), "reward_models": rows}


def measured(job: RewardModelsJob, scorer: TextScorer, data: DataSet, learned: set[str] | None) -> dict[str, Any]:
    """One model on one data set, without the prompts that it learned from."""
    kept = [each for each in data.questions if each.prompt not in (learned or ())]
    if not kept:
        raise InputError(f"--data {data.source}: the model learned from all of its prompts, so none can test it.")
    taken = drawn(kept, job.limit, job.seed)
    asked = told_apart(scorer.codec, taken, scorer.limit)
    if not asked:
        raise InputError(f"--data {data.source}: all replies are the same once cut to the {scorer.limit} tokens read.")
    scores, cut = scorer.of_questions(asked)
    about = {"learned_from_known": learned is not None, "rows_learned_from": len(data.questions) - len(kept)}
    return {
        **data.counts,
        **about,
        "replies_truncated": cut,
        "rows_same_when_cut": len(taken) - len(asked),
        **report(asked, scores, job.by),
    }


def data_sets(job: RewardModelsJob) -> list[DataSet]:
    """What is measured, read in the tokens of the first model (they matter for chat templates only)."""
    codecs = [Codec(load_tokenizer(name, job.trust)) for name in job.model]
    if len({str(codec.tokenizer.chat_template) for codec in codecs}) > 1:
        raise InputError("--model: these have different chat templates, so they read different texts. Give one a run.")
    columns = parse_columns(job.columns)
    found = []
    for source, title in zip(job.data, labels(job.data), strict=True):
        questions, read = preferences.comparisons(source, codecs[0], columns)
        found.append(DataSet(source, title, questions, read.counts()))
    return found


def drawn(questions: Sequence[Question], limit: int | None, seed: int) -> list[Question]:
    """All questions of `limit` prompts."""
    prompts = list(dict.fromkeys(each.prompt for each in questions))
    if limit is None or limit >= len(prompts):
        return list(questions)
    order = torch.randperm(len(prompts), generator=torch.Generator().manual_seed(seed))[:limit]
    taken = {prompts[place] for place in np.asarray(order).tolist()}
    return [each for each in questions if each.prompt in taken]


def headline(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The numbers at the top of summary.json, where there is one model and one data set."""
    if len(rows) != 1:
        return {}
    accuracy, calibration = rows[0].get("accuracy", {}), rows[0].get("calibration", {})
    ends = ("", "_low", "_high", "_n")
    shares = [f"{name}{end}" for name in ("accuracy", "length_rule_accuracy") for end in ends]
    wanted = ("pairs", *shares, "random_accuracy")
    found = {name: accuracy[name] for name in wanted if name in accuracy}
    told = ("calibration_error", "calibration_error_repaired", *(f"temperature{end}" for end in ends))
    return {**found, **{name: calibration[name] for name in told if name in calibration}}


def learned_prompts(name: str, trust: Trust = NOTHING) -> set[str] | None:
    """The prompts that a reward model of `tutelage reward-model` learned from, read again from its data.

    None where that is not known: another program's model, or data that are no longer there.
    """
    config = Path(name).expanduser().parent / "config.json"
    run = read_json(config) if config.is_file() else {}
    if run.get("verb") != "reward-model":
        return None
    job = overridden(RewardModelJob(model=name, data=""), entry(config, run, "settings", dict), str(config))
    try:
        learned = split(job, asked_rows(job, Codec(load_tokenizer(name, trust)))[0])[1]
    except InputError as error:
        print(f"{name}: what it learned from cannot be read again ({error})")
        return None
    return {each.question.prompt for each in learned}
