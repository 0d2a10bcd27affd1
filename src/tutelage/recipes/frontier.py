"""Choosing an objective under competing constraints: reward mix × KL budget × rule breaks, on the helpdesk.

Its customers like to be promised what the desk may not promise, so a reward model learned from their choices and the
rule pull apart. From one SFT policy and one reward model short runs of PPO go out, each with its own price of a broken
rule and its own KL budget; beside fixed prices stand runs whose price is a Lagrange multiplier that keeps the share of
broken rules under a limit (`algorithms.multiplier`). What comes back is a table of points and which of them are
Pareto-optimal. Every run is a stage of its own, so that an interrupted sweep goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tutelage.algorithms.multiplier import Charged, Multiplier
from tutelage.algorithms.ppo import PPO, PPOConfig
from tutelage.algorithms.reward_model import RewardModelConfig
from tutelage.algorithms.sft import SFTConfig
from tutelage.data.errors import InputError
from tutelage.data.helpdesk import world
from tutelage.data.records import compared
from tutelage.evaluation.frontier import chosen, points
from tutelage.feedback import labellers
from tutelage.models.pretrained import load_sequence_classifier
from tutelage.policies.language import LanguagePolicy, exact_kl
from tutelage.recipes.demo import COMPARISONS, DemoConfig, loaded, reward_model_stage, sft_stage
from tutelage.recipes.quick import where_default
from tutelage.rewards import helpdesk
from tutelage.rewards.language import ModelScore, RewardModel
from tutelage.runs.files import write_lines
from tutelage.runs.run import Run
from tutelage.training import stages
from tutelage.training.callbacks import Callbacks
from tutelage.training.engine import engine_of
from tutelage.training.models import critic_of, language_models
from tutelage.training.speaker import Speaker
from tutelage.training.train import train
from tutelage.trajectory import Batch, Task, in_parts

FIRST = "first-policy"


@dataclass(frozen=True)
class FrontierConfig:
    """Settings of the sweep.

    quick: a few minutes on two cores: two prices, two budgets, shorter runs, where settings stand at their defaults
    rule_weights: prices of a broken rule that are tried, in units of the reward model's score
    kl_budgets: nats a sequence that are tried; the adaptive controller aims at them
    keep_breaks_under: share of replies that may break the rule, for the runs with a multiplier; 0 leaves them out
    multiplier_rate: how much the price rises in a step in which every reply breaks the rule
    promise_pleases: what a promise that may not be made is worth to a customer (the desk's auditor: -1.1)
    """

    seed: int = 0
    quick: bool = False
    seeds: int = 1
    rule_weights: tuple[float, ...] = (0.0, 0.5, 1.0, 3.0)
    kl_budgets: tuple[float, ...] = (2.0, 4.0, 8.0)
    keep_breaks_under: float = 0.02
    multiplier_rate: float = 1.0
    promise_pleases: float = 1.0
    labels: int = 1000
    evaluation_prompts: int = 256
    sft: SFTConfig = field(default_factory=lambda: SFTConfig(steps=500, batch_size=32, learning_rate=3e-3))
    reward_model: RewardModelConfig = field(
        default_factory=lambda: RewardModelConfig(epochs=3, batch_size=16, learning_rate=2e-3, warm_up=20)
    )
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            steps=30,
            trajectories=48,
            epochs=2,
            learning_rate=7e-4,
            value_learning_rate=1e-3,
            kl_coefficient=0.1,
            kl_horizon=100.0,
            truncation_score=-2.0,
        )
    )

    @property
    def demo(self) -> DemoConfig:
        """What the stages that are shared with the demo read."""
        return DemoConfig(seed=self.seed, labels=self.labels, sft=self.sft, reward_model=self.reward_model)


@dataclass(frozen=True)
class Setting:
    """One objective. weight: the price of a broken rule; None: the multiplier's. budget: nats a sequence."""

    weight: float | None
    budget: float
    seed: int

    @property
    def name(self) -> str:
        price = "kept" if self.weight is None else f"weight-{self.weight:g}"
        return f"{price}-kl-{self.budget:g}-seed-{self.seed}"


def smaller(config: FrontierConfig) -> FrontierConfig:
    """What --quick means."""
    default = FrontierConfig()
    inner = replace(
        config,
        sft=where_default(config.sft, default.sft, steps=350),
        ppo=where_default(config.ppo, default.ppo, steps=20, trajectories=32),
    )
    return where_default(
        inner, default, rule_weights=(0.0, 1.0), kl_budgets=(3.0, 8.0), labels=600, evaluation_prompts=128
    )


def frontier(config: FrontierConfig, run: Run) -> dict[str, Any]:
    """Runs every stage that is not finished yet; returns the points, which are Pareto-optimal, and the one to take."""
    refuse_nonsense(config)
    config = smaller(config) if config.quick else config
    stages.run_stages({name: partial(act, config, run) for name, act in plan(config).items()}, run)
    rows = points({name: Run(run.path / name).summary for name in plan(config) if name not in SHARED})
    taken = chosen(rows, config.keep_breaks_under)
    best = {f"best_{name}": value for name, value in (taken or {}).items() if isinstance(value, (int, float, str))}
    accuracy = Run(run.path / "reward-model").summary["accuracy"]
    return {
        "keep_breaks_under": config.keep_breaks_under,
        "reward_model_accuracy": accuracy,
        "runs": len(rows) - 1,
        "pareto_optimal": sum(row["pareto_optimal"] for row in rows),
        **best,
        "objectives": rows,
    }


def refuse_nonsense(config: FrontierConfig) -> None:
    faults = {
        "--rule-weights are prices: 0 or more": any(each < 0 for each in config.rule_weights),
        "--kl-budgets are nats above 0": not config.kl_budgets or any(each <= 0 for each in config.kl_budgets),
        f"--keep-breaks-under {config.keep_breaks_under:g} is a share: from 0, which leaves it out, below 1": not 0
        <= config.keep_breaks_under
        < 1,
        f"--multiplier-rate {config.multiplier_rate:g}: expected above 0": config.multiplier_rate <= 0,
        "--rule-weights or --keep-breaks-under: one of them, else nothing is tried": not config.rule_weights
        and not config.keep_breaks_under,
        "--seeds is 1 or more": config.seeds < 1,
    }
    for fault, there in faults.items():
        if there:
            raise InputError(f"frontier: {fault}.")


Act = Callable[[FrontierConfig, Run, Run], dict[str, Any]]


def plan(config: FrontierConfig) -> dict[str, Act]:
    """Every stage by its name, in order."""
    weights = [*config.rule_weights, *([None] if config.keep_breaks_under else [])]
    settings = [Setting(w, k, seed) for seed in range(config.seeds) for k in config.kl_budgets for w in weights]
    return {**SHARED, FIRST: first_stage, **{each.name: partial(setting_stage, each) for each in settings}}


def policy_stage(config: FrontierConfig, run: Run, stage: Run) -> dict[str, Any]:
    return sft_stage(config.demo, run, stage)


def labels_stage(config: FrontierConfig, run: Run, stage: Run) -> dict[str, Any]:
    """Two replies of the first policy to each prompt; customers choose, who like to be promised things."""
    speaker, rng = loaded(config.demo, run, "sft"), np.random.default_rng([config.seed, 2])
    prompts = world.prompts("labels", config.labels, config.seed)
    _, replies = speaker.replies(prompts, config.seed + 1, 2, stage.piece)
    customers = labellers.panel(pleased(config))
    rows = []
    for place, prompt in enumerate(prompts):
        pair, shown = replies[2 * place : 2 * place + 2], rng.permutation(2).tolist()
        person = customers[int(rng.integers(len(customers)))]
        choice = shown[person.choose(prompt, [pair[each] for each in shown], rng)]
        rows.append(compared(prompt, pair, choice, shown, rater=person.name, rater_kind="synthetic"))
    write_lines(stage.path / COMPARISONS, [row.row() for row in rows])
    broken = [helpdesk.breaks_policy([row.context.prompt or ""] * 2, list(row.texts)) for row in rows]
    differing = [(each, row.chosen()) for each, row in zip(broken, rows, strict=True) if each[0] != each[1]]
    preferred = float(np.mean([each[place] for each, place in differing])) if differing else float("nan")
    return {"labels": len(rows), **({} if np.isnan(preferred) else {"broken_preferred_fraction": preferred})}


def judged_stage(config: FrontierConfig, run: Run, stage: Run) -> dict[str, Any]:
    return reward_model_stage(config.demo, run, stage)


SHARED: dict[str, Act] = {"sft": policy_stage, "labels": labels_stage, "reward-model": judged_stage}


def pleased(config: FrontierConfig) -> Callable[[list[str], list[str]], list[float]]:
    """What a customer thinks of a reply: the auditor's score, but for promises."""
    return helpdesk.opinion({"forbidden": config.promise_pleases})


def broken(speaker: Speaker, batch: Batch) -> Tensor:
    """[B] 1 where a reply promises what may not be promised."""
    return torch.tensor(helpdesk.breaks_policy(*speaker.codec.prompts_and_responses(batch)), dtype=torch.float32)


def first_stage(config: FrontierConfig, run: Run, stage: Run) -> dict[str, Any]:
    """The policy that every run starts from."""
    speaker = loaded(config.demo, run, "sft")
    return {"kind": "first policy", "weight": 0.0, "budget": 0.0, **looked_at(config, speaker, speaker.policy, stage)}


def setting_stage(setting: Setting, config: FrontierConfig, run: Run, stage: Run) -> dict[str, Any]:
    """PPO on this objective, then its replies to unseen prompts."""
    speaker, initial = (loaded(config.demo, run, "sft") for _ in range(2))
    classifier = load_sequence_classifier(str(run.path / "reward-model" / "model"))
    kept = setting.weight is None
    rate = config.multiplier_rate if kept else 0.0
    multiplier = Multiplier(setting.weight or 0.0, config.keep_breaks_under, rate)
    score = Charged(ModelScore(RewardModel(classifier)), partial(broken, speaker), multiplier)
    stage.stateful["multiplier"] = multiplier

    def look(step: int, batch: Batch, score_BT: Tensor) -> None:
        """The score was charged with the price from before this batch; the next one is charged with the new price."""
        share = float(broken(speaker, batch).mean())
        stage.note(broken_fraction=share, multiplier=multiplier.value)
        asked, replied = speaker.codec.prompts_and_responses(batch)
        stage.keep_samples(step, [{"prompt": asked[i], "response": replied[i]} for i in range(2)])
        multiplier.saw(share)

    seed = 1000 * config.seed + setting.seed
    settings = replace(config.ppo, seed=seed, kl_target_nats=setting.budget)
    prompts = world.prompts("labels", 64 * config.ppo.steps, config.seed + 7)
    critic = critic_of(speaker.policy, classifier)
    task, models = Task(speaker.environment(prompts), score), language_models(speaker, critic)
    train(PPO, settings, task, models, engine_of(stage), stage, Callbacks(look))
    return {
        "kind": "multiplier" if kept else "fixed weight",
        "weight": multiplier.value,
        "budget": setting.budget,
        **looked_at(config, speaker, initial.policy, stage),
    }


@torch.no_grad()
def looked_at(
    config: FrontierConfig, speaker: Speaker, initial: LanguagePolicy, stage: Run
) -> Mapping[str, Sequence[float]]:
    """One reply to each unseen prompt, with the same random numbers for every policy: numbers a prompt."""
    prompts = world.prompts("evaluation", config.evaluation_prompts, config.seed)
    batch, replies = speaker.replies(prompts, config.seed + 50, 1, stage.piece, "looked-at")
    (kl_BT,) = in_parts(lambda part: (exact_kl(speaker.policy, initial, part),), batch, 1024)
    shown = [{"prompt": prompts[i], "response": replies[i]} for i in range(4)]
    stage.keep_samples(config.ppo.steps, shown)
    return {
        "pleased": pleased(config)(prompts, replies),
        "gold": helpdesk.gold(prompts, replies),
        "broken": [float(each) for each in helpdesk.breaks_policy(prompts, replies)],
        "kl_nats": kl_BT.sum(dim=1).tolist(),
    }
