"""`tutelage sft`: a language model fine-tuned on demonstrations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro

from tutelage.algorithms.sft import SFT, SFTConfig
from tutelage.commands.answers import frozen
from tutelage.data import sources
from tutelage.data.tokens import written
from tutelage.data.truncate import fit
from tutelage.execution.native import SamplingSettings
from tutelage.models.pretrained import (
    Trust,
    context_tokens,
    device_of,
)
from tutelage.models.trunk import Numerics
from tutelage.policies.language import LanguagePolicy
from tutelage.policies.loading import load_policy
from tutelage.runs.run import Run
from tutelage.training.engine import engine_of
from tutelage.training.models import language_models
from tutelage.training.speaker import Speaker
from tutelage.training.train import train
from tutelage.trajectory import Batch

FLAT = tyro.conf.arg(name="")  # the settings' flags carry no prefix


@dataclass(frozen=True)
class SFTJob:
    """Fine-tune a causal language model on demonstrations."""

    model: str
    """Model folder or hub id of any causal language model."""
    data: str
    """File, folder or hub id of demonstrations: prompt-completion, messages, or text."""
    max_tokens: int = 512
    """Longest prompt and completion together; a longer one loses its beginning."""
    lora_rank: int = 0
    """Rank of a LoRA adapter that learns instead of the weights; 0 trains the weights. Of a folder with an adapter: its
    own rank trains that one further, 0 merges it first."""
    device: str = "auto"
    trust: Annotated[Trust, FLAT] = field(default_factory=Trust)
    numerics: Annotated[Numerics, FLAT] = field(default_factory=Numerics)
    settings: Annotated[SFTConfig, FLAT] = field(default_factory=lambda: SFTConfig(learning_rate=1e-4))


def sft_job(job: SFTJob, run: Run) -> dict[str, Any]:
    device = device_of(job.device)
    model, codec = load_policy(job.model, device, job.lora_rank, job.trust)
    pairs, report = sources.demonstrations(frozen(job.data, run), codec)
    limit = min(job.max_tokens, context_tokens(model) or job.max_tokens)
    rows = [fit(codec, prompt, completion, limit) for prompt, completion in pairs]
    speaker = Speaker(LanguagePolicy(model, 1.0, job.numerics), codec, SamplingSettings())
    batch = Batch.of([written(prompt, completion) for prompt, completion, _ in rows]).to(device)
    train(SFT, job.settings, batch, language_models(speaker), engine_of(run), run)
    return {**report.counts(), "rows_truncated": sum(cut for *_, cut in rows), "loss": run.latest["loss"]}
