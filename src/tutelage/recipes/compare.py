"""Ten ways to learn from what people prefer, from one start, at an equal budget of computation.

All rows begin at one supervised policy; those that act are scored by one reward model on the same prompts, and those
that learn from given replies get the comparisons that the reward model learned from. Each row takes as many steps as
cost what PPO's steps cost, forward and backward passes counted by one rule (`models.flops`); the steps that fit are
found by a run of two steps before. The helpdesk's gold score, which nothing learns from, says what came out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from tutelage.algorithms.ppo_ptx import TextTask
from tutelage.data.errors import InputError
from tutelage.data.helpdesk import demonstrations as desk_demonstrations
from tutelage.data.helpdesk import world
from tutelage.data.judgements import Judgements, judged, tokenised
from tutelage.data.questions import Question
from tutelage.data.questions import chosen as pairs_of
from tutelage.data.records import Comparison
from tutelage.data.tokens import Codec, written
from tutelage.data.unpaired import AXIS, split_into_replies
from tutelage.evaluation.diversity import distinct_fraction
from tutelage.formulas import intervals
from tutelage.models.flops import count_flops
from tutelage.models.pretrained import load_sequence_classifier
from tutelage.recipes import demo
from tutelage.recipes.compare_rows import Row, rows
from tutelage.recipes.demo import DemoConfig
from tutelage.recipes.quick import where_default
from tutelage.rewards import helpdesk
from tutelage.rewards.language import ModelScore, RewardModel
from tutelage.runs.files import read_lines
from tutelage.runs.run import Run
from tutelage.training import stages
from tutelage.training.callbacks import Callbacks
from tutelage.training.engine import engine_of
from tutelage.training.flop_counting import make_counting_engine
from tutelage.training.models import critic_of, language_models
from tutelage.training.speaker import Speaker
from tutelage.training.train import train
from tutelage.trajectory import Batch, Task

NAMES = tuple(rows({}))
STARTS = {"sft": demo.sft_stage, "labels": demo.labels_stage, "reward-model": demo.reward_model_stage}


@dataclass(frozen=True)
class CompareConfig:
    """Settings of the comparison.

    algorithms: the rows     seeds: runs of each     ppo_steps: the budget, as steps of PPO
    learning_rates: of rows where they shall differ from the defaults, which are not tuned: name=rate
    start: the supervised policy, the comparisons and the reward model that all rows share; its own ppo is not used
    """

    world: Literal["helpdesk"] = "helpdesk"
    algorithms: tuple[str, ...] = NAMES
    quick: bool = False
    """One seed and a fifth of the budget: it shows how the comparison works and ranks nothing."""
    seed: int = 0
    seeds: int = 5
    ppo_steps: int = 30
    evaluation_prompts: int = 512
    learning_rates: tuple[str, ...] = ()
    start: DemoConfig = field(default_factory=DemoConfig)


def smaller(config: CompareConfig) -> CompareConfig:
    """What --quick means."""
    default = CompareConfig()
    start = where_default(config.start, default.start, demonstrations=3000, labels=1000)
    start = replace(start, sft=where_default(start.sft, default.start.sft, steps=300))
    return where_default(replace(config, start=start), default, seeds=1, ppo_steps=6, evaluation_prompts=200)


@dataclass(frozen=True)
class Scene:
    """What all rows share. run: the comparison's own folder"""

    config: CompareConfig
    run: Run

    @property
    def start(self) -> DemoConfig:
        return replace(self.config.start, seed=self.config.seed)

    def speaker(self, stage: str = "sft") -> Speaker:
        return demo.loaded(self.start, self.run, stage)

    def task(self, row: Row, codec: Codec) -> Task | Judgements:
        """What a row learns from."""
        if row.learns_from in ("pairs", "replies"):
            return self.judgements(codec, row.learns_from == "replies")
        classifier = load_sequence_classifier(str(self.run.path / "reward-model" / "model"))
        prompts = world.prompts("labels", self.start.ppo_prompts, self.start.seed + 1)
        environment, score = self.speaker().environment(prompts), ModelScore(RewardModel(classifier))
        if row.learns_from == "episodes":
            return Task(environment, score)
        pairs = desk_demonstrations.demonstrations(self.start.demonstrations, self.start.seed)
        tokens = [[token for part in codec.pair(*pair) for token in part] for pair in pairs]
        text = Batch.of([written(each[:1], each[1:]) for each in tokens])
        held_out = range(len(text) - len(text) // 10, len(text))
        return TextTask(
            environment, score, text=text.select(range(held_out.start)), held_out_text=text.select(held_out)
        )

    def judgements(self, codec: Codec, apart: bool) -> Judgements:
        """The comparisons; apart: their replies one by one, as good or bad."""
        told = [Comparison.model_validate(each) for each in read_lines(self.run.path / "labels" / demo.COMPARISONS)]
        questions = [
            Question(each.context.prompt or "", each.texts, pairs_of(each.chosen(), len(each.texts))) for each in told
        ]
        if apart:
            questions = [reply for each in questions for reply in split_into_replies(each)]
        return judged(tokenised(codec, questions)[0], questions, (AXIS,) if apart else ())


def compare(config: CompareConfig, run: Run) -> dict[str, Any]:
    """Runs every stage that is not finished yet; returns the summary."""
    config = smaller(config) if config.quick else config
    known = rows(rates_of(config.learning_rates))
    unknown = [each for each in config.algorithms if each not in known]
    if unknown or not config.algorithms:
        raise InputError(f"--algorithms {' '.join(unknown) or '(none)'}: expected some of {', '.join(known)}.")
    scene = Scene(config, run)
    todo = {name: partial(act, scene.start, run) for name, act in STARTS.items()}
    todo["budget"] = partial(budget_stage, scene, known)
    for seed in range(config.seeds):
        for name in config.algorithms:
            todo[f"{name}-{seed}"] = partial(row_stage, scene, known[name], name, seed)
    stages.run_stages({**todo, "evaluation": partial(evaluation_stage, scene)}, run)
    return {"world": config.world, "seeds": config.seeds, **Run(run.path / "evaluation").summary}


def rates_of(given: Sequence[str]) -> dict[str, float]:
    found = dict[str, float]()
    for each in given:
        name, _, rate = each.partition("=")
        try:
            found[name] = float(rate)
        except ValueError:
            found[name] = 0.0
        if name not in NAMES or not found[name] > 0:
            raise InputError(f"--learning-rates {each}: expected name=rate, such as {NAMES[0]}=1e-4.")
    return found


def budget_stage(scene: Scene, known: dict[str, Row], stage: Run) -> dict[str, Any]:
    """Steps of each row that cost what PPO's steps cost, by a run of two steps of each."""
    costs = {name: cost_of(scene, name, known[name]) for name in dict.fromkeys(["ppo", *scene.config.algorithms])}
    before, each = costs["ppo"]
    total = before + scene.config.ppo_steps * each
    steps = {name: max(1, round((total - before) / each)) for name, (before, each) in costs.items()}
    return {"flops": total, "steps": steps, "flops_a_step": {name: each for name, (_, each) in costs.items()}}


def cost_of(scene: Scene, name: str, row: Row) -> tuple[float, float]:
    """(operations before the first step, operations a step)."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / f"two steps of {name}", row.settings)
        train_row(scene, row, replace(row.settings, steps=2), run)
        first, second = (event["flops"] for event in read_lines(run.path / "events.jsonl"))
        run.mark_finished({})
    if row.learns_from in ("episodes", "text"):  # a step may lack pairs to learn from, or look at more: their mean
        return 0.0, second / 2
    return first - (second - first), second - first


def train_row(scene: Scene, row: Row, settings: Any, stage: Run) -> dict[str, Any]:
    """Trains a row from the shared start; its gold score is noted at every step of a row that acts."""
    speaker = scene.speaker()
    classifier = load_sequence_classifier(str(scene.run.path / "reward-model" / "model"))

    def look(step: int, batch: Batch, score_BT: Tensor) -> None:
        asked, replied = speaker.codec.prompts_and_responses(batch)
        stage.note(gold_score=float(np.mean(helpdesk.gold(asked, replied))))

    critic = critic_of(speaker.policy, classifier) if row.algorithm.critic else None
    models, engine = language_models(speaker, critic), make_counting_engine(engine_of(stage), stage)
    stage.skip_preflight = True  # its passes would count; tests run it for every algorithm
    with count_flops() as count:
        train(row.algorithm, settings, scene.task(row, speaker.codec), models, engine, stage, Callbacks(look, probes=0))
    return {"flops": count.flops, "tokens_sampled": count.tokens_sampled}


def row_stage(scene: Scene, row: Row, name: str, seed: int, stage: Run) -> dict[str, Any]:
    steps = Run(scene.run.path / "budget").summary["steps"][name]
    settings = replace(row.settings, steps=steps, seed=scene.config.seed + seed)
    return {"steps": steps, **train_row(scene, row, settings, stage)}


def evaluation_stage(scene: Scene, stage: Run) -> dict[str, Any]:
    """Every policy and the start on the same unseen prompts, one reply each."""
    config, prompts = scene.config, world.prompts("evaluation", scene.config.evaluation_prompts, scene.config.seed)
    start = scene.speaker()
    before = gold_of(start, prompts, config.seed + 20, stage, "start")
    found = list[dict[str, Any]]()
    for name in config.algorithms:
        runs = [measure_row(scene, f"{name}-{seed}", prompts, start, stage) for seed in range(config.seeds)]
        gold_SP = np.array([each.pop("gold") for each in runs])
        gains = intervals.mean_interval((gold_SP.mean(axis=1) - before[0].mean()).tolist())
        mean = intervals.mean_interval(gold_SP.mean(axis=0).tolist()).row("gold")
        won = intervals.share(((np.sign(gold_SP - before[0]) + 1) / 2).mean(axis=0)).row("win_rate")
        row = {each: float(np.mean([run[each] for run in runs])) for each in runs[0]}
        found.append(
            {"name": name, "gold_mean": mean.pop("gold"), **mean, **won, **gains.row("gain_over_seeds"), **row}
        )
    start_row = intervals.mean_interval(before[0].tolist()).row("gold_start")
    return {**start_row, "distinct_2_start": distinct_fraction(before[1]), "algorithms": found}


def gold_of(
    speaker: Speaker, prompts: list[str], seed: int, stage: Run, name: str
) -> tuple[np.ndarray, list[str], Batch]:
    batch, texts = speaker.replies(prompts, seed, 1, stage.piece, name)
    return np.array(helpdesk.gold(prompts, texts)), texts, batch


def measure_row(scene: Scene, name: str, prompts: list[str], start: Speaker, stage: Run) -> dict[str, Any]:
    """One trained policy, and how far it is from the start."""
    speaker, told = scene.speaker(name), Run(scene.run.path / name).summary
    gold_P, texts, batch = gold_of(speaker, prompts, scene.config.seed + 30, stage, name)
    return {
        "gold": gold_P,
        **stages.sequence_kl(speaker.policy, start.policy, batch),
        "distinct_2": distinct_fraction(texts),
        "tokens": float(batch.mask_BT.sum(dim=1).double().mean()),
        **{each: told[each] for each in ("steps", "tokens_sampled", "flops", "seconds")},
    }
