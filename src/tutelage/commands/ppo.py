"""`tutelage ppo`: a policy optimized against a reward by PPO with a KL penalty."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import torch
import tyro

from tutelage.algorithms.ppo import PPO, PPOConfig
from tutelage.commands.text_environment import load_make, make_environment, score_nothing
from tutelage.data import sources
from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec, written
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
from tutelage.rewards.functions import load_function
from tutelage.rewards.scoring import Judging, refuse_unusable, scorer
from tutelage.runs.run import Run
from tutelage.training.callbacks import Callbacks
from tutelage.training.engine import engine_of
from tutelage.training.models import critic_of, language_models
from tutelage.training.speaker import Speaker
from tutelage.training.train import train
from tutelage.trajectory import Batch, Task, TextEnvironment

LOOKED_BACK_AT = 32  # demonstrations whose likelihood is watched
SAMPLERS = {"vllm": "tutelage.execution.vllm:VLLMSampler"}  # loaded where one is asked for
FLAT = tyro.conf.arg(name="")  # the settings' flags carry no prefix


@dataclass(frozen=True)
class PPOJob:
    """Optimise a policy against a reward by PPO with a KL penalty to where it started."""

    model: str
    """Model folder or hub id of the policy; as it is loaded, an adapter included, it is the reference."""
    data: str = ""
    """File, folder or hub id of prompts; only an --environment may do without."""
    reward: str = ""
    """Folder of a reward model or an ensemble, or module:function: (prompts, responses) -> numbers; only an
    --environment that pays may do without."""
    environment: str = ""
    """module:function of your own text environment: (codec, prompts) -> environment; "": one reply to each prompt."""
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


def ppo_job(job: PPOJob, run: Run) -> dict[str, Any]:
    refuse_incomplete(job)
    if job.held_out_reward:
        refuse_unusable(job.held_out_reward, flag="--held-out-reward")
    device = device_of(job.device)
    model, codec = load_policy(job.model, device, job.lora_rank, job.trust)
    policy, engine = LanguagePolicy(model, job.temperature, job.numerics), engine_of(run)
    if job.sampler != "native":
        engine = replace(engine, make_text_sampler=load_function(SAMPLERS[job.sampler], "--sampler"))
    if job.top_k < 0 or not 0.0 < job.top_p <= 1.0:
        raise InputError(f"--top-k {job.top_k} --top-p {job.top_p}: expected 0 or more, and above 0 up to 1.")
    sampling = SamplingSettings(job.max_new_tokens, top_k=job.top_k, top_p=job.top_p)
    speaker = Speaker(policy, codec, sampling, engine=engine)
    environment, counts = environment_of(job, speaker, context_tokens(model))
    score, classifier = score_nothing, None
    if job.reward:
        score, classifier = scorer(job.reward, codec, device, job.judging, job.trust)
    critic = critic_of(speaker.policy, None if job.value_head else classifier)

    def look(step: int, batch: Batch, score_BT: torch.Tensor) -> list[dict[str, Any]]:
        asked, replied = codec.prompts_and_responses(batch.select(range(min(4, len(batch)))))
        scores = (score_BT + batch.rewards_BT).sum(dim=1).tolist()
        return [{"prompt": p, "response": r, "score": s} for p, r, s in zip(asked, replied, scores, strict=False)]

    held_out = scorer(job.held_out_reward, codec, device, trust=job.trust)[0] if job.held_out_reward else None
    task, models = Task(environment, score, held_out=held_out), language_models(speaker, critic)
    beside = Callbacks(look, looked_back_at(job, codec, model, device))
    weights_of_step = train(PPO, job.settings, task, models, engine, run, beside)
    return {**counts, "steps": run.step_count(), "weights_of_step": weights_of_step, **run.latest}


def refuse_incomplete(job: PPOJob) -> None:
    """What can be said before any model is loaded: InputError where data, reward or environment is missing or unfit."""
    if job.environment:
        load_make(job.environment)
    elif not (job.data and job.reward):
        missing = [flag for flag, value in (("--data", job.data), ("--reward", job.reward)) if not value]
        raise InputError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing. Give prompts and a reward, or an "
            "--environment of your own, which may do without either."
        )
    if job.reward:
        refuse_unusable(job.reward, job.judging)


def environment_of(job: PPOJob, speaker: Speaker, context: int | None) -> tuple[TextEnvironment, dict[str, Any]]:
    """(where the policy acts, what was read and dropped of --data)."""
    prompts, counts = list[str](), dict[str, Any]()
    if job.data:
        prompts, report = sources.prompts(job.data, speaker.codec)
        counts = report.counts()
    if not job.environment:
        return speaker.environment(prompts, context), counts
    return make_environment(job.environment, speaker.codec, prompts, job.max_new_tokens, context), counts


def looked_back_at(job: PPOJob, codec: Codec, model: Any, device: torch.device) -> Batch | None:
    """The first of --demonstrations that fit, as a batch."""
    if not job.demonstrations:
        return None
    limit = min(512, context_tokens(model) or 512)
    rows = [fit(codec, *pair, limit) for pair in sources.demonstrations(job.demonstrations, codec)[0][:LOOKED_BACK_AT]]
    return Batch.of([written(prompt, completion) for prompt, completion, _ in rows]).to(device)
