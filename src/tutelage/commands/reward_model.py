"""`tutelage reward-model`: any labels, one model or an ensemble, normalised on a sample of one's choice."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from torch import Tensor

from tutelage.algorithms.reward_model import RewardModelConfig, scores_of
from tutelage.commands.answers import frozen
from tutelage.commands.labels import Asked, Labels, Reading, reading
from tutelage.commands.measures import in_words, measured
from tutelage.data import preferences, sources
from tutelage.data.columns import parse_columns
from tutelage.data.errors import InputError
from tutelage.data.files import ReadReport
from tutelage.data.judgements import Judgements, judged, tokenised
from tutelage.data.questions import Question
from tutelage.data.split import by_prompt, seen_fraction
from tutelage.data.tokens import Codec, written
from tutelage.data.truncate import fit
from tutelage.execution.native import SamplingSettings
from tutelage.models.adapters import find_adapter
from tutelage.models.dtypes import refuse_fp16
from tutelage.models.pretrained import (
    Trust,
    context_tokens,
    device_of,
    load_causal_lm,
    load_sequence_classifier,
    load_tokenizer,
    refuse_missing_rows,
    reward_model_config,
)
from tutelage.models.reward_adapters import with_reward_lora
from tutelage.models.trunk import Numerics
from tutelage.policies.language import LanguagePolicy
from tutelage.rewards.ensemble import Ensemble
from tutelage.rewards.language import Heads, RewardModel, start_head
from tutelage.runs.files import write_folder
from tutelage.runs.run import Run
from tutelage.training.engine import Engine, engine_of
from tutelage.training.reward_models import train_reward_model
from tutelage.training.speaker import Speaker
from tutelage.trajectory import Batch

FLAT = tyro.conf.arg(name="")  # the settings' flags carry no prefix


@dataclass(frozen=True)
class Members:
    """One model, or several whose disagreement shows what they do not know."""

    members: int = 1
    """How many models are trained, each from its own seed; more than one are saved as an ensemble."""
    bootstrap: bool = False
    """Each member learns from a draw with replacement, as large as the labels (Christiano et al. 2017)."""
    shared_trunk: bool = False
    """The members are heads on one trunk: the cost of one model, and less disagreement."""


@dataclass(frozen=True)
class Normalising:
    """The sample on which scores get mean 0; frozen and saved with the model."""

    normalise_on: Literal["auto", "held-out", "references", "samples", "none"] = "auto"
    """held-out: candidates of the held-out questions; references: replies of --references; samples: replies of --model
    itself. auto: references where given, else held-out for comparisons and none for ratings, whose zero means
    something."""
    references: str | None = None
    """Demonstrations (as for sft) whose replies shall have mean 0."""
    normalise_deviation: float | None = None
    """Also scale the scores to this deviation on the sample (Ziegler et al. 2019: 1)."""
    normalise_samples: int = 256
    """How many replies are drawn for `samples`, and read at most of `references`."""
    normalise_new_tokens: int = 64
    """Longest reply of `samples`."""


@dataclass(frozen=True)
class RewardModelJob:
    """Train a reward model on what people said of replies."""

    model: str
    """Model folder or hub id; its trunk starts the reward model, with a fresh head."""
    data: str
    """File, folder or hub id of comparisons: prompt/chosen/rejected, chosen/rejected, HH-RLHF text; or other labels; or
    a labelling project's folder: what people answered there."""
    columns: tuple[str, ...] = ()
    """What the data's columns mean: a YAML file, or name=value ... (docs/data.md). Not needed for the shapes above."""
    max_tokens: int = 512
    """Longest prompt and reply together: the oldest turns go first, then the front; the reply's end stays."""
    limit: int | None = None
    """Use only this many comparisons, in the order of a seeded shuffle of the prompts."""
    lora_rank: int = 0
    """Rank of a LoRA adapter on --model that learns instead of the weights, with the whole head; 0 trains the weights.
    The folder is an adapter's, and `ppo --lora-rank` on the same --model keeps one copy of the weights for both."""
    keep_head: bool = False
    """Go on with the head of --model, which is a reward model already (a phase after preference-model pretraining)."""
    device: str = "auto"
    labels: Annotated[Labels, FLAT] = field(default_factory=Labels)
    ensemble: Annotated[Members, FLAT] = field(default_factory=Members)
    normalising: Annotated[Normalising, FLAT] = field(default_factory=Normalising)
    trust: Annotated[Trust, FLAT] = field(default_factory=Trust)
    numerics: Annotated[Numerics, FLAT] = field(default_factory=Numerics)
    settings: Annotated[RewardModelConfig, FLAT] = field(default_factory=lambda: RewardModelConfig(learning_rate=3e-4))


@dataclass(frozen=True)
class Material:
    """What is learned from and what is held out, as tensors and as questions. limit: tokens of prompt and reply."""

    codec: Codec
    reading: Reading
    learned: Judgements
    held_out: Judgements
    rows: list[Asked]
    held_rows: list[Asked]
    limit: int

    @property
    def ratings(self) -> Tensor:
        """Every rating on the first axis."""
        return torch.cat([each.ratings_NKA[..., :1].flatten() for each in (self.learned, self.held_out)])


def reward_model_job(job: RewardModelJob, run: Run) -> dict[str, Any]:
    _refuse_odd_combinations(job)
    job = replace(job, data=frozen(job.data, run))
    device = device_of(job.device)
    codec = Codec(load_tokenizer(job.model, job.trust))
    heads = 2 if job.labels.auxiliary_axis else job.ensemble.members if job.ensemble.shared_trunk else 1
    classifier = load_sequence_classifier(job.model, device, heads, job.trust, fresh_head=not job.keep_head)
    refuse_missing_rows(classifier, codec.tokenizer, job.model)
    if job.lora_rank:
        refuse_fp16(classifier.parameters())
        classifier = with_reward_lora(classifier, job.lora_rank)
    limit = min(job.max_tokens, context_tokens(classifier) or job.max_tokens)
    rows, report = asked_rows(job, codec, limit)
    how, learned, held_out = split(job, rows)
    (learned_part, cut), (held_part, held_cut) = (
        as_judgements(codec, how, part, job, limit) for part in (learned, held_out)
    )
    rows_used, truncated = learned + held_out, cut + held_cut
    material = Material(codec, how, learned_part.to(device), held_part.to(device), rows_used, held_out, limit)
    model, told = trained(job, classifier, material, run)
    scores_NKM = scores_of(lambda batch: model(batch).view(len(batch), -1), material.held_out)
    summary = {
        **report.counts(),
        "rows_used": len(rows_used),
        "rows_truncated": truncated,
        **measured(how, scores_NKM, material.held_out, held_out, isinstance(model, Ensemble)),
        "held_out_seen_fraction": seen_fraction(map(as_text, learned), list(map(as_text, held_out))),
        "learned_from": how.name,
        "questions_left_out": sum(not how.reads(each.question) for each in rows),
        **told,
        **normalised(job, model, material, told, engine_of(run)),
    }
    _mark(model, job)
    write_folder(run.path / "model", partial(model.save, codec=codec))
    print(f"{truncated} rows truncated to {limit} tokens: oldest turns first, then the front; the reply's end stays")
    print(in_words(summary))
    return summary


def as_text(row: Asked) -> str:
    return "\n".join([row.question.prompt, *sorted(row.question.responses)])


def split(job: RewardModelJob, rows: Sequence[Asked]) -> tuple[Reading, list[Asked], list[Asked]]:
    """(what is read of the rows, those learned from, those held out)."""
    how = reading(job.labels, [each.question for each in rows])
    read = [each for each in rows if how.reads(each.question)]
    if job.labels.also and not any(each.also for each in read):
        raise InputError(f"--also {job.labels.also}: --loss {how.name} reads none of its labels.")
    fraction, seed = job.settings.held_out_fraction, job.settings.seed
    return how, *by_prompt(read, lambda each: each.question.prompt, fraction, seed, job.limit)


def asked_rows(job: RewardModelJob, codec: Codec, limit: int | None = None) -> tuple[list[Asked], ReadReport]:
    """The questions of --data and of --also; the report is that of --data.

    limit: tokens; questions whose replies differ only behind them are dropped
    """

    def read(source: str, columns: Sequence[str]) -> tuple[list[Question], ReadReport]:
        if job.labels.by_rule:
            return preferences.rule_verdicts(source, codec)
        return preferences.comparisons(source, codec, parse_columns(columns), limit)

    first, report = read(job.data, job.columns)
    second = read(job.labels.also, job.labels.also_columns)[0] if job.labels.also else []
    return [*(Asked(each, False) for each in first), *(Asked(each, True) for each in second)], report


def as_judgements(
    codec: Codec, how: Reading, rows: Sequence[Asked], job: RewardModelJob, limit: int
) -> tuple[Judgements, int]:
    """(the rows as tensors, how many had a candidate that was cut to fit)."""
    questions = [each.question for each in rows]
    candidates, cut = tokenised(codec, questions, limit)
    weights = [job.labels.also_weight if each.also else 1.0 for each in rows]
    return judged(candidates, questions, how.axes, weights), cut


def trained(
    job: RewardModelJob, classifier: Any, material: Material, run: Run
) -> tuple[Heads | Ensemble, dict[str, Any]]:
    """(the model, neither normalised nor saved; what else there is to tell of it)."""
    count = job.ensemble.members
    if count > 1 and not job.ensemble.shared_trunk:
        members = [member(job, classifier, material, run.stage(f"member-{number}"), number) for number in range(count)]
        return Ensemble(members), {"members": count}
    learned = material.learned
    if job.ensemble.bootstrap:
        drawn = [bootstrap(len(learned), job.settings.seed, head) for head in range(count)]
        counts = [torch.bincount(each, minlength=len(learned)) for each in drawn]
        learned = replace(learned, draws_NH=torch.stack(counts, dim=1).float().to(learned.weights_N.device))
    model, told = one_model(job, classifier, material, learned, run)
    return (Ensemble([model]), {**told, "members": count}) if count > 1 else (model, told)


def member(job: RewardModelJob, classifier: Any, material: Material, stage: Run, number: int) -> Heads:
    """One of several, in a stage of its own: from its own seed, and from its own draw of the labels where asked for."""
    if not stage.finished:
        own = replace(job, settings=replace(job.settings, seed=job.settings.seed + number))
        learned = material.learned
        if job.ensemble.bootstrap:
            learned = learned.select(bootstrap(len(learned), job.settings.seed, number))
        model, told = one_model(own, copy.deepcopy(classifier), material, learned, stage)
        write_folder(stage.path / "model", partial(model.save, codec=material.codec))
        stage.mark_finished({**told, **stage.latest})
    device = next(classifier.parameters()).device
    return RewardModel(load_sequence_classifier(str(stage.path / "model"), device, trust=job.trust), job.numerics)


def bootstrap(questions: int, seed: int, number: int) -> Tensor:
    """[N] indices drawn with replacement: on average a share 1 − 1/e of the questions."""
    return torch.from_numpy(np.random.default_rng([seed, 0xB007, number]).integers(questions, size=questions))


def one_model(
    job: RewardModelJob, classifier: Any, material: Material, learned: Judgements, run: Run
) -> tuple[Heads, dict[str, Any]]:
    """(a model of one or more heads, what its loss learned beside it)."""
    if not job.keep_head:
        start_head(classifier, job.settings.seed)
    heads = classifier.score.weight.shape[0]
    model = (RewardModel if heads == 1 else Heads)(classifier, job.numerics)
    objective = material.reading.objective(material.ratings, 1 if job.labels.auxiliary_axis else heads)
    if objective.learns is not None:
        objective.learns.to(model.bias_H.device)
    train_reward_model(job.settings, model, learned, objective, run)
    ordinal: Any = objective.learns
    told = {} if ordinal is None else {"grades": ordinal.grades.tolist(), "thresholds": ordinal.thresholds.tolist()}
    return model, told


def normalised(
    job: RewardModelJob, model: Heads | Ensemble, material: Material, told: dict[str, Any], engine: Engine
) -> dict[str, Any]:
    """Shifts (and scales) the scores on the sample that was asked for; says which, and where thresholds then lie."""
    asked = job.normalising
    on = asked.normalise_on
    if on == "auto":
        on = "references" if asked.references else "none" if material.reading.rated else "held-out"
    if on == "none" and asked.normalise_deviation is not None:
        raise InputError("--normalise-deviation needs a sample: say which with --normalise-on.")
    if on == "none":
        return {"normalised_on": on}
    rows = material.held_out.candidates if on == "held-out" else sample(job, on, material, engine)
    with torch.no_grad():
        parts = torch.arange(len(rows)).split(64)
        scores_BM = torch.cat([model(rows.select(part)).view(len(part), -1) for part in parts])
    try:
        if isinstance(model, Ensemble):
            model.normalise(scores_BM, deviation=asked.normalise_deviation)
            return {"normalised_on": on}
        gain, shift = model.normalise(scores_BM[:, 0], deviation=asked.normalise_deviation)
    except ValueError as error:
        raise InputError(f"--normalise-deviation: {error}. Give another sample, or leave it out.") from error
    moved = {"thresholds": [gain * each + shift for each in told["thresholds"]]} if "thresholds" in told else {}
    return {"normalised_on": on, **moved}


def sample(job: RewardModelJob, on: str, material: Material, engine: Engine) -> Batch:
    """Replies of the references, or of the model itself to prompts of the data."""
    asked, codec = job.normalising, material.codec
    device = material.learned.weights_N.device
    if on == "references":
        if not asked.references:
            raise InputError("--normalise-on references needs --references: demonstrations, as for sft.")
        pairs = sources.demonstrations(asked.references, codec)[0][: asked.normalise_samples]
        return Batch.of([written(*fit(codec, *pair, material.limit)[:2]) for pair in pairs]).to(device)
    room = material.limit - asked.normalise_new_tokens
    prompts = list(dict.fromkeys(each.question.prompt for each in material.rows))
    fitting = [prompt for prompt in prompts if len(codec.prompt(prompt)) <= room][: asked.normalise_samples]
    if not fitting:
        raise InputError(
            f"--normalise-on samples: no prompt leaves room for {asked.normalise_new_tokens} tokens within "
            f"{material.limit}. Lower --normalise-new-tokens, or raise --max-tokens."
        )
    policy = LanguagePolicy(load_causal_lm(job.model, device, job.trust), 1.0, job.numerics)
    speaker = Speaker(policy, codec, SamplingSettings(asked.normalise_new_tokens), engine=engine)
    return speaker.replies(fitting, job.settings.seed)[0]


def _mark(model: Heads | Ensemble, job: RewardModelJob) -> None:
    """What a reader of the folder must know stands in its config."""
    if isinstance(model, Ensemble):
        return
    if job.labels.auxiliary_axis:
        model.model.config.score_heads = ["preference", job.labels.auxiliary_axis]
    if job.labels.by_rule:
        model.model.config.score_reads = "rule"


def _refuse_odd_combinations(job: RewardModelJob) -> None:
    many, labels = job.ensemble.members > 1, job.labels
    wrong = {
        f"--members is {job.ensemble.members}, expected at least 1": job.ensemble.members < 1,
        "--bootstrap and --shared-trunk need --members of 2 or more": not many
        and (job.ensemble.bootstrap or job.ensemble.shared_trunk),
        "--auxiliary-axis trains one model of two heads; leave out --members": many and bool(labels.auxiliary_axis),
        "--by-rule trains one classifier; leave out --members": many and labels.by_rule,
        "--lora-rank trains one adapter; leave out --members, or give --shared-trunk": many
        and bool(job.lora_rank)
        and not job.ensemble.shared_trunk,
        f"--lora-rank: {job.model} holds an adapter itself, and a new one stands on a whole model. Merge it first "
        "(peft's merge_and_unload)": bool(job.lora_rank) and find_adapter(job.model) is not None,
        "--by-rule reads columns of its own; leave out --columns": labels.by_rule and bool(job.columns),
        "--keep-head goes on with one head; leave out --shared-trunk and --auxiliary-axis": job.keep_head
        and (job.ensemble.shared_trunk or bool(labels.auxiliary_axis)),
        "--normalise-on samples draws from --model, and with --keep-head that is no policy": job.keep_head
        and job.normalising.normalise_on == "samples",
        "--references are not read with another --normalise-on": bool(job.normalising.references)
        and job.normalising.normalise_on not in ("auto", "references"),
    }
    for fault, there in wrong.items():
        if there:
            raise InputError(f"{fault}.")
    if job.keep_head:
        reward_model_config(job.model, job.trust)
