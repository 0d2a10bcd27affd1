"""The stages on anyone's model and data: what each verb of the command line does.

A job is a frozen dataclass, its fields are the verb's flags, and its function takes it with a fresh run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
import tyro

from tutelage.algorithms.best_of_n import best_of_n, chosen
from tutelage.algorithms.ppo import PPOConfig
from tutelage.algorithms.sft import SFTConfig
from tutelage.data import sources
from tutelage.data.adapters import find_adapter
from tutelage.data.errors import InputError
from tutelage.data.pretrained import (
    NOTHING,
    Trust,
    context_tokens,
    device_of,
    load_adapter_to_train,
    load_causal_lm,
    load_tokenizer,
    refuse_missing_rows,
)
from tutelage.data.tokens import Codec, written
from tutelage.data.truncate import fit
from tutelage.data.trunk import Numerics
from tutelage.environments.language import refuse_crowded
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.execution.vllm import VLLMSampler
from tutelage.formulas import intervals
from tutelage.formulas.best_of_n import kl_nats
from tutelage.policies.language import LanguagePolicy, with_lora
from tutelage.recipes import stages
from tutelage.recipes.answers import frozen
from tutelage.recipes.scoring import Judging, refuse_unusable, scorer
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, Score

LOOKED_BACK_AT = 32  # demonstrations whose likelihood is watched
SAMPLERS = {"native": NativeSampler, "vllm": VLLMSampler}
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


@dataclass(frozen=True)
class PPOJob:
    """Optimise a policy against a reward by PPO with a KL penalty to where it started."""

    model: str
    """Model folder or hub id of the policy; as it is loaded, an adapter included, it is the reference."""
    data: str
    """File, folder or hub id of prompts."""
    reward: str
    """Folder of a reward model or an ensemble, or module:function: (prompts, responses) -> numbers."""
    held_out_reward: str = ""
    """A second reward, from labels that the first did not see, for --stop-at-peak; nothing is optimised against it."""
    demonstrations: str = ""
    """Demonstrations, as for sft: how likely they still are is recorded now and then; nothing learns from them."""
    max_new_tokens: int = 64
    temperature: float = 1.0
    """Of sampling and of every log-prob."""
    top_k: int = 0
    """Draw from the likeliest tokens only; 0: all. What was left to choose from is kept and replayed in the update."""
    top_p: float = 1.0
    """Draw from the fewest tokens that hold this much probability; 1: all."""
    value_head: bool = False
    """A value head on the policy instead of a value model of its own (which starts as the reward model)."""
    sampler: Literal["native", "vllm"] = "native"
    """Who draws the replies; vllm needs `pip install 'tutelage[vllm]'`."""
    lora_rank: int = 0
    """As for sft: of a LoRA adapter that learns instead of the weights, a new one or that of the folder."""
    device: str = "auto"
    judging: Annotated[Judging, FLAT] = field(default_factory=Judging)
    trust: Annotated[Trust, FLAT] = field(default_factory=Trust)
    numerics: Annotated[Numerics, FLAT] = field(default_factory=Numerics)
    settings: Annotated[PPOConfig, FLAT] = field(
        default_factory=lambda: PPOConfig(learning_rate=1e-5, value_learning_rate=1e-4)
    )


@dataclass(frozen=True)
class BestOfNJob:
    """Sample n replies to each prompt and keep the one that the reward likes best."""

    model: str
    data: str
    """File, folder or hub id of prompts."""
    reward: str
    """Folder of a reward model or an ensemble, or module:function."""
    n: int = 4
    max_new_tokens: int = 64
    temperature: float = 1.0
    limit: int | None = None
    """Use only the first prompts."""
    seed: int = 0
    device: str = "auto"
    judging: Annotated[Judging, FLAT] = field(default_factory=Judging)
    trust: Annotated[Trust, FLAT] = field(default_factory=Trust)


def sft_job(job: SFTJob, run: Run) -> dict[str, Any]:
    device = device_of(job.device)
    model, codec = loaded_policy(job.model, device, job.lora_rank, job.trust)
    pairs, report = sources.demonstrations(frozen(job.data, run), codec)
    limit = min(job.max_tokens, context_tokens(model) or job.max_tokens)
    rows = [fit(codec, prompt, completion, limit) for prompt, completion in pairs]
    speaker = stages.Speaker(LanguagePolicy(model, 1.0, job.numerics), codec, SamplingSettings())
    batch = Batch.of([written(prompt, completion) for prompt, completion, _ in rows]).to(device)
    stages.run_sft(job.settings, speaker, batch, run)
    return {**report.counts(), "rows_truncated": sum(cut for *_, cut in rows), "loss": run.latest["loss"]}


def ppo_job(job: PPOJob, run: Run) -> dict[str, Any]:
    refuse_unusable(job.reward, job.judging)
    if job.held_out_reward:
        refuse_unusable(job.held_out_reward, flag="--held-out-reward")
    device = device_of(job.device)
    model, codec = loaded_policy(job.model, device, job.lora_rank, job.trust)
    policy, drawn_by = LanguagePolicy(model, job.temperature, job.numerics), SAMPLERS[job.sampler]
    if job.top_k < 0 or not 0.0 < job.top_p <= 1.0:
        raise InputError(f"--top-k {job.top_k} --top-p {job.top_p}: expected 0 or more, and above 0 up to 1.")
    sampling = SamplingSettings(job.max_new_tokens, top_k=job.top_k, top_p=job.top_p)
    speaker = stages.Speaker(policy, codec, sampling, drawn_by=drawn_by)
    prompts, report = sources.prompts(job.data, codec)
    environment = speaker.environment(prompts, context_tokens(model))
    score, classifier = scorer(job.reward, codec, device, job.judging, job.trust)
    critic = stages.critic_of(speaker.policy, None if job.value_head else classifier)

    def look(step: int, batch: Batch, score_BT: torch.Tensor) -> list[dict[str, Any]]:
        asked, replied = codec.prompts_and_responses(batch.select(range(min(4, len(batch)))))
        scores = score_BT.sum(dim=1).tolist()
        return [{"prompt": p, "response": r, "score": s} for p, r, s in zip(asked, replied, scores, strict=False)]

    held_out = scorer(job.held_out_reward, codec, device, trust=job.trust)[0] if job.held_out_reward else None
    beside = stages.Beside(look, held_out, looked_back_at(job, codec, model, device))
    weights_of_step = stages.run_ppo(job.settings, speaker, critic, score, environment, run, beside)
    return {**report.counts(), "steps": run.step_count(), "weights_of_step": weights_of_step, **run.latest}


def looked_back_at(job: PPOJob, codec: Codec, model: Any, device: torch.device) -> Batch | None:
    """The first of --demonstrations that fit, as a batch."""
    if not job.demonstrations:
        return None
    limit = min(512, context_tokens(model) or 512)
    rows = [fit(codec, *pair, limit) for pair in sources.demonstrations(job.demonstrations, codec)[0][:LOOKED_BACK_AT]]
    return Batch.of([written(prompt, completion) for prompt, completion, _ in rows]).to(device)


def best_of_n_job(job: BestOfNJob, run: Run) -> dict[str, Any]:
    refuse_unusable(job.reward, job.judging)
    device = device_of(job.device)
    speaker, prompts, score = asked(job, device)
    batch, scores_PN = best_of_n(
        speaker.sampler(job.seed), speaker.environment(prompts), score, range(len(prompts)), job.n
    )
    best = chosen(batch, scores_PN, job.n)
    replies = speaker.codec.prompts_and_responses(best)[1]
    top = scores_PN.max(dim=1).values.tolist()
    rows = zip(prompts, replies, top, strict=True)
    run.keep_samples(0, [{"prompt": p, "completion": r, "score": s} for p, r, s in rows])
    of_n = intervals.mean_interval(top).row("score")
    of_one = intervals.mean_interval(scores_PN[:, 0].tolist()).row("score_mean_of_one")
    return {
        "n": job.n,
        "prompts": len(prompts),
        "score_mean": of_n.pop("score"),
        **of_n,
        **of_one,
        "kl_nats_at_most": kl_nats(job.n),
    }


def asked(job: BestOfNJob, device: torch.device) -> tuple[stages.Speaker, list[str], Score]:
    """A policy that is only sampled, the prompts it is asked, and who scores the replies."""
    policy, codec = loaded_policy(job.model, device, trust=job.trust)
    speaker = stages.Speaker(LanguagePolicy(policy, job.temperature), codec, SamplingSettings(job.max_new_tokens))
    prompts = sources.prompts(job.data, codec)[0][: job.limit]
    refuse_crowded([codec.prompt(prompt) for prompt in prompts], job.max_new_tokens, context_tokens(policy))
    return speaker, prompts, scorer(job.reward, codec, device, job.judging, job.trust)[0]


def loaded_policy(name: str, device: torch.device, lora_rank: int = 0, trust: Trust = NOTHING) -> tuple[Any, Codec]:
    """A policy and its codec. With a rank a LoRA adapter learns: that of the folder where `name` holds one, else a new
    one on the model's weights. Without, an adapter of the folder is merged and every weight learns."""
    if lora_rank < 0:
        raise InputError(f"--lora-rank is {lora_rank}, expected 0 (train the weights) or the rank of an adapter.")
    if lora_rank and find_adapter(name):
        model = load_adapter_to_train(name, lora_rank, device, trust)
    else:
        model = load_causal_lm(name, device, trust)
        model = with_lora(model, lora_rank) if lora_rank else model
    codec = Codec(load_tokenizer(name, trust))
    refuse_missing_rows(model, codec.tokenizer, name)
    return model, codec
