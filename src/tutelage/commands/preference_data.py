"""What `tutelage dpo` and `tutelage kto` read: a policy, and what people said of replies to prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro

from tutelage.commands.answers import frozen
from tutelage.data import preferences
from tutelage.data.columns import parse_columns
from tutelage.data.errors import InputError
from tutelage.data.judgements import Judgements, judged, tokenised
from tutelage.data.questions import Question
from tutelage.data.split import by_prompt
from tutelage.execution.native import SamplingSettings
from tutelage.models.pretrained import Trust, context_tokens, device_of
from tutelage.models.trunk import Numerics
from tutelage.policies.language import LanguagePolicy
from tutelage.policies.loading import load_policy
from tutelage.runs.run import Run
from tutelage.training.engine import engine_of
from tutelage.training.speaker import Speaker

FLAT = tyro.conf.arg(name="")  # the settings' flags carry no prefix


@dataclass(frozen=True)
class PreferenceJob:
    """A policy, and the data that it learns from without acting."""

    model: str
    """Model folder or hub id of the policy; as it is loaded, an adapter included, it is the reference."""
    data: str
    """File, folder or hub id of comparisons or of replies rated good or bad (docs/data.md), or a labelling project's
    folder: what people answered there."""
    columns: tuple[str, ...] = ()
    """What the data's columns mean: a YAML file, or name=value ... (docs/data.md). Not needed for known shapes."""
    max_tokens: int = 512
    """Longest prompt and reply together: the oldest turns go first, then the front; the reply's end stays."""
    limit: int | None = None
    """Use only this many questions, in the order of a seeded shuffle of the prompts."""
    lora_rank: int = 0
    """As for sft: of a LoRA adapter that learns instead of the weights, a new one or that of the folder."""
    device: str = "auto"
    trust: Annotated[Trust, FLAT] = field(default_factory=Trust)
    numerics: Annotated[Numerics, FLAT] = field(default_factory=Numerics)


@dataclass(frozen=True)
class Material:
    """The policy with its codec, what it learns from and what is held out (`held_rows`: the same as questions).

    counts: for the summary: what was read, dropped, left out and cut
    """

    speaker: Speaker
    learned: Judgements
    held_out: Judgements
    held_rows: list[Question]
    counts: dict[str, Any]

    @property
    def prompts(self) -> list[str]:
        """Of the questions that are held out."""
        return [each.prompt for each in self.held_rows]


Choose = Callable[[Sequence[Question]], tuple[list[Question], Counter[str]]]
"""All questions -> (those that are learned from, as they are learned from; how many were left out, by reason)."""


def load_material(
    job: PreferenceJob, choose: Choose, axes: Sequence[str], held_out_fraction: float, seed: int, run: Run
) -> Material:
    """Loads the policy and reads --data. axes: of the ratings that are learned from.

    raises InputError: where nothing is left to learn from, before anything is written
    """
    device = device_of(job.device)
    model, codec = load_policy(job.model, device, job.lora_rank, job.trust)
    speaker = Speaker(LanguagePolicy(model, 1.0, job.numerics), codec, SamplingSettings(), engine=engine_of(run))
    limit = min(job.max_tokens, context_tokens(model) or job.max_tokens)
    read, report = preferences.comparisons(frozen(job.data, run), codec, parse_columns(job.columns), limit)
    chosen, left_out = choose(read)
    if not chosen:
        reasons = "; ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise InputError(f"--data {job.data}: nothing to learn from in its {len(read)} questions: {reasons}.")
    learned, held_out = by_prompt(chosen, lambda each: each.prompt, held_out_fraction, seed, job.limit)
    parts, truncated = list[Judgements](), 0
    for rows in (learned, held_out):
        candidates, cut = tokenised(codec, rows, limit)
        parts.append(judged(candidates, rows, axes).to(device))
        truncated += cut
    counts = {
        **report.counts(),
        "left_out_why": dict(left_out),
        "rows_used": len(learned) + len(held_out),
        "rows_truncated": truncated,
        "held_out": len(held_out),
    }
    if left_out:
        print("left out: " + "; ".join(f"{count} {reason}" for reason, count in left_out.items()))
    return Material(speaker, parts[0], parts[1], held_out, counts)
