"""InstructGPT in small on the helpdesk (Ouyang et al. 2022): demonstrations, comparisons, a reward model, PPO.

A policy of about a million parameters learns the desk's language from scratch. Gold reaches training only through at
most 2,000 noisy choices of synthetic labellers; two references beside it use more (PPO on the gold score itself) or
no reward model at all (supervised on the best quarter of the demonstrations). Every stage leaves a run folder and
reads only such folders, so that an interrupted demo continues after its last finished stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from tutelage.algorithms.best_of_n import chosen
from tutelage.algorithms.ppo import PPO, PPOConfig
from tutelage.algorithms.reward_losses import PAIRS, agreement, pairs
from tutelage.algorithms.reward_model import RewardModelConfig, scores_of
from tutelage.algorithms.sft import SFT, SFTConfig
from tutelage.data.errors import InputError
from tutelage.data.helpdesk import demonstrations as desk_demonstrations
from tutelage.data.helpdesk import tokenizer as desk_tokenizer
from tutelage.data.helpdesk import world
from tutelage.data.judgements import Judgements, judged, tokenised
from tutelage.data.questions import Question
from tutelage.data.questions import chosen as pairs_of
from tutelage.data.records import Comparison, compared
from tutelage.data.split import seen_fraction
from tutelage.data.tokens import Codec
from tutelage.evaluation.replies import Judged, win_rate
from tutelage.execution.native import SamplingSettings
from tutelage.feedback import labellers
from tutelage.feedback.answering import Labeller
from tutelage.feedback.store import Store
from tutelage.formulas import best_of_n, intervals
from tutelage.models.pretrained import load_causal_lm, load_sequence_classifier, load_tokenizer
from tutelage.policies.language import LanguagePolicy
from tutelage.recipes.asking import Pairs, asked_of
from tutelage.recipes.labelling import labeller_of
from tutelage.rewards import helpdesk
from tutelage.rewards.language import ModelScore, RewardModel, TextScore
from tutelage.runs.files import read_lines, write_folder, write_lines
from tutelage.runs.run import Run
from tutelage.training import stages
from tutelage.training.callbacks import Callbacks
from tutelage.training.engine import Engine, engine_of
from tutelage.training.models import critic_of, language_models
from tutelage.training.reward_models import run_reward_model
from tutelage.training.speaker import Speaker, encoded
from tutelage.training.train import train
from tutelage.trajectory import Batch, Score, Task


@dataclass(frozen=True)
class DemoConfig:
    """Settings of the demo.

    seed: of everything. labels: comparisons, at most 2,000. evaluation_prompts: unseen ones, one reply each.
    labeller: synthetic; human (you, at a page that opens in the browser, asked human_labels times); a reward model's
        folder; or the address of an OpenAI-compatible API, whose model is judge_model.
    best_of: n of the larger best-of-n. best_quarter_steps: supervised steps more, on the best quarter alone.
    """

    seed: int = 0
    demonstrations: int = 6000
    labels: int = 2000
    labeller: str = "synthetic"
    judge_model: str = ""
    human_labels: int = 50
    ppo_prompts: int = 4000
    evaluation_prompts: int = 512
    best_of: int = 16
    best_quarter_steps: int = 150
    max_new_tokens: int = 48
    width: int = 128
    layers: int = 4
    sft: SFTConfig = field(default_factory=lambda: SFTConfig(steps=500, batch_size=32, learning_rate=3e-3))
    reward_model: RewardModelConfig = field(
        default_factory=lambda: RewardModelConfig(epochs=3, batch_size=16, learning_rate=2e-3, warm_up=30)
    )
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            steps=30,
            trajectories=64,
            epochs=2,
            learning_rate=7e-4,
            value_learning_rate=1e-3,
            kl_coefficient=0.2,
            truncation_score=-2.0,
        )
    )


def demo(config: DemoConfig, run: Run) -> dict[str, Any]:
    """Runs every stage that is not finished yet; returns the summary."""
    if config.labeller != "synthetic":
        labeller_of(config.labeller, config.judge_model, config.seed)  # refuses one that is not there before training
    stages.run_stages({name: partial(stage, config, run) for name, stage in STAGES.items()}, run)
    run.keep_samples(0, read_lines(run.path / "evaluation" / "samples.jsonl"))
    return summarise(config, run)


def sft_stage(config: DemoConfig, run: Run, stage: Run) -> dict[str, Any]:
    torch.manual_seed(config.seed)
    tokenizer = desk_tokenizer.tokenizer()
    model = LlamaForCausalLM(architecture(config, tokenizer))
    speaker = speaker_of(config, model, Codec(tokenizer), engine_of(stage))
    pairs = desk_demonstrations.demonstrations(config.demonstrations, config.seed)
    settings, rows = replace(config.sft, seed=config.seed), encoded(speaker.codec, pairs)
    train(SFT, settings, rows, language_models(speaker), engine_of(stage), stage)
    return {"demonstrations": len(pairs), "parameters": sum(p.numel() for p in speaker.policy.parameters())}


def architecture(config: DemoConfig, tokenizer) -> LlamaConfig:
    """A small Llama. initializer_range is 1/√width: at 0.02 a model this small never learns to copy an order number."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        intermediate_size=3 * config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=4,
        max_position_embeddings=256,
        initializer_range=config.width**-0.5,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def speaker_of(config: DemoConfig, model, codec: Codec, engine: Engine) -> Speaker:
    return Speaker(LanguagePolicy(model.eval()), codec, SamplingSettings(config.max_new_tokens), engine=engine)


def loaded(config: DemoConfig, run: Run, stage: str) -> Speaker:
    folder = str(run.path / stage / "model")
    return speaker_of(config, load_causal_lm(folder), Codec(load_tokenizer(folder)), engine_of(run))


def labels_stage(config: DemoConfig, run: Run, stage: Run) -> dict[str, Any]:
    """Two replies of the SFT policy to each prompt, one choice by one of the labellers, the display order random."""
    speaker = loaded(config, run, "sft")
    prompts = world.prompts("labels", config.human_labels if config.labeller == "human" else config.labels, config.seed)
    _, replies = speaker.replies(prompts, config.seed + 1, 2, stage.piece)
    pairs = [(replies[2 * i], replies[2 * i + 1]) for i in range(len(prompts))]
    if config.labeller == "synthetic":
        rng = np.random.default_rng([config.seed, 2])
        rows = [labelled(prompt, list(pair), rng) for prompt, pair in zip(prompts, pairs, strict=True)]
    else:
        asked = Pairs("demo", ("sft", "sft"), prompts, pairs, scores=None, interest="uniform", seed=config.seed)
        rows = answered(asked, labeller_of(config.labeller, config.judge_model, config.seed), run)
    write_lines(stage.path / COMPARISONS, [row.row() for row in rows])
    right = intervals.share([float(row.chosen() == gold_choice(row)) for row in rows])
    kinds = [row.verdict.rater_kind for row in rows]
    shares = {f"share_{kind}": kinds.count(kind) / len(rows) for kind in ("human", "synthetic", "model")}
    return {"labels": len(rows), **shares, **right.row("labellers_agree_with_gold")}


def answered(asked: Pairs, labeller: Labeller, run: Run) -> list[Comparison]:
    """The answers to all pairs that differ, by way of the run's feedback store; those in which one reply won."""
    with Store.open(run.path / STORE) as store:
        labeller.answer(store, store.ask(asked_of(asked, len(asked.prompts), 1.0)))
        rows = [each.comparison for each in store.labels() if each.comparison.best is not None]
    if len(rows) < 2:
        raise InputError(
            f"{len(rows)} of the answers prefer one reply, 2 are the least. Resume the run to answer more."
        )
    return rows


def labelled(prompt: str, replies: list[str], rng: np.random.Generator) -> Comparison:
    """What one labeller of the panel says of two replies, shown in a random order."""
    shown = rng.permutation(len(replies)).tolist()
    labeller = PANEL[int(rng.integers(len(PANEL)))]
    choice = shown[labeller.choose(prompt, [replies[place] for place in shown], rng)]
    return compared(prompt, replies, choice, shown, rater=labeller.name, rater_kind="synthetic")


LOOKED_BACK_AT = 32  # demonstrations whose likelihood is watched while PPO goes on
COMPARISONS, STORE = "comparisons.jsonl", "feedback.db"
PANEL = labellers.panel(helpdesk.gold)


def reward_model_stage(config: DemoConfig, run: Run, stage: Run) -> dict[str, Any]:
    speaker = loaded(config, run, "sft")
    rows = [Comparison.model_validate(row) for row in read_lines(run.path / "labels" / COMPARISONS)]
    held = max(1, round(config.reward_model.held_out_fraction * len(rows)))
    learned, held_out = (judgements_of(speaker.codec, part, Comparison.chosen) for part in (rows[held:], rows[:held]))
    classifier = load_sequence_classifier(str(run.path / "sft" / "model"))
    settings = replace(config.reward_model, seed=config.seed)
    model, found = run_reward_model(settings, classifier, learned, held_out, PAIRS, stage)
    references = encoded(speaker.codec, desk_demonstrations.demonstrations(500, config.seed))
    model.normalise(ModelScore(model)(references).sum(dim=1), mean=0.0)
    write_folder(stage.path / "model", partial(model.save, codec=speaker.codec))
    gold_pairs = judgements_of(speaker.codec, rows[:held], gold_choice)
    gold_agreement = intervals.share(agreement(scores_of(model, gold_pairs), gold_pairs).double().numpy())
    return {
        **found.row,
        **gold_agreement.row("accuracy_on_gold"),
        **held_out_checks(model, rows[held:], rows[:held], held_out),
    }


def held_out_checks(
    model: RewardModel, rows: Sequence[Comparison], held_rows: Sequence[Comparison], held_out: Judgements
) -> dict[str, float]:
    """What tells a reward model that is too sure, one that knows only length, and a test that was learned from."""
    asked, held = (["\n".join([r.context.prompt or "", *sorted(r.texts)]) for r in part] for part in (rows, held_rows))
    longer = [max(range(len(row.texts)), key=lambda i: len(row.texts[i])) for row in held_rows]
    return {
        "held_out_loss": float(pairs(scores_of(model, held_out), held_out).mean()),
        "length_rule_accuracy": labellers.agreement_fraction(longer, [row.chosen() for row in held_rows]),
        "held_out_seen_fraction": seen_fraction(asked, held),
    }


def gold_choice(row: Comparison) -> int:
    return int(np.argmax(helpdesk.gold([row.context.prompt or ""] * len(row.texts), list(row.texts))))


def judgements_of(codec: Codec, rows: Sequence[Comparison], best: Callable[[Comparison], int]) -> Judgements:
    questions = [Question(row.context.prompt or "", row.texts, pairs_of(best(row), len(row.texts))) for row in rows]
    return judged(tokenised(codec, questions)[0], questions)


def ppo_stage(config: DemoConfig, run: Run, stage: Run) -> dict[str, Any]:
    classifier = load_sequence_classifier(str(run.path / "reward-model" / "model"))
    return optimised(config, run, stage, ModelScore(RewardModel(classifier)), classifier)


def ppo_on_gold_stage(config: DemoConfig, run: Run, stage: Run) -> dict[str, Any]:
    """A reference: what PPO reaches when the labels are perfect and endless. Its critic starts from nothing learned."""
    classifier = load_sequence_classifier(str(run.path / "reward-model" / "model"))
    score = TextScore(helpdesk.gold, Codec(load_tokenizer(str(run.path / "sft" / "model"))), "the gold score")
    return optimised(config, run, stage, score, classifier)


def optimised(config: DemoConfig, run: Run, stage: Run, score: Score, classifier) -> dict[str, Any]:
    speaker = loaded(config, run, "sft")
    prompts = world.prompts("labels", config.ppo_prompts, config.seed + 1)
    critic = critic_of(speaker.policy, classifier)

    def look(step: int, batch: Batch, score_BT: Tensor) -> list[dict[str, Any]]:
        """Gold is looked at, and recorded beside the rest; nothing learns from it."""
        asked, replied = speaker.codec.prompts_and_responses(batch)
        stage.note(gold_score=float(np.mean(helpdesk.gold(asked, replied))))
        scores = score_BT.sum(dim=1).tolist()
        return [{"prompt": asked[i], "response": replied[i], "score": scores[i]} for i in range(min(2, len(batch)))]

    learned = encoded(speaker.codec, desk_demonstrations.demonstrations(LOOKED_BACK_AT, config.seed))
    settings, beside = replace(config.ppo, seed=config.seed), Callbacks(look, demonstrations=learned)
    task, models = Task(speaker.environment(prompts), score), language_models(speaker, critic)
    train(PPO, settings, task, models, engine_of(stage), stage, beside)
    watched = [event["gold_score"] for event in read_lines(stage.path / "events.jsonl")]
    quarter = max(1, len(watched) // 4)
    return {"gold_score_first_step": watched[0], "gold_score_last_quarter_lowest": min(watched[-quarter:])}


def best_quarter_stage(config: DemoConfig, run: Run, stage: Run) -> dict[str, Any]:
    """A reference: supervised training goes on, on the quarter of the demonstrations that gold likes best."""
    speaker = loaded(config, run, "sft")
    pairs = desk_demonstrations.demonstrations(config.demonstrations, config.seed)
    order = np.argsort(helpdesk.gold(*map(list, zip(*pairs, strict=True))))[::-1]
    best = [pairs[place] for place in order[: len(pairs) // 4]]
    settings = replace(config.sft, seed=config.seed, steps=config.best_quarter_steps)
    train(SFT, settings, encoded(speaker.codec, best), language_models(speaker), engine_of(stage), stage)
    return {"demonstrations": len(best)}


def evaluation_stage(config: DemoConfig, run: Run, stage: Run) -> dict[str, Any]:
    """Every policy on the same unseen prompts, one reply each at the training temperature."""
    prompts = world.prompts("evaluation", config.evaluation_prompts, config.seed)
    codec = Codec(load_tokenizer(str(run.path / "sft" / "model")))
    model = RewardModel(load_sequence_classifier(str(run.path / "reward-model" / "model")))
    judging = partial(judge, codec, ModelScore(model), prompts)
    sft = loaded(config, run, "sft")
    many, _ = sft.replies(prompts, config.seed + 10, config.best_of, stage.piece, "SFT")
    scores_PN = ModelScore(model)(many).sum(dim=1).view(len(prompts), -1)
    found = [judging("SFT", chosen(many, scores_PN, 1)), judging("best of 4", chosen(many, scores_PN, 4))]
    found.append(judging(f"best of {config.best_of}", chosen(many, scores_PN, config.best_of)))
    for name, folder in (("PPO", "ppo"), ("PPO on gold", "ppo-on-gold"), ("SFT, best quarter", "sft-best-quarter")):
        batch, _ = loaded(config, run, folder).replies(prompts, config.seed + 20, 1, stage.piece, folder)
        found.append(judging(name, batch))
        if name == "PPO":
            kl = stages.sequence_kl(loaded(config, run, "ppo").policy, sft.policy, batch)
    stage.keep_samples(0, before_and_after(prompts, found[0], found[3], count=6))
    return {
        "methods": [each.row() for each in found],
        **win_rate_row(win_rate(found[3], found[0])),
        **kl,
        "kl_nats_best_of_4": best_of_n.kl_nats(4),
        f"kl_nats_best_of_{config.best_of}": best_of_n.kl_nats(config.best_of),
    }


def judge(codec: Codec, proxy: ModelScore, prompts: list[str], name: str, batch: Batch) -> Judged:
    _, replies = codec.prompts_and_responses(batch)
    return Judged(
        name=name,
        responses=replies,
        gold=np.array(helpdesk.gold(prompts, replies)),
        proxy=proxy(batch).sum(dim=1).double().numpy(),
        breaks=np.array(helpdesk.breaks_policy(prompts, replies), dtype=float),
        tokens=batch.mask_BT.sum(dim=1).double().numpy(),
    )


def win_rate_row(found: intervals.Estimate) -> dict[str, Any]:
    row = found.row("win_rate")
    return {"win_rate_ppo_over_sft": row.pop("win_rate"), **row}


def before_and_after(prompts: list[str], before: Judged, after: Judged, count: int) -> list[dict[str, Any]]:
    """The first prompts, not the best ones."""
    return [
        {
            "prompt": prompts[i],
            "before": before.responses[i],
            "after": after.responses[i],
            **{f"before_{name}": float(getattr(before, name)[i]) for name in ("gold", "proxy")},
            **{f"after_{name}": float(getattr(after, name)[i]) for name in ("gold", "proxy")},
        }
        for i in range(count)
    ]


STAGES: dict[str, Callable[[DemoConfig, Run, Run], dict[str, Any]]] = {
    "sft": sft_stage,
    "labels": labels_stage,
    "reward-model": reward_model_stage,
    "ppo": ppo_stage,
    "ppo-on-gold": ppo_on_gold_stage,
    "sft-best-quarter": best_quarter_stage,
    "evaluation": evaluation_stage,
}


ON_GOLD = [f"accuracy_on_gold{end}" for end in ("", "_low", "_high", "_n")]


def summarise(config: DemoConfig, run: Run) -> dict[str, Any]:
    """summary.json of the demo, from the summaries of its stages."""
    found = {name: Run(run.path / name).summary for name in STAGES}
    evaluation = found["evaluation"]
    by_name = {row["name"]: row for row in evaluation["methods"]}
    seconds = {name: round(each["seconds"], 1) for name, each in found.items()}
    return {
        "seed": config.seed,
        "seconds_total": round(sum(seconds.values()), 1),
        "seconds_by_stage": seconds,
        "demonstrations": found["sft"]["demonstrations"],
        "parameters": found["sft"]["parameters"],
        "labels": found["labels"]["labels"],
        **{name: value for name, value in found["labels"].items() if name.startswith(("share_", "labellers_agree"))},
        "labellers_agree_with_gold": found["labels"]["labellers_agree_with_gold"],
        "reward_model_accuracy": found["reward-model"]["accuracy"],
        "reward_model_accuracy_low": found["reward-model"]["accuracy_low"],
        "reward_model_accuracy_high": found["reward-model"]["accuracy_high"],
        "reward_model_accuracy_n": found["reward-model"].get("accuracy_n"),
        **{f"reward_model_{name}": found["reward-model"][name] for name in ON_GOLD if name in found["reward-model"]},
        "reward_model_length_rule_accuracy": found["reward-model"]["length_rule_accuracy"],
        "gold_score_sft": by_name["SFT"]["gold_mean"],
        "gold_score_sft_best_quarter": by_name["SFT, best quarter"]["gold_mean"],
        "gold_score_best_of_4": by_name["best of 4"]["gold_mean"],
        f"gold_score_best_of_{config.best_of}": by_name[f"best of {config.best_of}"]["gold_mean"],
        "gold_score_ppo": by_name["PPO"]["gold_mean"],
        "gold_score_ppo_on_gold": by_name["PPO on gold"]["gold_mean"],
        "gold_score_ppo_last_quarter_lowest": found["ppo"]["gold_score_last_quarter_lowest"],
        "policy_breaks_sft": by_name["SFT"]["policy_breaks_fraction"],
        "policy_breaks_ppo": by_name["PPO"]["policy_breaks_fraction"],
        **{name: evaluation[name] for name in evaluation if name.startswith(("win_rate", "kl_nats"))},
        "methods": evaluation["methods"],
    }
