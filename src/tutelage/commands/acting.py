"""What the commands share whose policy acts: a job's model, prompts, reward and environment become what `train` takes.

`ActingJob` has the flags, `prepare_acting` loads what they name, `train_acting` hands it to an algorithm. A command
adds its settings, and whatever else its algorithm needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import torch
import tyro
from torch import Tensor

from tutelage.algorithms.algorithm import Algorithm
from tutelage.data import sources
from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec, written
from tutelage.data.truncate import fit
from tutelage.environments.checks import call_environment, refuse_unusable_environment
from tutelage.execution.native import SamplingSettings
from tutelage.models.pretrained import Trust, context_tokens, device_of
from tutelage.models.trunk import Numerics
from tutelage.policies.language import LanguagePolicy
from tutelage.policies.loading import load_policy
from tutelage.rewards.functions import load_function, refuse_bare_module, refuse_other_arguments
from tutelage.rewards.scoring import Judging, refuse_unusable, scorer
from tutelage.runs.run import Run
from tutelage.training.callbacks import Callbacks
from tutelage.training.engine import engine_of
from tutelage.training.models import language_models
from tutelage.training.speaker import Speaker
from tutelage.training.train import train
from tutelage.trajectory import ActorCritic, Batch, Task, TextEnvironment

LOOKED_BACK_AT = 32  # demonstrations whose likelihood is watched
SAMPLERS = {"vllm": "tutelage.execution.vllm:VLLMSampler"}  # loaded where one is asked for
FLAT = tyro.conf.arg(name="")  # the settings' flags carry no prefix
FLAG = "--environment"


@dataclass(frozen=True)
class ActingJob:
    """The flags of a command whose policy acts; a subclass adds `settings`, those of its algorithm."""

    model: str
    """Model folder or hub id of the policy; as it is loaded, an adapter included, it is the reference."""
    data: str = ""
    """File, folder or hub id of prompts; only an --environment may do without."""
    reward: str = ""
    """Folder of a reward model or an ensemble, or module:function: (prompts, responses) -> numbers; only an
    --environment that pays may do without."""
    environment: str = ""
    """module:function of your own text environment: (codec, prompts) -> environment; "": one reply to each prompt."""
    demonstrations: str = ""
    """Demonstrations, as for sft: how likely they still are is recorded now and then; nothing learns from them."""
    max_new_tokens: int = 64
    temperature: float = 1.0
    """Of sampling and of every log-prob."""
    top_k: int = 0
    """Draw from the likeliest tokens only; 0: all. What was left to choose from is kept and replayed in the update."""
    top_p: float = 1.0
    """Draw from the fewest tokens that hold this much probability; 1: all."""
    sampler: Literal["native", "vllm"] = "native"
    """Who draws the replies; vllm needs `pip install 'tutelage[vllm]'`."""
    lora_rank: int = 0
    """As for sft: of a LoRA adapter that learns instead of the weights, a new one or that of the folder."""
    device: str = "auto"
    judging: Annotated[Judging, FLAT] = field(default_factory=Judging)
    trust: Annotated[Trust, FLAT] = field(default_factory=Trust)
    numerics: Annotated[Numerics, FLAT] = field(default_factory=Numerics)

    @property
    def needs_reward(self) -> bool:
        """Whether --reward may be left out only where an --environment pays."""
        return True


@dataclass(frozen=True)
class Acting:
    """What a job's flags name, loaded: all that `train` takes but the algorithm, its settings and the run.

    classifier: the reward model's, from which a value model starts; None where the reward is none
    counts: what was read and dropped of --data
    """

    speaker: Speaker
    task: Task
    classifier: Any
    callbacks: Callbacks
    counts: dict[str, Any]
    device: torch.device


def prepare_acting(job: ActingJob, run: Run, held_out_reward: str = "") -> Acting:
    """Loads policy, environment, reward and demonstrations. `run.engine` samples where it was given.

    held_out_reward: as `reward`; becomes `Task.held_out`
    raises InputError: where something is missing or unfit, before a model is loaded where that can be said
    """
    refuse_incomplete(job)
    if held_out_reward:
        refuse_unusable(held_out_reward, flag="--held-out-reward")
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
        score, classifier = scorer(job.reward, codec, device, job.judging, job.trust, model)
    held_out = scorer(held_out_reward, codec, device, trust=job.trust, policy=model)[0] if held_out_reward else None
    beside = Callbacks(first_episodes(codec), looked_back_at(job, codec, model, device))
    return Acting(speaker, Task(environment, score, held_out=held_out), classifier, beside, counts, device)


def train_acting(
    algorithm: Algorithm, config: Any, acting: Acting, run: Run, critic: ActorCritic | None = None
) -> dict[str, Any]:
    """Trains and saves; returns the run's summary. critic: where the algorithm needs one"""
    models, speaker = language_models(acting.speaker, critic), acting.speaker
    weights_of_step = train(algorithm, config, acting.task, models, speaker.engine, run, acting.callbacks)
    return {**acting.counts, "steps": run.step_count(), "weights_of_step": weights_of_step, **run.latest}


def refuse_incomplete(job: ActingJob) -> None:
    """What can be said before any model is loaded: InputError where data, reward or environment is missing or unfit."""
    if job.environment:
        load_make(job.environment)
    elif not job.data or (job.needs_reward and not job.reward):
        missing = [flag for flag, value in (("--data", job.data), ("--reward", job.reward)) if not value]
        raise InputError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing. Give prompts and a reward, or an "
            "--environment of your own, which may do without either."
        )
    if job.reward:
        refuse_unusable(job.reward, job.judging)


def environment_of(job: ActingJob, speaker: Speaker, context: int | None) -> tuple[TextEnvironment, dict[str, Any]]:
    """(where the policy acts, what was read and dropped of --data)."""
    prompts, counts = list[str](), dict[str, Any]()
    if job.data:
        prompts, report = sources.prompts(job.data, speaker.codec)
        counts = report.counts()
    if not job.environment:
        return speaker.environment(prompts, context), counts
    return make_environment(job.environment, speaker.codec, prompts, job.max_new_tokens, context), counts


def load_make(name: str) -> Callable[[Codec, list[str]], Any]:
    """The function that `module:function` names, which must take (codec, prompts); InputError where it does not."""
    refuse_bare_module(name, FLAG)
    make = load_function(name, FLAG)
    refuse_other_arguments(make, f"{FLAG} {name}", "(codec, prompts)", "def make{}`, returning a text environment")
    return make


def make_environment(
    name: str, codec: Codec, prompts: Sequence[str], new_tokens: int, context_tokens: int | None
) -> TextEnvironment:
    """What `module:make` returns for the policy's codec and the texts of --data.

    new_tokens, context_tokens: a turn's at most, and the model's, None where it has no limit
    raises InputError: where the function is not found or fails, or returns no environment that can be sampled
    """
    make = load_make(name)
    environment = call_environment(f"{FLAG} {name}: the function", make, codec, list(prompts))
    refuse_unusable_environment(environment, new_tokens, context_tokens, f"{FLAG} {name}")
    return environment


def score_nothing(batch: Batch) -> Tensor:
    """[B, T] zeros: the score of a task whose environment pays."""
    return torch.zeros_like(batch.rewards_BT)


def first_episodes(codec: Codec) -> Callable[[int, Batch, Tensor], list[dict[str, Any]]]:
    """`Callbacks.look`: the first four episodes of every step as samples."""

    def look(step: int, batch: Batch, score_BT: Tensor) -> list[dict[str, Any]]:
        asked, replied = codec.prompts_and_responses(batch.select(range(min(4, len(batch)))))
        scores = (score_BT + batch.rewards_BT).sum(dim=1).tolist()
        return [{"prompt": p, "response": r, "score": s} for p, r, s in zip(asked, replied, scores, strict=False)]

    return look


def looked_back_at(job: ActingJob, codec: Codec, model: Any, device: torch.device) -> Batch | None:
    """The first of --demonstrations that fit, as a batch."""
    if not job.demonstrations:
        return None
    limit = min(512, context_tokens(model) or 512)
    rows = [fit(codec, *pair, limit) for pair in sources.demonstrations(job.demonstrations, codec)[0][:LOOKED_BACK_AT]]
    return Batch.of([written(prompt, completion) for prompt, completion, _ in rows]).to(device)
