"""Ziegler et al. 2019, §3.1 in small: continue a story so that it sounds positive.

Real pretrained weights, real sentences behind the gold score (P(positive) of a classifier), a reward model from
best-of-4 choices by gold, PPO with the adaptive KL controller. Beside its points stands the frontier of the optimal
policy π* ∝ ρ e^{r/β} for the gold score itself, estimated from many samples of ρ.
Against the paper: openings of 32 and continuations of 64 tokens; labels collected once, not online; a value model of
its own. Gold is P(positive), not its logarithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from torch import Tensor

from tutelage.algorithms.ppo import PPO, PPOConfig
from tutelage.algorithms.reward_losses import CHOICE
from tutelage.algorithms.reward_model import RewardModelConfig
from tutelage.data.errors import InputError
from tutelage.data.judgements import judged
from tutelage.data.letters import last_cut
from tutelage.data.questions import Question, chosen
from tutelage.data.tokens import Codec
from tutelage.environments.language import Language
from tutelage.evaluation.diversity import distinct_fraction
from tutelage.execution import kept
from tutelage.execution.native import SamplingSettings
from tutelage.formulas import optimal
from tutelage.formulas.intervals import mean_interval
from tutelage.models.pretrained import Trust, load_causal_lm, load_sequence_classifier, load_tokenizer
from tutelage.policies.language import LanguagePolicy
from tutelage.rewards.language import ModelScore, RewardModel
from tutelage.rewards.sentiment import Sentiment, fitted
from tutelage.runs.files import read_lines, write_folder
from tutelage.runs.run import Run
from tutelage.training import stages
from tutelage.training.callbacks import Callbacks
from tutelage.training.engine import Engine, engine_of
from tutelage.training.models import critic_of, language_models
from tutelage.training.reward_models import run_reward_model
from tutelage.training.speaker import Speaker
from tutelage.training.train import train
from tutelage.trajectory import Batch, Finish, Key, Task, group_keys

BETAS = (1.0, 0.5, 0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.065, 0.05, 0.04, 0.03, 0.02)
SMALLEST_SAMPLE = 100  # effective samples below which an estimate of π* is not shown


@dataclass(frozen=True)
class SentimentConfig:
    """model: folder or hub id. prompts: a text whose lines open stories. sentiment_data: folder of the SST-2 files."""

    model: str
    prompts: str
    sentiment_data: str
    seed: int = 0
    labels: int = 5000
    opening_tokens: int = 32
    new_tokens: int = 64
    candidates: int = 4
    evaluation_prompts: int = 512
    frontier_prompts: int = 8
    frontier_samples: int = 2048
    device: str = "cpu"
    trust: Annotated[Trust, tyro.conf.arg(name="")] = field(default_factory=Trust)
    reward_model: RewardModelConfig = field(
        default_factory=lambda: RewardModelConfig(
            epochs=2, batch_size=16, learning_rate=5e-4, warm_up=50, tokens_at_once=12288
        )
    )
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            steps=60,
            trajectories=128,
            epochs=2,
            minibatches=2,
            learning_rate=2e-4,
            value_learning_rate=1e-3,
            kl_coefficient=0.25,
            kl_target_nats=7.5,
            kl_horizon=1000.0,
            tokens_at_once=6144,
        )
    )


@dataclass(frozen=True)
class Scene:
    """What every stage of this recipe needs."""

    config: SentimentConfig
    speaker: Speaker
    gold: Sentiment
    openings: list[list[int]]

    def sampled(self, prompts: Sequence[int], samples: int, step: int, stage: Run, name: str) -> tuple[Batch, Texts]:
        """Continuations of these openings, those of an opening side by side: the batch and the texts."""
        keys = group_keys(step, prompts, samples)
        environment, sampler = Language(self.openings, Finish.TERMINATED), self.speaker.sampler(self.config.seed)
        batch = kept.sample(sampler, environment, keys, stage.piece, name)
        return batch, self.speaker.codec.prompts_and_responses(batch)[1]


Texts = list[str]
BEFORE, AFTER, FRONTIER = (2**32 - number for number in (1, 2, 3))  # steps of their own: no stream is used twice


def sentiment(config: SentimentConfig, run: Run) -> dict[str, Any]:
    """Runs every stage that is not finished yet; returns the summary."""
    scene = prepared(config, engine_of(run))
    print(f"classifier: {scene.gold.accuracy:.3f} of the held-out sentences right; {len(scene.openings)} openings")
    stages.run_stages({name: partial(stage, scene, run) for name, stage in STAGES.items()}, run)
    told = read_lines(run.path / "evaluation" / "samples.jsonl")
    run.keep_samples(config.ppo.steps, told)
    found = summarise(scene, run)
    print(beside(found["frontier"], read_lines(run.path / "ppo" / "events.jsonl")))
    print("\n".join(f"\n{row['prompt']} || {row['after']}  [{row['after_gold']:.2f}]" for row in told))
    return found


def prepared(config: SentimentConfig, engine: Engine) -> Scene:
    gold = fitted(config.sentiment_data)
    model = load_causal_lm(config.model, config.device, config.trust)
    codec = Codec(load_tokenizer(config.model, config.trust))
    sampling = SamplingSettings(max_new_tokens=config.new_tokens, episodes_at_once=512)
    speaker = Speaker(LanguagePolicy(model), codec, sampling, fixed_length=True, engine=engine)
    found = openings(Path(config.prompts), codec, config.opening_tokens)
    needed = config.evaluation_prompts + 100
    if len(found) < needed:
        raise InputError(
            f"{config.prompts} has {len(found)} lines of at least {config.opening_tokens} tokens; this recipe needs "
            f"{needed} ({config.evaluation_prompts} to evaluate on, 100 to learn from). Give a longer text."
        )
    return Scene(config, speaker, gold, found)


def openings(path: Path, codec: Codec, tokens: int) -> list[list[int]]:
    """The first `tokens` tokens of every line that has as many, up to the end of a letter, each once."""
    if not path.is_file():
        raise InputError(f"--prompts {path} does not exist. Give a text file whose lines open stories.")
    lines = [line.strip() for line in path.read_text(encoding="utf-8").replace("<|endoftext|>", "\n").splitlines()]
    encoded = (codec.prompt(line) for line in lines if len(line) > tokens)
    long = (each for each in encoded if len(each) >= tokens)
    return list(map(list, dict.fromkeys(tuple(each[: last_cut(codec.tokenizer, each, tokens)]) for each in long)))


def scene_prompts(scene: Scene) -> tuple[list[int], list[int]]:
    """(held out, learned from): disjoint openings; the second cycles until there are as many as labels."""
    order = np.random.default_rng([scene.config.seed, 11]).permutation(len(scene.openings)).tolist()
    held, rest = order[: scene.config.evaluation_prompts], order[scene.config.evaluation_prompts :]
    rounds = -(-scene.config.labels // len(rest))
    return held, (rest * max(1, rounds))[: max(scene.config.labels, len(rest))]


def reference_stage(scene: Scene, run: Run, stage: Run) -> dict[str, Any]:
    """What ρ writes on the held-out openings, and the frontier of π* from many samples of some of them."""
    held, _ = scene_prompts(scene)
    _, texts = scene.sampled(held, 1, BEFORE, stage, "held-out")
    stage.keep_samples(0, [{"response": text} for text in texts])
    return {"frontier": optimal_frontier(scene, held[: scene.config.frontier_prompts], stage)}


def reward_model_stage(scene: Scene, run: Run, stage: Run) -> dict[str, Any]:
    """Best-of-K choices by gold, a reward model from them, normalised to mean 0 and deviation 1 on samples of ρ."""
    config, width = scene.config, scene.config.candidates
    asked = scene_prompts(scene)[1][: config.labels]
    keys = [Key(place, prompt, sample) for place, prompt in enumerate(asked) for sample in range(width)]
    sampler, environment = scene.speaker.sampler(config.seed + 1), Language(scene.openings, Finish.TERMINATED)
    batch = kept.sample(sampler, environment, keys, stage.piece, "candidates")
    prompts, texts = scene.speaker.codec.prompts_and_responses(batch)
    best = torch.tensor(scene.gold.positive(texts)).view(-1, width).argmax(dim=1).tolist()
    asked_about = [(prompts[i], tuple(texts[i : i + width])) for i in range(0, len(texts), width)]
    rows = zip(asked_about, best, strict=True)
    choices = judged(batch, [Question(*about, chosen(index, width), index) for about, index in rows])
    held = max(1, round(config.reward_model.held_out_fraction * len(choices)))
    learned, held_out = choices.select(range(held, len(choices))), choices.select(range(held))
    classifier = load_sequence_classifier(config.model, config.device, trust=config.trust)
    settings = replace(config.reward_model, seed=config.seed)
    model, found = run_reward_model(settings, classifier, learned, held_out, CHOICE, stage)
    model.normalise(ModelScore(model)(held_out.candidates).sum(dim=1), mean=0.0, deviation=1.0)
    write_folder(stage.path / "model", partial(model.save, codec=scene.speaker.codec))
    return {**found.row, "chance": 1 / width}


def ppo_stage(scene: Scene, run: Run, stage: Run) -> dict[str, Any]:
    classifier = load_sequence_classifier(str(run.path / "reward-model" / "model"), scene.config.device)
    score, critic = ModelScore(RewardModel(classifier)), critic_of(scene.speaker.policy, classifier)
    asked = scene_prompts(scene)[1]
    environment = Language([scene.openings[prompt] for prompt in asked], Finish.TERMINATED)

    def look(step: int, batch: Batch, score_BT: Tensor) -> None:
        texts = scene.speaker.codec.prompts_and_responses(batch)[1]
        stage.note(gold_score=float(np.mean(scene.gold.positive(texts))))

    settings = replace(scene.config.ppo, seed=scene.config.seed)
    task, models = Task(environment, score), language_models(scene.speaker, critic)
    train(PPO, settings, task, models, engine_of(stage), stage, Callbacks(look))
    return {"steps": settings.steps, **stage.latest}


def evaluation_stage(scene: Scene, run: Run, stage: Run) -> dict[str, Any]:
    """The trained policy on the openings that ρ was read on: gold, KL, diversity, ten stories."""
    policy = LanguagePolicy(load_causal_lm(str(run.path / "ppo" / "model"), scene.config.device))
    reference = LanguagePolicy(load_causal_lm(scene.config.model, scene.config.device, scene.config.trust))
    trained = replace(scene, speaker=replace(scene.speaker, policy=policy))
    batch, after = trained.sampled(scene_prompts(scene)[0], 1, AFTER, stage, "held-out")
    before = [row["response"] for row in read_lines(run.path / "reference" / "samples.jsonl")]
    stage.keep_samples(0, stories(scene, batch, before, after))
    return {
        **mean_interval(scene.gold.positive(before)).row("gold_mean_initial"),
        **mean_interval(scene.gold.positive(after)).row("gold_mean_ppo"),
        **stages.sequence_kl(policy, reference, batch),
        "distinct_2_initial": distinct_fraction(before),
        "distinct_2_ppo": distinct_fraction(after),
    }


STAGES = {
    "reference": reference_stage,
    "reward-model": reward_model_stage,
    "ppo": ppo_stage,
    "evaluation": evaluation_stage,
}


def optimal_frontier(scene: Scene, prompts: Sequence[int], stage: Run) -> list[dict[str, float]]:
    """Points of π* for the gold score: per opening from its own samples of ρ, averaged over openings."""
    samples = scene.config.frontier_samples
    _, texts = scene.sampled(prompts, samples, FRONTIER, stage, "frontier")
    gold_PN = torch.tensor(scene.gold.positive(texts)).view(len(prompts), samples)
    points = [{"kl_nats": 0.0, "gold_mean": float(gold_PN.mean()), "effective_sample_size": float(samples)}]
    for beta in BETAS:
        tilts = [optimal.tilted(row, beta) for row in gold_PN]
        size = float(np.mean([each.effective_sample_size for each in tilts]))
        if size >= SMALLEST_SAMPLE:
            nats, gold = (float(np.mean([getattr(t, name) for t in tilts])) for name in ("kl_nats", "mean_score"))
            points.append({"beta": beta, "kl_nats": nats, "gold_mean": gold, "effective_sample_size": size})
    return points


def beside(frontier: list[dict[str, float]], events: list[dict[str, Any]]) -> str:
    """The frontier of π* and every fifth step of PPO, as a table: KL and gold of both."""
    lines = [f"{'':16s}{'KL, nats':>10s}{'gold':>8s}{'samples':>9s}"]
    for point in frontier:
        name = f"π*, β {point['beta']:g}" if "beta" in point else "ρ"
        sizes = f"{point['effective_sample_size']:9.0f}"
        lines.append(f"{name:16s}{point['kl_nats']:10.2f}{point['gold_mean']:8.3f}{sizes}")
    for event in events[::5]:
        name = f"PPO, step {event['step']}"
        lines.append(f"{name:16s}{event['kl_nats_per_sequence']:10.2f}{event['gold_score']:8.3f}")
    return "\n".join(lines)


def summarise(scene: Scene, run: Run) -> dict[str, Any]:
    """summary.json of the recipe, from the summaries of its stages."""
    found = {name: Run(run.path / name).summary for name in STAGES}
    evaluation, frontier = found["evaluation"], found["reference"]["frontier"]
    seconds = {name: round(each.pop("seconds"), 1) for name, each in found.items()}
    nats, golds = ([point[name] for point in frontier] for name in ("kl_nats", "gold_mean"))
    return {
        "seed": scene.config.seed,
        "seconds_total": round(sum(seconds.values()), 1),
        "seconds_by_stage": seconds,
        "classifier_accuracy": scene.gold.accuracy,
        "labels": scene.config.labels,
        **{f"reward_model_{name}": value for name, value in found["reward-model"].items() if "accuracy" in name},
        **evaluation,
        "gold_mean_optimal_at_same_kl": float(np.interp(evaluation["kl_nats_per_sequence"], nats, golds)),
        "kl_nats_largest_on_frontier": max(nats),
        "frontier": frontier,
    }


def stories(scene: Scene, after: Batch, before_texts: list[str], after_texts: list[str]) -> list[dict[str, Any]]:
    """Ten openings with what ρ and what the trained policy make of them."""
    asked = scene.speaker.codec.prompts_and_responses(after)[0]
    rows = zip(asked[:10], before_texts, after_texts, strict=False)
    return [
        {
            "prompt": prompt,
            "before": before,
            "after": reply,
            "before_gold": scene.gold.positive([before])[0],
            "after_gold": scene.gold.positive([reply])[0],
        }
        for prompt, before, reply in rows
    ]
