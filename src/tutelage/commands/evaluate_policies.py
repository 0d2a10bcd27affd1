"""`tutelage evaluate policies A B`: one reply each to the same prompts, several judges (docs/evaluation.md)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from tutelage.data import sources
from tutelage.data.errors import InputError
from tutelage.evaluation.diversity import distinct_fraction
from tutelage.evaluation.in_words import lines_of_judges
from tutelage.evaluation.verdicts import Answers, among_people, asked_of_people, read_answers, refuse_existing
from tutelage.evaluation.win_rates import Judgements, Replies, agreements, by_scores, row
from tutelage.execution.native import SamplingSettings
from tutelage.models.pretrained import Trust, context_tokens, device_of
from tutelage.policies.language import LanguagePolicy
from tutelage.policies.loading import load_policy
from tutelage.rewards import helpdesk
from tutelage.rewards.functions import load_function, names_function, refuse_bare_module
from tutelage.rewards.scoring import Judging, text_classifier
from tutelage.rewards.text_scores import TextScorer, label
from tutelage.runs.files import append_lines
from tutelage.runs.run import Run
from tutelage.training import stages
from tutelage.training.engine import Engine, engine_of
from tutelage.training.speaker import Speaker
from tutelage.trajectory import Batch

GOLD, REWARD_MODEL, PEOPLE = "gold", "reward-model", "people"


@dataclass(frozen=True)
class PoliciesJob:
    """Compare two policies on the same prompts: how often the first one's replies are preferred, by each judge.

    Every rate is paired and has its interval; beside it stands the rate as if both were equally long, and, for judges
    who see both replies at once, the rate over both orders.
    """

    policies: tyro.conf.Positional[tuple[str, str]]
    """The candidate and what it is compared with: model folders or hub ids."""
    judge: tuple[str, ...] = ()
    """gold (the helpdesk's), reward-model, people, or module:function: of (prompts, responses), which returns a number
    each, or of (prompts, firsts, seconds), which returns for each the probability that the first is better."""
    data: str | None = None
    """File, folder or hub id of prompts. Not needed with --verdicts, whose replies are then judged."""
    reward: tuple[str, ...] = ()
    """Reward-model folders: who judges as reward-model, each by itself."""
    verdicts: str | None = None
    """Comparison records on the two policies' replies, answered by people; all judges judge those replies."""
    write_questions: str | None = None
    """Write the pairs here for people, each in both orders: comparison records whose verdicts are to be filled in."""
    max_new_tokens: int = 64
    temperature: float = 1.0
    max_tokens: int = 512
    """Longest prompt and reply together, for a reward model."""
    limit: int | None = None
    """Use only the first prompts."""
    seed: int = 0
    device: str = "auto"
    judging: Annotated[Judging, tyro.conf.arg(name="")] = field(default_factory=Judging)
    trust: Annotated[Trust, tyro.conf.arg(name="")] = field(default_factory=Trust)


@dataclass(frozen=True)
class EvaluateJob:
    """Compare a policy with a baseline by one judge: short for `evaluate policies MODEL BASELINE`.

    Reward models are measured by `evaluate reward-model`, what more labels would bring by `evaluate learning-curve`.
    """

    model: str
    baseline: str
    """Model folder or hub id of what it is compared with, such as the SFT policy."""
    data: str
    """File, folder or hub id of prompts."""
    reward: str
    """Reward-model folder, or module:function: who judges."""
    max_new_tokens: int = 64
    temperature: float = 1.0
    limit: int | None = None
    """Use only the first prompts."""
    seed: int = 0
    device: str = "auto"
    judging: Annotated[Judging, tyro.conf.arg(name="")] = field(default_factory=Judging)
    trust: Annotated[Trust, tyro.conf.arg(name="")] = field(default_factory=Trust)


def evaluate_job(job: EvaluateJob, run: Run) -> dict[str, Any]:
    function = names_function(job.reward)
    if function:
        load_function(job.reward, "--reward")  # says what is wrong with it before a model is loaded
    else:
        refuse_bare_module(job.reward)
    names = ("data", "max_new_tokens", "temperature", "limit", "seed", "device", "judging", "trust")
    same = {name: getattr(job, name) for name in names}
    judge, reward = (job.reward if function else REWARD_MODEL), () if function else (job.reward,)
    return policies_job(PoliciesJob((job.model, job.baseline), (judge,), reward=reward, **same), run)


def policies_job(job: PoliciesJob, run: Run) -> dict[str, Any]:
    refuse_contradictions(job)
    device = device_of(job.device)
    names = (job.policies[0], job.policies[1])
    answers = read_answers(job.verdicts, names) if job.verdicts else None
    replies, about = (answers.replies, {}) if answers else sampled(job, device, engine_of(run))
    if job.write_questions:
        records = asked_of_people(replies, names)
        append_lines(refuse_existing(job.write_questions), [each.row() for each in records])
        print(f"{len(records)} questions on {len(records) // 2} pairs, each in both orders: {job.write_questions}")
    judges = [one for name in job.judge for one in judgements(name, job, replies, answers, device)]
    rows = [row(each, replies) for each in judges]
    if answers:
        rows = [{**each, **(among_people(answers) if each["judge"] == PEOPLE else {})} for each in rows]
    agreed = agreements(judges, replies.prompts)
    texts = zip(replies.prompts, replies.candidate, replies.other, strict=True)
    run.keep_samples(0, [{"prompt": prompt, "after": after, "before": before} for prompt, after, before in texts])
    print("\n".join(lines_of_judges(rows, agreed)))
    return {
        "prompts": len(replies),
        **headline(rows),
        **about,
        **texts_of(replies),
        "judges": rows,
        "agreements": agreed,
    }


def refuse_contradictions(job: PoliciesJob) -> None:
    faults = {
        "--judge is missing: gold, reward-model, people, or module:function": not job.judge and not job.write_questions,
        "--judge reward-model needs --reward FOLDER": REWARD_MODEL in job.judge and not job.reward,
        "--reward is given, and --judge does not name reward-model": bool(job.reward) and REWARD_MODEL not in job.judge,
        "--combine and --rules are about reward models, and none judges": job.judging != Judging() and not job.reward,
        "--judge people needs --verdicts FILE; --write-questions writes what they are to answer": PEOPLE in job.judge
        and not job.verdicts,
        "--data is missing: the prompts, or --verdicts with replies that people judged": not job.data
        and not job.verdicts,
        "--data and --verdicts are both given; the verdicts bring their own prompts": bool(job.data and job.verdicts),
        "the two policies have one name, so verdicts cannot tell them apart": bool(job.verdicts or job.write_questions)
        and job.policies[0] == job.policies[1],
        "a judge is named twice": len(set(job.judge)) < len(job.judge),
    }
    unknown = [each for each in job.judge if each not in (GOLD, REWARD_MODEL, PEOPLE) and ":" not in each]
    faults[f"--judge {', '.join(unknown)}: expected gold, reward-model, people, or module:function"] = bool(unknown)
    for fault, there in faults.items():
        if there:
            raise InputError(f"evaluate policies: {fault}.")
    for name in job.judge:
        if name not in (GOLD, REWARD_MODEL, PEOPLE):
            arguments_of(name, load_function(name, "--judge"))
    if job.write_questions:
        refuse_existing(job.write_questions)


def sampled(job: PoliciesJob, device: torch.device, engine: Engine) -> tuple[Replies, dict[str, Any]]:
    """(one reply of each policy to every prompt, what only fresh replies tell: KL and lengths in tokens)."""
    speakers = [speaker(name, job, device, engine) for name in job.policies]
    prompts = sources.prompts(str(job.data), speakers[0].codec)[0][: job.limit]
    (batch, candidate), (other_batch, other) = (
        replied(each, prompts, seed) for each, seed in zip(speakers, (job.seed + 1, job.seed), strict=True)
    )
    about = {"length_tokens_model": tokens(batch), "length_tokens_baseline": tokens(other_batch)}
    if speakers[0].codec.tokenizer.get_vocab() == speakers[1].codec.tokenizer.get_vocab():
        about |= stages.sequence_kl(speakers[0].policy, speakers[1].policy, batch)
    return Replies(prompts, candidate, other), about


def speaker(name: str, job: PoliciesJob, device: torch.device, engine: Engine) -> Speaker:
    policy, codec = load_policy(name, device, trust=job.trust)
    sampling = SamplingSettings(job.max_new_tokens)
    return Speaker(LanguagePolicy(policy, job.temperature), codec, sampling, engine=engine)


def replied(each: Speaker, prompts: Sequence[str], seed: int) -> tuple[Batch, list[str]]:
    each.environment(prompts, context_tokens(each.policy.model))  # refuses a prompt that leaves no room
    return each.replies(prompts, seed)


def tokens(batch: Batch) -> float:
    return float(batch.mask_BT.sum(dim=1).double().mean())


def judgements(
    name: str, job: PoliciesJob, replies: Replies, answers: Answers | None, device: torch.device
) -> list[Judgements]:
    """What the judge of this name says of the pairs; reward-model stands for each that --reward names."""
    if name == PEOPLE and answers:
        return [answers.people]
    if name == GOLD:
        return [by_function(GOLD, helpdesk.gold, replies)]
    if name != REWARD_MODEL:
        return [by_function(name, load_function(name, "--judge"), replies)]
    found = []
    for folder in job.reward:
        named = REWARD_MODEL if len(job.reward) == 1 else label(folder)
        read = text_classifier(folder, device, job.trust)
        if read is not None:
            found.append(by_function(named, read, replies))
            continue
        scorer = TextScorer.load(folder, device, job.max_tokens, judging=job.judging, trust=job.trust)
        sides = [
            scorer(list(zip(replies.prompts, each, strict=True)))[0] for each in (replies.candidate, replies.other)
        ]
        found.append(by_scores(named, *sides))
    return found


def by_function(name: str, function: Callable[..., Any], replies: Replies) -> Judgements:
    """A function of (prompts, responses) scores; one of (prompts, firsts, seconds) prefers, and is asked both ways."""
    if arguments_of(name, function) == 2:
        sides = [numbers(name, function, replies.prompts, each) for each in (replies.candidate, replies.other)]
        return by_scores(name, *sides)
    first_N = probabilities(name, function, replies.prompts, replies.candidate, replies.other)
    second_N = 1 - probabilities(name, function, replies.prompts, replies.other, replies.candidate)
    return Judgements(name, first_N, second_N, np.full(len(replies), np.nan))


def arguments_of(name: str, function: Callable[..., Any]) -> int:
    """2 for a function that scores, 3 for one that prefers; InputError for any other number of arguments."""
    parameters = inspect.signature(function).parameters.values()
    required = [each for each in parameters if each.default is each.empty and each.kind is not each.VAR_KEYWORD]
    count = 2 if any(each.kind is each.VAR_POSITIONAL for each in required) else len(required)
    if count not in (2, 3):
        raise InputError(
            f"--judge {name} takes {len(required)} arguments; expected (prompts, responses), which returns scores, or "
            "(prompts, firsts, seconds), which returns the probability that the first is better."
        )
    return count


def numbers(name: str, function: Callable[..., Any], *texts: list[str]) -> np.ndarray:
    """One finite number a prompt; a judge that raises or returns anything else stops the evaluation."""
    try:
        values_N = np.array([float(each) for each in function(*map(list, texts))], dtype=np.float64)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"--judge {name} raised {type(error).__name__}: {error} (given {len(texts[0])} prompts and their replies). "
            "It must return one number for each."
        ) from error
    if len(values_N) != len(texts[0]) or not np.isfinite(values_N).all():
        raise InputError(f"--judge {name} returned {values_N!s:.80}; expected {len(texts[0])} finite numbers.")
    return values_N


def probabilities(name: str, function: Callable[..., Any], *texts: list[str]) -> np.ndarray:
    values_N = numbers(name, function, *texts)
    if values_N.min() < 0 or values_N.max() > 1:
        raise InputError(f"--judge {name} returned {values_N.min():g} to {values_N.max():g}; expected 0 to 1.")
    return values_N


def headline(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first judge's numbers, for the top of summary.json."""
    if not rows:
        return {}
    ends = ("", "_low", "_high", "_n")
    wanted = [f"{name}{end}" for name in ("win_rate", "length_controlled") for end in ends]
    scores = {"score_candidate": "score_model", "score_other": "score_baseline"}
    found = {name: rows[0][name] for name in wanted if name in rows[0]}
    return {**found, **{new: rows[0][name] for name, new in scores.items() if name in rows[0]}}


def texts_of(replies: Replies) -> dict[str, float]:
    return {
        "distinct_2_model": distinct_fraction(replies.candidate),
        "distinct_2_baseline": distinct_fraction(replies.other),
    }
