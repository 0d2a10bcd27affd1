"""The laboratory of overoptimisation on the helpdesk (Gao, Schulman & Hilton 2022).

The gold score labels comparisons; proxies of several sizes learn from few or many of them; best-of-n and PPO without a
KL penalty optimise each proxy, and gold says what came of it. Nothing is added as noise: a proxy errs because it saw
too little. Every proxy and every run is a stage of its own, so that an interrupted laboratory goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tutelage.algorithms.ppo import PPO, PPOConfig
from tutelage.algorithms.reward_model import RewardModelConfig
from tutelage.algorithms.sft import SFTConfig
from tutelage.data.errors import InputError
from tutelage.data.helpdesk import world
from tutelage.evaluation.overoptimisation import Checked, Optimised, best_of_n_points, found_in
from tutelage.formulas import uncertainty
from tutelage.models.pretrained import load_sequence_classifier
from tutelage.policies.language import LanguagePolicy, exact_kl
from tutelage.recipes.demo import DemoConfig, loaded, sft_stage
from tutelage.recipes.proxies import TESTED, Pool, proxy_stage
from tutelage.recipes.quick import where_default
from tutelage.rewards import helpdesk
from tutelage.rewards.ensemble import CombinedScore, Ensemble
from tutelage.rewards.language import ModelScore, RewardModel
from tutelage.runs.files import read_lines
from tutelage.runs.run import Run
from tutelage.training import stages
from tutelage.training.callbacks import Callbacks
from tutelage.training.engine import engine_of
from tutelage.training.models import critic_of, language_models
from tutelage.training.speaker import Speaker
from tutelage.training.train import train
from tutelage.trajectory import Batch, Score, Task, in_parts

POLICY, POOL, SAMPLES, TRUNK = "sft", "comparisons", "best-of-n", "trunk"


@dataclass(frozen=True)
class Setting:
    """One kind of proxy. labels: comparisons it learns from; width: of its layers."""

    labels: int
    width: int


@dataclass(frozen=True)
class OveroptimiseConfig:
    """Settings of the laboratory.

    quick: one kind of proxy, 60 labels, over six seeds whose runs go far, so that the fall of gold can be told from
        noise; no ensembles, no stopping, best of 1,000, where settings stand at their defaults
    seeds: proxies and runs at the fewest labels; further_seeds: of the other settings, and of best-of-n everywhere
    labels: comparisons of the proxies as wide as the policy
    widths: of the proxies with most labels     members: of the ensembles, at the fewest labels; 1 leaves ensembles out
    uncertainty_coefficient: λ of mean − λ · variance
    best_of: largest n, on so many best_of_prompts
    evaluation_prompts: unseen ones; gold's peak is chosen on one half of them and the fall measured on the other
    evaluate_every: steps of PPO between looks at them
    patience: steps of `stop_at_peak`, measured at the fewest labels with held-out models from held_out_labels others
    """

    seed: int = 0
    quick: bool = False
    seeds: int = 5
    further_seeds: int = 3
    labels: tuple[int, ...] = (100, 400, 2000)
    widths: tuple[int, ...] = (32, 64, 128)
    members: int = 4
    uncertainty_coefficient: float = 0.5
    pool: int = 6000
    best_of: int = 10000
    best_of_prompts: int = 8
    evaluation_prompts: int = 128
    evaluate_every: int = 4
    patience: int = 12
    held_out_labels: tuple[int, ...] = (200, 1000)
    sft: SFTConfig = field(default_factory=lambda: SFTConfig(steps=500, batch_size=32, learning_rate=3e-3))
    reward_model: RewardModelConfig = field(
        default_factory=lambda: RewardModelConfig(epochs=3, batch_size=16, learning_rate=2e-3, warm_up=10)
    )
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            steps=64,
            trajectories=64,
            epochs=1,
            learning_rate=5e-4,
            value_learning_rate=1e-3,
            kl_coefficient=0.0,
            truncation_score=-2.0,
        )
    )

    @property
    def policy_width(self) -> int:
        return max(self.widths)

    @property
    def settings(self) -> list[Setting]:
        """Label counts at the policy's width, then widths at the largest label count."""
        by_labels = [Setting(labels, self.policy_width) for labels in self.labels]
        return by_labels + [Setting(self.labels[-1], w) for w in sorted(self.widths, reverse=True)[1:]]

    def demo(self, width: int) -> DemoConfig:
        """The demo's settings for a model of this width."""
        return DemoConfig(seed=self.seed, width=width, sft=self.sft)


def smaller(config: OveroptimiseConfig) -> OveroptimiseConfig:
    """What --quick means."""
    default = OveroptimiseConfig()
    inner = replace(
        config,
        sft=where_default(config.sft, default.sft, steps=350),
        ppo=where_default(config.ppo, default.ppo, steps=48, trajectories=32, learning_rate=1e-3),
    )
    return where_default(
        inner,
        default,
        seeds=6,
        further_seeds=2,
        labels=(60,),
        widths=(128,),
        members=1,
        pool=2000,
        best_of=1000,
        best_of_prompts=6,
        evaluation_prompts=128,
        evaluate_every=6,
        held_out_labels=(),
    )


def overoptimise(config: OveroptimiseConfig, run: Run) -> dict[str, Any]:
    """Trains and optimises whatever is not finished yet; returns curves, fits and peaks."""
    config = smaller(config) if config.quick else config
    refuse_too_few(config)
    stages.run_stages({name: partial(act, config, run) for name, act in plan(config).items()}, run)
    return found_in(
        {name: Run(run.path / name).summary for name in plan(config)},
        [vars(setting) for setting in config.settings],
        config.held_out_labels,
    )


def refuse_too_few(config: OveroptimiseConfig) -> None:
    """InputError where there are too few evaluation prompts or comparisons for what is measured on them."""
    if config.evaluation_prompts < FEWEST_PROMPTS:
        raise InputError(
            f"--evaluation-prompts {config.evaluation_prompts}: expected {FEWEST_PROMPTS} or more. The peak is chosen "
            "on one half of them, and the fall is measured on the other, which needs two."
        )
    seen = max(max(config.labels), min(config.labels) + max(config.held_out_labels, default=0))
    if config.pool < TESTED + seen:
        raise InputError(
            f"--pool {config.pool}: expected {TESTED + seen} or more: {seen} labels of a proxy (and of a held-out "
            f"model), and {TESTED} comparisons to test on."
        )


FEWEST_PROMPTS = 4

Act = Callable[[OveroptimiseConfig, Run, Run], dict[str, Any]]


def plan(config: OveroptimiseConfig) -> dict[str, Act]:
    """Every stage by its name, in order."""
    todo: dict[str, Act] = {POLICY: policy_stage, POOL: pool_stage, SAMPLES: samples_stage}
    for width in sorted(config.widths)[:-1]:
        todo[f"{TRUNK}-{width}"] = partial(trunk_stage, width)
    for seed in range(config.seeds):
        for setting in config.settings if seed < config.further_seeds else config.settings[:1]:
            todo[named("proxy", setting, seed)] = partial(learned_stage, setting, seed, 0)
            todo[named("ppo", setting, seed)] = partial(single_stage, setting, seed)
        fewest = config.settings[0]
        for member in range(1, config.members):
            todo[named(f"member-{member}", fewest, seed)] = partial(learned_stage, fewest, seed, member)
        for name, combine in combinations(config).items():
            todo[named(f"ppo-{name}", fewest, seed)] = partial(ensemble_stage, combine, fewest, seed)
        for labels in config.held_out_labels:
            todo[named(f"held-out-{labels}", fewest, seed)] = partial(held_out_stage, labels, fewest, seed)
            todo[named(f"ppo-stopped-{labels}", fewest, seed)] = partial(stopped_stage, labels, fewest, seed)
    return todo


def named(what: str, setting: Setting, seed: int) -> str:
    return f"{what}-{setting.labels}-labels-width-{setting.width}-seed-{seed}"


def combinations(config: OveroptimiseConfig) -> dict[str, Callable[[Tensor], Tensor]]:
    if config.members < 2:
        return {}
    weighted = partial(uncertainty.uncertainty_weighted, coefficient=config.uncertainty_coefficient)
    return {"minimum": uncertainty.worst_case, "uwo": weighted}


def policy_stage(config: OveroptimiseConfig, run: Run, stage: Run) -> dict[str, Any]:
    return sft_stage(config.demo(config.policy_width), run, stage)


def trunk_stage(width: int, config: OveroptimiseConfig, run: Run, stage: Run) -> dict[str, Any]:
    """A smaller proxy starts from a language model of its own size, as large ones do."""
    return sft_stage(config.demo(width), run, stage)


def pool_stage(config: OveroptimiseConfig, run: Run, stage: Run) -> dict[str, Any]:
    """Two replies of the policy to each prompt, and which of them gold prefers."""
    speaker = loaded(config.demo(config.policy_width), run, POLICY)
    prompts = world.prompts("labels", config.pool, config.seed)
    _, replies = speaker.replies(prompts, config.seed + 1, 2, stage.piece)
    gold_PK = np.array(helpdesk.gold([p for p in prompts for _ in range(2)], replies)).reshape(-1, 2)
    pool = Pool(prompts, [tuple(replies[2 * i : 2 * i + 2]) for i in range(len(prompts))], gold_PK)
    pool.write(stage.path)
    return {"comparisons": len(prompts), "ties_fraction": float((gold_PK[:, 0] == gold_PK[:, 1]).mean())}


def samples_stage(config: OveroptimiseConfig, run: Run, stage: Run) -> dict[str, Any]:
    """Many replies of the policy to a few unseen prompts, for best-of-n."""
    prompts, gold_PN, _ = many(config, run, stage)
    return {"prompts": len(prompts), "replies": gold_PN.size, "gold_mean": float(gold_PN.mean())}


def many(config: OveroptimiseConfig, run: Run, stage: Run) -> tuple[list[str], np.ndarray, list[Batch]]:
    """(prompts, their replies' gold [P, N], the replies of each prompt), drawn once and kept in the stage."""
    speaker = loaded(config.demo(config.policy_width), run, POLICY)
    prompts = world.prompts("evaluation", config.evaluation_prompts + config.best_of_prompts, config.seed)
    prompts, gold, batches = prompts[config.evaluation_prompts :], [], []
    for place, prompt in enumerate(prompts):
        batch, replies = speaker.replies([prompt], config.seed + 100 + place, config.best_of, stage.piece, f"p{place}")
        gold.append(helpdesk.gold([prompt] * len(replies), replies))
        batches.append(batch)
    return prompts, np.array(gold), batches


def learned_stage(
    setting: Setting, seed: int, member: int, config: OveroptimiseConfig, run: Run, stage: Run
) -> dict[str, Any]:
    """A proxy; for the first of an ensemble also what the best of n by it are worth."""
    pool = Pool.read(run.path / POOL)
    places = pool.seen(setting.labels, (config.seed, seed), member)
    trunk = POLICY if setting.width == config.policy_width else f"{TRUNK}-{setting.width}"
    settings = replace(config.reward_model, seed=1000 * (config.seed + 1) + 10 * seed + member)
    found = proxy_stage(settings, pool, places, run.path / trunk / "model", stage)
    if member == 0 and seed < config.further_seeds:
        _, gold_PN, batches = many(config, run, Run(run.path / SAMPLES))
        score = ModelScore(proxy(run, stage.name))
        proxy_PN = np.array([score(batch).sum(dim=1).double().numpy() for batch in batches])
        found |= {"best_of_n": best_of_n_points(proxy_PN, gold_PN)}
    return found


def held_out_stage(
    labels: int, setting: Setting, seed: int, config: OveroptimiseConfig, run: Run, stage: Run
) -> dict[str, Any]:
    """A reward model as wide as the policy, from labels that the proxy of this seed did not see."""
    pool = Pool.read(run.path / POOL)
    places = pool.unseen(setting.labels, labels, (config.seed, seed))
    settings = replace(config.reward_model, seed=1000 * (config.seed + 1) + 10 * seed + 9)
    return proxy_stage(settings, pool, places, run.path / POLICY / "model", stage)


def proxy(run: Run, stage: str) -> RewardModel:
    return RewardModel(load_sequence_classifier(str(run.path / stage / "model")))


def single_stage(setting: Setting, seed: int, config: OveroptimiseConfig, run: Run, stage: Run) -> dict[str, Any]:
    single = proxy(run, named("proxy", setting, seed))
    return optimised(config, run, stage, Judges(ModelScore(single), single, seed))


def ensemble_stage(
    combine: Callable[[Tensor], Tensor],
    setting: Setting,
    seed: int,
    config: OveroptimiseConfig,
    run: Run,
    stage: Run,
) -> dict[str, Any]:
    names = ["proxy", *(f"member-{member}" for member in range(1, config.members))]
    members = [proxy(run, named(name, setting, seed)) for name in names]
    return optimised(config, run, stage, Judges(CombinedScore(Ensemble(members), combine), members[0], seed))


def stopped_stage(
    labels: int, setting: Setting, seed: int, config: OveroptimiseConfig, run: Run, stage: Run
) -> dict[str, Any]:
    """The single proxy's run once more, ended where a reward model from other labels says that it is past its peak."""
    single, held_out = (proxy(run, named(name, setting, seed)) for name in ("proxy", f"held-out-{labels}"))
    settings = replace(config, ppo=replace(config.ppo, stop_at_peak=config.patience))
    return optimised(settings, run, stage, Judges(ModelScore(single), single, seed, ModelScore(held_out)))


@dataclass(frozen=True)
class Judges:
    """score: optimised; first: a proxy whose trunk is the policy's, which starts the critic; held_out: sees only."""

    score: Score
    first: RewardModel
    seed: int
    held_out: Score | None = None


def optimised(config: OveroptimiseConfig, run: Run, stage: Run, judges: Judges) -> dict[str, Any]:
    """PPO on a score; gold, proxy and KL on the evaluation prompts before it, now and then, and after it."""
    speaker, initial = (loaded(config.demo(config.policy_width), run, POLICY) for _ in range(2))
    look = Look(config, speaker, initial.policy, judges.score, stage)
    settings = replace(config.ppo, seed=1000 * config.seed + judges.seed)
    prompts = world.prompts("labels", 64 * config.ppo.steps, config.seed + 7)
    critic = critic_of(speaker.policy, judges.first.model)
    beside = Callbacks(look.now_and_then, probes=0)  # its looks are at fixed prompts
    task = Task(speaker.environment(prompts), judges.score, held_out=judges.held_out)
    train(PPO, settings, task, language_models(speaker, critic), engine_of(stage), stage, beside)
    done = len(read_lines(stage.path / "events.jsonl"))
    look(done)
    rows = read_lines(stage.path / "samples.jsonl")
    return Optimised.of(rows, steps=done).row()


@dataclass(frozen=True)
class Look:
    """One look at a policy in training: a reply to each evaluation prompt, with the same random numbers every time."""

    config: OveroptimiseConfig
    speaker: Speaker
    initial: LanguagePolicy
    score: Score
    stage: Run

    def now_and_then(self, step: int, batch: Batch, score_BT: Tensor) -> None:
        if step % self.config.evaluate_every == 0:
            self(step)

    @torch.no_grad()
    def __call__(self, step: int) -> None:
        prompts = world.prompts("evaluation", self.config.evaluation_prompts, self.config.seed)
        batch, replies = self.speaker.replies(prompts, self.config.seed + 50)
        (kl_BT,) = in_parts(lambda part: (exact_kl(self.speaker.policy, self.initial, part),), batch, 1024)
        checked = Checked(
            gold=helpdesk.gold(prompts, replies),
            proxy=self.score(batch).sum(dim=1).tolist(),
            kl_nats=kl_BT.sum(dim=1).tolist(),
        )
        rows = checked.rows(prompts, replies)
        self.stage.keep_samples(step, [{"probe": place, **row} for place, row in enumerate(rows)])
