"""The stages on anyone's model and data: what each verb of the command line does.

A job is a frozen dataclass, its fields are the verb's flags, and its function takes it with a fresh run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro

from tutelage.algorithms.best_of_n import best_of_n, chosen
from tutelage.algorithms.ppo import PPOConfig
from tutelage.algorithms.reward_model import Choices, RewardModelConfig, choice_loss, pair_loss, scores_of
from tutelage.algorithms.sft import SFTConfig
from tutelage.data import sources
from tutelage.data.columns import parse_columns
from tutelage.data.errors import InputError
from tutelage.data.pretrained import (
    context_tokens,
    device_of,
    load_causal_lm,
    load_sequence_classifier,
    load_tokenizer,
)
from tutelage.data.questions import Pair, Question
from tutelage.data.split import by_prompt
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
from tutelage.rewards.language import ModelScore, RewardModel, TextScore, text_reward
from tutelage.runs.files import write_folder
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, Score

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
    """Rank of a LoRA adapter that learns instead of the weights; 0 trains the weights."""
    device: str = "auto"
    numerics: Annotated[Numerics, FLAT] = field(default_factory=Numerics)
    settings: Annotated[SFTConfig, FLAT] = field(default_factory=lambda: SFTConfig(learning_rate=1e-4))


@dataclass(frozen=True)
class RewardModelJob:
    """Train a reward model on comparisons."""

    model: str
    """Model folder or hub id; its trunk starts the reward model, with a fresh head."""
    data: str
    """File, folder or hub id of comparisons: prompt/chosen/rejected, chosen/rejected, or HH-RLHF text."""
    columns: tuple[str, ...] = ()
    """What the data's columns mean: a YAML file, or name=value ... (docs/data.md). Not needed for the shapes above."""
    max_tokens: int = 512
    """Longest prompt and reply together: the oldest turns go first, then the front; the reply's end stays."""
    limit: int | None = None
    """Use only this many comparisons, in the order of a seeded shuffle of the prompts."""
    device: str = "auto"
    numerics: Annotated[Numerics, FLAT] = field(default_factory=Numerics)
    settings: Annotated[RewardModelConfig, FLAT] = field(default_factory=lambda: RewardModelConfig(learning_rate=3e-4))


@dataclass(frozen=True)
class PPOJob:
    """Optimise a policy against a reward by PPO with a KL penalty to where it started."""

    model: str
    """Model folder or hub id of the policy; a frozen copy (or the model without its adapter) is the reference."""
    data: str
    """File, folder or hub id of prompts."""
    reward: str
    """Reward-model folder, or module:function that takes (prompts, responses) and returns numbers."""
    held_out_reward: str = ""
    """A second reward, from labels that the first did not see, for --stop-at-peak; nothing is optimised against it."""
    max_new_tokens: int = 64
    temperature: float = 1.0
    """Of sampling and of every log-prob."""
    value_head: bool = False
    """A value head on the policy instead of a value model of its own (which starts as the reward model)."""
    sampler: Literal["native", "vllm"] = "native"
    """Who draws the replies; vllm needs `pip install 'tutelage[vllm]'`."""
    lora_rank: int = 0
    device: str = "auto"
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
    """Reward-model folder, or module:function."""
    n: int = 4
    max_new_tokens: int = 64
    temperature: float = 1.0
    limit: int | None = None
    """Use only the first prompts."""
    seed: int = 0
    device: str = "auto"


def sft_job(job: SFTJob, run: Run) -> dict[str, Any]:
    device = device_of(job.device)
    model, codec = loaded_policy(job.model, device, job.lora_rank)
    pairs, report = sources.demonstrations(job.data, codec)
    limit = min(job.max_tokens, context_tokens(model) or job.max_tokens)
    rows = [fit(codec, prompt, completion, limit) for prompt, completion in pairs]
    speaker = stages.Speaker(LanguagePolicy(model, 1.0, job.numerics), codec, SamplingSettings())
    batch = Batch.of([written(prompt, completion) for prompt, completion, _ in rows]).to(device)
    stages.run_sft(job.settings, speaker, batch, run)
    return {**report.counts(), "rows_truncated": sum(cut for *_, cut in rows), "loss": run.latest["loss"]}


def reward_model_job(job: RewardModelJob, run: Run) -> dict[str, Any]:
    device = device_of(job.device)
    codec = Codec(load_tokenizer(job.model))
    classifier = load_sequence_classifier(job.model, device)
    questions, report = sources.comparisons(job.data, codec, parse_columns(job.columns))
    comparisons = of_one_width(questions)
    limit = min(job.max_tokens, context_tokens(classifier) or job.max_tokens)
    fraction, seed = job.settings.held_out_fraction, job.settings.seed
    learned, held_out = by_prompt(comparisons, lambda each: each.prompt, fraction, seed, job.limit)
    parts, cut = zip(*(choices_of(codec, rows, limit) for rows in (learned, held_out)), strict=True)
    loss = pair_loss if parts[0].width == 2 else choice_loss
    learned_rows, held_out_rows = (part.to(device) for part in parts)
    model, found = stages.run_reward_model(
        job.settings, classifier, learned_rows, held_out_rows, loss, run, job.numerics
    )
    model.normalise(scores_of(model, held_out_rows).flatten(), mean=0.0)
    write_folder(run.path / "model", partial(model.save, codec=codec))
    low, high = intervals.wilson(found.right, found.questions)
    summary = {
        **report.counts(),
        "rows_used": len(learned) + len(held_out),
        "rows_truncated": sum(cut),
        "accuracy": found.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "held_out": found.questions,
        "length_rule_accuracy": length_rule(held_out),
    }
    print(f"{sum(cut)} rows truncated to {limit} tokens: oldest turns first, then the front; the reply's end stays")
    print(
        f"held-out accuracy {found.accuracy:.3f} [{low:.3f}, {high:.3f}] on {found.questions} comparisons; "
        f"preferring the longer reply: {summary['length_rule_accuracy']:.3f}"
    )
    return summary


def of_one_width(questions: Sequence[Question]) -> list[Question]:
    """As `Choices` holds them: bests of one K, where all are that; else every judged pair as a question of its own."""
    if len({len(each.responses) for each in questions}) == 1 and all(each.choice is not None for each in questions):
        return list(questions)
    pairs = [
        Question(
            each.prompt, (each.responses[i], each.responses[j]), (Pair(0, 1, target, margin),), columns=each.columns
        )
        for each in questions
        for i, j, target, margin in each.pairs
    ]
    if not pairs:
        raise InputError("the data has ratings and no comparisons; reward-model learns from comparisons.")
    return pairs


def choices_of(codec: Codec, rows: Sequence[Question], limit: int) -> tuple[Choices, int]:
    """(choices, how many rows had a candidate that was cut to fit)."""
    width = len(rows[0].responses)
    fitted = [fit(codec, row.prompt, response, limit) for row in rows for response in row.responses]
    batch = Batch.of([written(prompt, response) for prompt, response, _ in fitted])
    targets = [row.pairs[0].target if width == 2 else float(row.choice or 0) for row in rows]
    cut = sum(any(cut for *_, cut in fitted[i : i + width]) for i in range(0, len(fitted), width))
    return Choices(batch, torch.tensor(targets), width), cut


def length_rule(rows: Sequence[Question]) -> float:
    """Accuracy of preferring the longest reply in characters; equal lengths share, a tie is a half."""
    right = []
    for row in rows:
        lengths = np.array([len(response) for response in row.responses])
        longest = lengths == lengths.max()
        right.append(0.5 if row.best is None else float(longest[row.best]) / longest.sum())
    return float(np.mean(right))


def ppo_job(job: PPOJob, run: Run) -> dict[str, Any]:
    device = device_of(job.device)
    model, codec = loaded_policy(job.model, device, job.lora_rank)
    policy, drawn_by = LanguagePolicy(model, job.temperature, job.numerics), SAMPLERS[job.sampler]
    speaker = stages.Speaker(policy, codec, SamplingSettings(job.max_new_tokens), drawn_by=drawn_by)
    prompts, report = sources.prompts(job.data, codec)
    environment = speaker.environment(prompts, context_tokens(model))
    score, classifier = scorer(job.reward, codec, device)
    critic = stages.critic_of(speaker.policy, None if job.value_head else classifier)

    def look(step: int, batch: Batch, score_BT: torch.Tensor) -> None:
        asked, replied = codec.prompts_and_responses(batch.select(range(min(4, len(batch)))))
        scores = score_BT.sum(dim=1).tolist()
        rows = zip(asked, replied, scores, strict=False)
        run.keep_samples(step, [{"prompt": p, "response": r, "score": s} for p, r, s in rows])

    held_out = scorer(job.held_out_reward, codec, device)[0] if job.held_out_reward else None
    stages.run_ppo(job.settings, speaker, critic, score, environment, run, stages.Beside(look, held_out))
    return {**report.counts(), "steps": job.settings.steps, **run.latest}


def best_of_n_job(job: BestOfNJob, run: Run) -> dict[str, Any]:
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
    mean, low, high = intervals.mean_interval(top)
    first = intervals.mean_interval(scores_PN[:, 0].tolist())[0]
    return {
        "n": job.n,
        "prompts": len(prompts),
        "score_mean": mean,
        "score_low": low,
        "score_high": high,
        "score_mean_of_one": first,
        "kl_nats_at_most": kl_nats(job.n),
    }


def asked(job: BestOfNJob, device: torch.device) -> tuple[stages.Speaker, list[str], Score]:
    """A policy that is only sampled, the prompts it is asked, and who scores the replies."""
    policy, codec = loaded_policy(job.model, device)
    speaker = stages.Speaker(LanguagePolicy(policy, job.temperature), codec, SamplingSettings(job.max_new_tokens))
    prompts = sources.prompts(job.data, codec)[0][: job.limit]
    refuse_crowded([codec.prompt(prompt) for prompt in prompts], job.max_new_tokens, context_tokens(policy))
    return speaker, prompts, scorer(job.reward, codec, device)[0]


def loaded_policy(name: str, device: torch.device, lora_rank: int = 0) -> tuple[Any, Codec]:
    model = load_causal_lm(name, device)
    return (with_lora(model, lora_rank) if lora_rank else model), Codec(load_tokenizer(name))


def scorer(reward: str, codec: Codec, device: torch.device) -> tuple[Score, Any | None]:
    """(score, the classifier behind it if it is a reward model whose tokens are the policy's)."""
    if ":" in reward and not Path(reward).exists():
        return TextScore(text_reward(reward), codec, f"the reward function {reward}"), None
    classifier = load_sequence_classifier(reward, device)
    if load_tokenizer(reward).get_vocab() != codec.tokenizer.get_vocab():
        raise InputError(
            f"--reward {reward}: its tokenizer is not the policy's, so it would read other tokens than were written. "
            "Train the reward model from the policy's own model."
        )
    return ModelScore(RewardModel(classifier)), classifier
