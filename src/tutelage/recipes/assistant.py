"""InstructGPT and Bai et al. 2022 in small, on real weights and real comparisons: a chat model made more helpful.

A chat model's own trunk, frozen, reads comparisons that people made of replies (HH-RLHF). Two reward models are heads
on it: the first, from half of the labels, is what PPO optimises by a LoRA adapter and a value head; the second, from
the other half, judges. Against the papers: no supervised stage (the model is a chat model already), labels collected
once, replies of at most 64 tokens, and reward models that are linear in a state of a lower layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from torch import Tensor

from tutelage.algorithms.ppo import PPO, PPOConfig
from tutelage.data.judgements import tokenised
from tutelage.data.preference_pairs import HELD_OUT, PreferencePairs, read_preference_pairs
from tutelage.data.tokens import Codec
from tutelage.evaluation.against_start import compare_with_start, looks, reply_lengths
from tutelage.evaluation.out_of_fold import PairStates, accuracies, mark_right
from tutelage.evaluation.win_rates import Replies
from tutelage.execution import kept
from tutelage.execution.native import SamplingSettings
from tutelage.models.depth import depth_of, keep_lower_layers
from tutelage.models.pretrained import Trust, device_of, load_causal_lm, load_sequence_classifier, load_tokenizer
from tutelage.policies.language import LanguagePolicy
from tutelage.policies.loading import load_policy
from tutelage.recipes.quick import where_default
from tutelage.rewards.end_of_turn import EndOfTurnScore
from tutelage.rewards.frozen_trunk import read_states, with_head
from tutelage.rewards.language import RewardModel
from tutelage.runs.files import read_lines, write_folder
from tutelage.runs.run import Run
from tutelage.training import stages
from tutelage.training.callbacks import Callbacks
from tutelage.training.engine import engine_of
from tutelage.training.models import critic_of, language_models
from tutelage.training.speaker import Speaker
from tutelage.training.train import train
from tutelage.trajectory import Batch, Task, group_keys

REWARD_MODEL, JUDGE = 0, 1  # the halves of the labels; HELD_OUT is neither's
NAMES = ("reward-model", "judge")
LOOKS = ("distinct_2", "repetition_fraction", "refusal_fraction", "words")


@dataclass(frozen=True)
class AssistantConfig:
    """A chat model, comparisons of replies by people, and how far it is optimized.

    seeds: runs of PPO, on the same labels and prompts     limit: comparisons of each source, in a seeded order
    read_tokens: longest prompt that a reward model reads; the oldest turns go first
    depth: layers of the trunk that the reward models read; 0: half of them
    prompt_tokens: longest prompt of PPO and of the evaluation     best_of: n of best-of-n, beside PPO
    evaluation_prompts: unseen ones; their labels teach no reward model that is optimized or judges
    """

    model: str
    """Folder or hub id of a chat model (its tokenizer has a chat template)."""
    data: str
    """Comparisons of two replies: file, folder or hub id, such as HH-RLHF's helpful-base. Accuracy is measured here."""
    also: tuple[str, ...] = ()
    """Further comparisons that the reward models learn from, such as helpful-rejection-sampled."""
    quick: bool = False
    """Every stage at a small size: it shows how the recipe works and claims nothing."""
    seed: int = 0
    seeds: int = 1
    limit: int | None = None
    read_tokens: int = 256
    depth: int = 0
    prompt_tokens: int = 128
    new_tokens: int = 64
    temperature: float = 0.7
    evaluation_prompts: int = 320
    best_of: int = 8
    lora_rank: int = 16
    device: str = "auto"
    trust: Annotated[Trust, tyro.conf.arg(name="")] = field(default_factory=Trust)
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            steps=60,
            trajectories=32,
            epochs=2,
            minibatches=2,
            learning_rate=2e-4,
            value_learning_rate=1e-3,
            kl_coefficient=0.05,
            tokens_at_once=2048,
        )
    )


def smaller(config: AssistantConfig) -> AssistantConfig:
    """What --quick means."""
    default = AssistantConfig("", "")
    config = replace(config, ppo=where_default(config.ppo, default.ppo, steps=6, trajectories=16))
    return where_default(config, default, limit=400, evaluation_prompts=48, best_of=4)


@dataclass(frozen=True)
class Scene:
    """What every stage needs. side_P: [P] who learns from a comparison; short_P: [P] whether PPO takes its prompt."""

    config: AssistantConfig
    run: Run
    codec: Codec
    device: torch.device
    labels: PreferencePairs
    side_P: np.ndarray
    short_P: np.ndarray

    def prompts(self, side: int) -> list[str]:
        """Those of a side that PPO and the evaluation take."""
        rows = np.flatnonzero((self.side_P == side) & self.short_P)
        return list(dict.fromkeys(self.labels.questions[place].prompt for place in rows))

    def speaker(self, name: str, stage: Run, lora_rank: int = 0) -> Speaker:
        model, codec = load_policy(name, self.device, lora_rank, self.config.trust)
        policy, sampling = LanguagePolicy(model, self.config.temperature), SamplingSettings(self.config.new_tokens)
        return Speaker(policy, codec, sampling, engine=engine_of(stage))

    def score(self, side: int) -> EndOfTurnScore:
        classifier = load_sequence_classifier(str(self.run.path / NAMES[side] / "model"), self.device)
        return EndOfTurnScore(RewardModel(classifier).eval(), self.codec.stop_tokens[0])

    def replies(self, speaker: Speaker, stage: Run, samples: int, step: int) -> tuple[Batch, list[str]]:
        """`samples` replies to every held-out prompt, those of a prompt side by side."""
        prompts = self.prompts(HELD_OUT)
        keys, environment = group_keys(step, range(len(prompts)), samples), speaker.environment(prompts)
        batch = kept.sample(speaker.sampler(self.config.seed), environment, keys, stage.piece, f"replies-{step}")
        return batch, self.codec.prompts_and_responses(batch)[1]


def assistant(config: AssistantConfig, run: Run) -> dict[str, Any]:
    """Runs every stage that is not finished yet; returns the summary."""
    config = smaller(config) if config.quick else config
    scene = prepare_scene(config, run)
    ppo = {f"ppo-{seed}": partial(ppo_stage, scene, seed) for seed in range(config.seeds)}
    todo = {"reward-models": partial(reward_models_stage, scene), "start": partial(start_stage, scene)}
    todo |= {**ppo, "evaluation": partial(evaluation_stage, scene)}
    stages.run_stages(todo, run)
    run.keep_samples(config.ppo.steps, read_lines(run.path / "evaluation" / "samples.jsonl"))
    return summarise({name: Run(run.path / name).summary for name in todo})


def prepare_scene(config: AssistantConfig, run: Run) -> Scene:
    codec = Codec(load_tokenizer(config.model, config.trust))
    labels = read_preference_pairs(codec, (config.data, *config.also), config.read_tokens, config.limit, config.seed)
    short_P = np.array([len(codec.prompt(each.prompt)) <= config.prompt_tokens for each in labels.questions])
    side_P = labels.sides(short_P, config.evaluation_prompts, config.seed)
    return Scene(config, run, codec, device_of(config.device), labels, side_P, short_P)


def reward_models_stage(scene: Scene, stage: Run) -> dict[str, Any]:
    """States of all replies, read once; accuracy out of fold; a head from each half of the labels."""
    config, labels = scene.config, scene.labels
    classifier = load_sequence_classifier(config.model, scene.device, trust=config.trust)
    keep_lower_layers(classifier, config.depth or -(-depth_of(classifier) // 2))
    candidates, cut = tokenised(scene.codec, labels.questions, 2 * config.read_tokens)
    states_Cd = read_states(classifier, candidates.to(scene.device), 4096, stage.piece).numpy()
    pairs = PairStates(states_Cd[0::2], states_Cd[1::2], labels.prompts_P, labels.log_length_ratio_P, labels.measured_P)
    counts = {"comparisons": len(labels), "left_out": labels.left_out, "truncated": cut}
    found = {**counts, "depth": depth_of(classifier), **accuracies(pairs, config.seed)}
    for side, name in enumerate(NAMES):
        head, others_P = pairs.fit(scene.side_P == side, config.seed), scene.side_P != side
        unseen = head(np.concatenate([pairs.better_Pd[others_P], pairs.worse_Pd[others_P]]))
        model = with_head(classifier, head, unseen)
        write_folder(scene.run.path / name / "model", partial(model.save, codec=scene.codec))
        found[f"{name.replace('-', '_')}_half_accuracy"] = float(mark_right(pairs.differences(head, others_P)).mean())
    return found


def start_stage(scene: Scene, stage: Run) -> dict[str, Any]:
    """What the model says before it learns: a reply to each held-out prompt, and n more for best-of-n."""
    batch, texts = scene.replies(scene.speaker(scene.config.model, stage), stage, 1 + scene.config.best_of, 0)
    prompts, samples = scene.prompts(HELD_OUT), 1 + scene.config.best_of
    scores_PN, judged_PN = (scene.score(side).scores(batch).view(-1, samples) for side in (REWARD_MODEL, JUDGE))
    rows = []
    for place, (prompt, best) in enumerate(zip(prompts, 1 + scores_PN[:, 1:].argmax(dim=1), strict=True)):
        says, judge_N = texts[place * samples : (place + 1) * samples], judged_PN[place].tolist()
        rows.append({"prompt": prompt, "response": says[0], "judge": judge_N[0], "score": float(scores_PN[place, 0])})
        rows[-1] |= {"best": says[int(best)], "judge_of_best": judge_N[int(best)]}
    stage.keep_samples(0, rows)
    return {"prompts": len(prompts), **reply_lengths(batch.select(range(0, len(batch), samples)))}


def ppo_stage(scene: Scene, seed: int, stage: Run) -> dict[str, Any]:
    speaker, judge = scene.speaker(scene.config.model, stage, scene.config.lora_rank), scene.score(JUDGE)

    def look(step: int, batch: Batch, score_BT: Tensor) -> None:
        stage.note(held_out_score=float(judge.scores(batch).mean()))

    settings = replace(scene.config.ppo, seed=scene.config.seed + seed)
    task = Task(speaker.environment(scene.prompts(REWARD_MODEL)), scene.score(REWARD_MODEL))
    models = language_models(speaker, critic_of(speaker.policy, None))
    train(PPO, settings, task, models, engine_of(stage), stage, Callbacks(look))
    return {"steps": settings.steps, **stage.latest}


def evaluation_stage(scene: Scene, stage: Run) -> dict[str, Any]:
    """Each policy's replies to the held-out prompts against the start's, by the second judge."""
    config, judge, prompts = scene.config, scene.score(JUDGE), scene.prompts(HELD_OUT)
    before = read_lines(scene.run.path / "start" / "samples.jsonl")
    start, start_N = [each["response"] for each in before], np.array([each["judge"] for each in before])
    reference = LanguagePolicy(load_causal_lm(config.model, scene.device, config.trust), config.temperature)

    def compare(name: str, texts: list[str], scores: np.ndarray) -> dict[str, Any]:
        times = len(texts) // len(prompts)
        said = Replies(prompts * times, texts, start * times)
        return compare_with_start(name, "second judge", said, scores, np.tile(start_N, times))

    policies, every, scores = list[dict[str, Any]](), list[str](), list[np.ndarray]()
    for seed in range(config.seeds):
        speaker = scene.speaker(str(scene.run.path / f"ppo-{seed}" / "model"), stage)
        batch, texts = scene.replies(speaker, stage, 1, 1 + seed)
        scores.append(judge.scores(batch).numpy())
        told = {**reply_lengths(batch), **stages.sequence_kl(speaker.policy, reference, batch)}
        policies.append({**compare(f"PPO, seed {seed}", texts, scores[-1]), **told})
        every += texts
    best_N = np.array([each["judge_of_best"] for each in before])
    best = compare(f"best of {config.best_of}", [each["best"] for each in before], best_N)
    rows = zip(prompts[:10], start, start_N.tolist(), every, scores[0].tolist(), strict=False)
    names = ("prompt", "before", "before_judge", "after", "after_judge")
    stage.keep_samples(0, [dict(zip(names, each, strict=True)) for each in rows])
    return {"ppo": compare("PPO", every, np.concatenate(scores)), "policies": [*policies, best], "start": looks(start)}


def summarise(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """summary.json of the recipe, from the summaries of its stages."""
    seconds = {name: round(float(each.pop("seconds")), 1) for name, each in found.items()}
    judged, ends = found["evaluation"], ("", "_low", "_high", "_n")
    ppo = [each for each in judged["policies"] if each["name"].startswith("PPO")]
    return {
        **found["reward-models"],
        **{f"win_rate_second_judge{end}": judged["ppo"][f"win_rate{end}"] for end in ends},
        **{f"win_rate_length_controlled{end}": judged["ppo"].get(f"length_controlled{end}") for end in ends},
        "win_rate_lowest_seed": min(each["win_rate"] for each in ppo),
        "kl_nats_per_sequence": float(np.mean([each["kl_nats_per_sequence"] for each in ppo])),
        **{f"{name}_start": judged["start"][name] for name in LOOKS},
        **{f"{name}_end": float(np.mean([each[name] for each in ppo])) for name in LOOKS},
        "policies": judged["policies"],
        "seconds_by_stage": seconds,
        "seconds_total": round(sum(seconds.values()), 1),
    }
