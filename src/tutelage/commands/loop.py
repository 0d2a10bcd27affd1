"""Iterated online RLHF (Bai et al. 2022, §4.5): the policy that people's answers made asks the next questions.

A round: sample pairs from the newest policy, choose which to ask, wait for the answers, freeze them in a snapshot,
train a fresh reward model on all answers so far, optimise a fresh copy of the first policy against it. Reward models
and policies are made by the jobs of the verbs `reward-model` and `ppo` from files that the stage before left, so that
a run that was killed goes on, and no question is asked twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from tutelage.commands.live import Material, live
from tutelage.commands.loop_settings import LoopConfig, refuse_contradictions
from tutelage.commands.ppo import PPOJob, ppo_job
from tutelage.commands.reward_model import Members, Normalising, RewardModelJob, reward_model_job
from tutelage.data import sources
from tutelage.data.control_tokens import as_value
from tutelage.data.errors import InputError
from tutelage.data.helpdesk import world
from tutelage.data.tokens import Codec
from tutelage.evaluation.rounds import policy_rows, summary_of
from tutelage.execution.native import SamplingSettings
from tutelage.feedback.asking import Label
from tutelage.feedback.store import Store
from tutelage.models.pretrained import load_tokenizer
from tutelage.policies.language import LanguagePolicy
from tutelage.policies.loading import load_policy
from tutelage.recipes.asking import Pairs, asked_of
from tutelage.recipes.demo import DemoConfig, sft_stage
from tutelage.recipes.labelling import labeller_of
from tutelage.rewards import helpdesk
from tutelage.rewards.text_scores import TextScorer
from tutelage.runs.files import write_json, write_lines
from tutelage.runs.run import Run
from tutelage.training import stages
from tutelage.training.engine import Engine, engine_of
from tutelage.training.speaker import Speaker

STORE, COMPARISONS, PROMPTS, LINEAGE = "feedback.db", "comparisons.jsonl", "prompts.jsonl", "feedback.json"


def loop(config: LoopConfig, run: Run) -> dict[str, Any]:
    """Every stage that is not finished yet; returns gold (where it is known), Elo and labels by round."""
    refuse_contradictions(config)
    labeller_of(config.asking.labeller, config.asking.judge_model, config.seed)  # before anything is trained
    with Store.open(run.path / STORE) as store:
        todo = LIVE if config.live else plan(config)
        stages.run_stages({name: partial(act, config, run, store) for name, act in todo.items()}, run)
    if config.live:
        return {name: value for name, value in Run(run.path / "live").summary.items() if name != "seconds"}
    found = [Run(run.path / f"seed-{seed}-evaluation").summary for seed in range(config.seeds)]
    asked = {name: Run(run.path / name).summary for name in plan(config) if name.endswith("-questions")}
    return summary_of([each["policies"] for each in found], asked)


Act = Callable[[LoopConfig, Run, Store, Run], dict[str, Any]]


def plan(config: LoopConfig) -> dict[str, Act]:
    """Every stage by its name, in order."""
    todo: dict[str, Act] = {"policy": first_stage}
    for seed in range(config.seeds):
        laps = [Lap(seed, number) for number in (*range(1, config.rounds + 1), *([0] if config.offline else []))]
        for lap in laps:
            todo[f"{lap.name}-questions"] = partial(questions_stage, lap)
            todo[f"{lap.name}-reward-model"] = partial(reward_model_stage, lap)
            todo[f"{lap.name}-ppo"] = partial(ppo_stage, lap)
        todo[f"seed-{seed}-evaluation"] = partial(evaluation_stage, seed, laps)
    return todo


@dataclass(frozen=True)
class Lap:
    """A round of a seed, from 1 on; round 0 is the comparison, which asks everything at the start."""

    seed: int
    number: int

    @property
    def name(self) -> str:
        return f"seed-{self.seed}-round-{self.number}" if self.number else f"seed-{self.seed}-offline"

    @property
    def family(self) -> str:
        """What the names of all questions begin with whose answers this lap learns from."""
        return f"seed-{self.seed}-round-" if self.number else f"{self.name}-"

    @property
    def before(self) -> str | None:
        """The lap whose policy is asked about; None: the first policy."""
        return Lap(self.seed, self.number - 1).name if self.number > 1 else None

    def count(self, config: LoopConfig) -> int:
        return config.labels_per_round * (1 if self.number else config.rounds)


def folder_of(config: LoopConfig, run: Run, lap: str | None) -> str:
    """The policy after a lap; None: the first one."""
    if lap is not None:
        return str(run.path / f"{lap}-ppo" / "model")
    return config.subject.model or str(run.path / "policy" / "model")


def speaker_of(config: LoopConfig, folder: str, engine: Engine) -> Speaker:
    model, codec = load_policy(folder, torch.device("cpu"), trust=config.trust)
    sampling = SamplingSettings(config.subject.max_new_tokens)
    return Speaker(LanguagePolicy(model), codec, sampling, engine=engine)


def first_stage(config: LoopConfig, run: Run, store: Store, stage: Run) -> dict[str, Any]:
    """The policy that everything starts from, and the prompts of PPO."""
    found: dict[str, Any] = {}
    if not config.subject.model:
        found = sft_stage(DemoConfig(seed=config.seed, sft=config.sft), run, stage)
    prompts = world.prompts("labels", 4000, config.seed + 1) if not config.subject.model else own_prompts(config)[0]
    write_lines(stage.path / PROMPTS, [{"prompt": as_value(each)} for each in prompts])
    return {**found, "prompts": len(prompts)}


def own_prompts(config: LoopConfig) -> tuple[list[str], list[str]]:
    """(prompts to ask about and to train on, prompts to evaluate on): the last tenth of --data, at most
    evaluation_prompts."""
    subject = config.subject
    codec = Codec(load_tokenizer(subject.model, config.trust))
    prompts = list(dict.fromkeys(sources.prompts(subject.data, codec)[0]))
    held = min(config.subject.evaluation_prompts, len(prompts) // 10)
    if held < 1:
        raise InputError(f"--data {config.subject.data} has {len(prompts)} different prompts; 10 are the least.")
    return prompts[:-held], prompts[-held:]


def unseen_prompts(config: LoopConfig) -> list[str]:
    if config.subject.model:
        return own_prompts(config)[1]
    return world.prompts("evaluation", config.subject.evaluation_prompts, config.seed)


def prompts_to_ask(config: LoopConfig, lap: Lap, count: int) -> list[str]:
    """Other customers in every lap of the helpdesk; of --data a shuffle of the lap's own, again where they run out."""
    if not config.subject.model:
        return world.prompts("labels", count, 1000 * (config.seed + lap.seed) + lap.number)
    prompts = own_prompts(config)[0]
    order = np.random.default_rng([config.seed, lap.seed, lap.number]).permutation(len(prompts))
    return [prompts[order[place % len(prompts)]] for place in range(count)]


def questions_stage(lap: Lap, config: LoopConfig, run: Run, store: Store, stage: Run) -> dict[str, Any]:
    """Asks, waits for the answers, withdraws what nobody answered, and freezes what is known."""
    names = store.ask(asked_of(pairs_of(lap, config, run, stage), lap.count(config), config.asking.uniform_fraction))
    labeller = labeller_of(
        config.asking.labeller, config.asking.judge_model, 1000 * config.seed + lap.seed, config.asking.wait_s or None
    )
    answered = labeller.answer(store, names)
    labels = [each for each in store.labels() if each.question.startswith(lap.family)]
    if not labels:  # before anything is withdrawn: the questions stay open for whoever comes later
        raise InputError(
            "nobody answered, so there is nothing to learn from. `tutelage resume` goes on when somebody did."
        )
    withdrawn = store.withdraw(sorted(set(names) & set(store.open_questions())), "the policy has moved on")
    snapshot = store.snapshot([each.id for each in labels])
    write_lines(stage.path / COMPARISONS, [each.comparison.row() for each in labels])
    return {
        "snapshot": snapshot.id,
        "asked": len(names),
        "answered": answered,
        "withdrawn": withdrawn,
        "labels": len(labels),
        **said_of([each for each in labels if each.question in set(names)], config),
    }


def pairs_of(lap: Lap, config: LoopConfig, run: Run, stage: Run) -> Pairs:
    """Two replies of the newest policy to each of more prompts than will be asked, and what the reward model of the lap
    before thinks of them."""
    chooses = lap.before is not None and config.asking.select != "uniform"
    wide = lap.count(config) * (config.asking.candidates_per_label if chooses else 1)
    prompts = prompts_to_ask(config, lap, wide)
    speaker = speaker_of(config, folder_of(config, run, lap.before), engine_of(run))
    seed = 1000 * (config.seed + lap.seed) + lap.number
    _, replies = speaker.replies(prompts, seed, 2, stage.piece)
    scorer = (
        TextScorer.load(str(run.path / f"{lap.before}-reward-model" / "model"), torch.device("cpu"), 512)
        if lap.before
        else None
    )
    return Pairs(
        name=lap.name,
        policies=(lap.before or "first", lap.before or "first"),
        prompts=prompts,
        replies=[(replies[2 * place], replies[2 * place + 1]) for place in range(len(prompts))],
        scores=(lambda texts: scorer.members(texts)[0]) if scorer else None,
        interest=config.asking.select if chooses else "uniform",
        seed=seed,
    )


def said_of(labels: Sequence[Label], config: LoopConfig) -> dict[str, Any]:
    """Who answered, as shares, and how often the answer is gold's."""
    kinds = [each.comparison.verdict.rater_kind for each in labels]
    shares = {f"share_{kind}": kinds.count(kind) / max(1, len(kinds)) for kind in ("human", "synthetic", "model")}
    decided = [each.comparison for each in labels if each.comparison.best is not None]
    if config.subject.model or not decided:
        return shares
    gold = [helpdesk.gold([row.context.prompt or ""] * len(row.texts), list(row.texts)) for row in decided]
    right = [int(np.argmax(each)) == row.best for row, each in zip(decided, gold, strict=True)]
    return {**shares, "agreement_with_gold": float(np.mean(right))}


def reward_model_stage(lap: Lap, config: LoopConfig, run: Run, store: Store, stage: Run) -> dict[str, Any]:
    """A fresh reward model (or several) on every answer so far; mean 0 on replies of the first policy."""
    asked = Run(run.path / f"{lap.name}-questions")
    job = RewardModelJob(
        model=folder_of(config, run, None),
        data=str(asked.path / COMPARISONS),
        ensemble=Members(config.members),
        normalising=Normalising("samples", normalise_new_tokens=config.subject.max_new_tokens),
        settings=replace(config.reward_model, seed=1000 * config.seed + lap.seed),
        trust=config.trust,
    )
    found = reward_model_job(job, stage)
    write_json(stage.path / "model" / LINEAGE, {"snapshot": asked.summary["snapshot"], "store": STORE})
    return {**found, "snapshot": asked.summary["snapshot"]}


def ppo_stage(lap: Lap, config: LoopConfig, run: Run, store: Store, stage: Run) -> dict[str, Any]:
    """From the first policy again: what an earlier reward model was fooled by is forgotten."""
    job = PPOJob(
        model=folder_of(config, run, None),
        data=str(run.path / "policy" / PROMPTS),
        reward=str(run.path / f"{lap.name}-reward-model" / "model"),
        max_new_tokens=config.subject.max_new_tokens,
        settings=replace(config.ppo, seed=1000 * config.seed + lap.seed),
        trust=config.trust,
    )
    return ppo_job(job, stage)


def evaluation_stage(
    seed: int, laps: Sequence[Lap], config: LoopConfig, run: Run, store: Store, stage: Run
) -> dict[str, Any]:
    """One reply of every policy to the same unseen prompts; judged by gold, or by the last reward model."""
    prompts = unseen_prompts(config)
    first = speaker_of(config, folder_of(config, run, None), engine_of(run))
    last = str(run.path / f"{Lap(seed, config.rounds).name}-reward-model" / "model")
    scorer = TextScorer.load(last, torch.device("cpu"), 512, trust=config.trust)
    replies, scores, kl_nats = {}, {}, {}
    for name in [None, *(lap.name for lap in laps)]:
        speaker = speaker_of(config, folder_of(config, run, name), engine_of(run))
        label = "first" if name is None else name
        batch, replies[label] = speaker.replies(prompts, config.seed + 50, 1, stage.piece, label)
        kl_nats[label] = stages.sequence_kl(speaker.policy, first.policy, batch)["kl_nats_per_sequence_exact"]
        judged = zip(prompts, replies[label], strict=True)
        scores[label] = (
            scorer(list(judged))[0] if config.subject.model else np.array(helpdesk.gold(prompts, replies[label]))
        )
    stage.keep_samples(
        0, [{"prompt": p, **{n: texts[i] for n, texts in replies.items()}} for i, p in enumerate(prompts[:8])]
    )
    return {
        "judge": "reward model" if config.subject.model else "gold",
        "policies": policy_rows(scores, replies, kl_nats),
    }


def live_stage(config: LoopConfig, run: Run, store: Store, stage: Run) -> dict[str, Any]:
    """One stage in which people and training go on side by side."""
    first = folder_of(config, run, None)
    speaker, start = (speaker_of(config, first, engine_of(run)) for _ in range(2))
    prompts = sources.prompts(str(run.path / "policy" / PROMPTS), speaker.codec)[0]
    labeller = labeller_of(config.asking.labeller, config.asking.judge_model, config.seed)
    material = Material(speaker, first, start, prompts, unseen_prompts(config))
    return live(config, material, labeller, store, run, stage)


LIVE: dict[str, Act] = {"policy": first_stage, "live": live_stage}
