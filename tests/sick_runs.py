"""Run folders, written through Run's own interface, that have a disease, and healthy ones that resemble it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.data.records import compared
from tutelage.runs.files import append_lines
from tutelage.runs.run import Run, as_plain

STEPS = 24
FLAT = {
    "reward": "r",
    "held_out_reward": "",
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "max_new_tokens": 48,
    "sampler": "native",
    "lora_rank": 0,
    "settings": {
        "kl_coefficient": 0.2,
        "learning_rate": 7e-4,
        "value_learning_rate": 1e-3,
        "epochs": 2,
        "stop_at_peak": 0,
        "value_clip_range": 0.2,
        "max_grad_norm": 1.0,
        "trajectories": 48,
        "parity_tolerance_nats": 1e-3,
        "truncation_score": None,
    },
}


def score_of(step: int) -> float:
    return float(2.0 - 2.2 * np.exp(-step / 5))


def healthy(steps: int, seed: int) -> dict[str, list[float]]:
    """What the demo's PPO records, smoothed, with the noise of batches of 48."""
    rng, t = np.random.default_rng(seed), np.arange(steps)
    rise = 1 - np.exp(-t / 5)
    columns = {
        "score": -0.2 + 2.2 * rise + 0.15 * rng.standard_normal(steps),
        "score_deviation": 1.6 - 0.6 * rise + 0.1 * rng.standard_normal(steps),
        "environment_reward": 0.0 * t,
        "kl_nats_per_sequence": 3.0 * rise + 0.2 * rise * rng.standard_normal(steps),
        "kl_nats_per_action": 0.12 * rise,
        "actions": 25 + rng.standard_normal(steps),
        "terminated_fraction": 1.0 - 0.02 * (rng.random(steps) < 0.3),
        "commonest_score_fraction": 0.02 + 0.0 * t,
        "length_score_correlation": 0.2 + 0.15 * rng.standard_normal(steps),
        "score_advantage_correlation": 0.92 + 0.02 * rng.standard_normal(steps),
        "advantage_deviation": 1.5 - 0.9 * rise,
        "return_deviation": 1.2 - 0.4 * rise,
        "sampler_gap_nats": 5e-6 + 0.0 * t,
        "entropy_nats": 0.54 - 0.15 * rise,
        "explained_variance": -0.7 + 1.1 * rise + 0.05 * rng.standard_normal(steps),
        "kl_coefficient": 0.2 + 0.0 * t,
        "loss": 0.8 - 0.7 * rise,
        "value_loss": 1.5 - 1.3 * rise,
        "clip_fraction": 0.01 * np.exp(-t / 8),
        "approximate_kl_nats": 0.002 * np.exp(-t / 8),
        "value_clipped_fraction": 0.45 * np.exp(-t / 4),
        "gradient_norm_policy": 0.3 + 0.0 * t,
        "gradient_norm_value": 4.0 - 3.5 * rise,
        "distinct_2": 0.42 - 0.1 * rise,
        "commonest_phrase_fraction": 0.3 + 0.1 * rise,
        "repetition_fraction": 0.002 + 0.0 * t,
        "demonstration_loss": 0.49 + 0.2 * rise,
        "gold_score": 0.3 + 0.9 * rise + 0.1 * rng.standard_normal(steps),
    }
    return {name: [float(value) for value in values] for name, values in columns.items()}


def write_run(
    path: Path,
    columns: Mapping[str, Sequence[float]],
    job: object,
    samples: Sequence[Mapping[str, Any]] = (),
    summary: Mapping[str, Any] | None = None,
    stopped_by: str = "",
) -> None:
    """A folder with these columns; samples are dealt out over the steps."""
    run = Run.create(path, job)
    steps = max((len(values) for values in columns.values()), default=0)
    each = max(1, len(samples) // max(1, steps))
    for step in range(steps):
        run.record(step, {name: values[step] for name, values in columns.items()})
        run.keep_samples(step, samples[step * each : (step + 1) * each])
    if stopped_by:
        run.interrupted(type(stopped_by, (Exception,), {})("as the test wanted"))
    else:
        run.mark_finished(summary or {})


def ppo_run(
    path: Path,
    steps: int = STEPS,
    seed: int = 0,
    job: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    samples: Sequence[Mapping[str, Any]] = (),
    **columns: Any,
) -> None:
    """A healthy run of PPO but for these columns (functions of the step), settings and samples; without: columns that
    were not recorded; summary, stopped_by: as in `write_run`"""
    without, rest = columns.pop("without", ()), {k: columns.pop(k) for k in ("summary", "stopped_by") if k in columns}
    found = {name: values for name, values in healthy(steps, seed).items() if name not in without}
    found |= {name: [float(column(step)) for step in range(steps)] for name, column in columns.items()}
    resolved = {**FLAT, **(job or {}), "settings": {**FLAT["settings"], **(settings or {})}}
    write_run(path, found, resolved, samples, **rest)


def reward_model_run(path: Path, steps: int = 20, summary: Mapping[str, Any] | None = None, **columns: Any) -> None:
    """A healthy reward model but for these columns and results."""
    found = {
        "loss": [0.7 - 0.2 * step / steps for step in range(steps)],
        "accuracy": [0.55 + 0.25 * step / steps for step in range(steps)],
        "gradient_norm_reward_model": [3.0] * steps,
        **{name: [float(column(step)) for step in range(steps)] for name, column in columns.items()},
    }
    results = {
        "accuracy": 0.78,
        "accuracy_low": 0.72,
        "accuracy_high": 0.83,
        "length_rule_accuracy": 0.55,
        "held_out_loss": 0.5,
        "held_out_seen_fraction": 0.0,
    }
    write_run(path, found, {"settings": {"epochs": 3.0}}, summary={**results, **(summary or {})})


def comparisons_run(path: Path, rows: Sequence[Any] | None = None) -> None:
    """A stage of comparisons; by default 200 honest ones of four labellers in a random order."""
    run = Run.create(path, {})
    append_lines(path / "comparisons.jsonl", [row.row() for row in (honest(200) if rows is None else rows)])
    run.mark_finished({})


def honest(count: int, first: float = 0.5, raters: int = 4, seed: int = 0) -> list[Any]:
    """first: how often the better reply is shown, and chosen, in the first place."""
    rng = np.random.default_rng(seed)
    return [pair(i, int(rng.random() >= first), f"labeller {i % raters}") for i in range(count)]


def pair(number: int, place: int, rater: str, chosen: int = 0, texts: tuple[str, str] | None = None) -> Any:
    """place: where on the screen (0 first, 1 second) the chosen reply stood."""
    replies = list(texts or (f"reply {number} yes", f"reply {number} not"))
    other = 1 - chosen
    return compared(
        f"prompt {number}", replies, chosen, [chosen, other] if place == 0 else [other, chosen], rater=rater
    )


def texts(late: str, early: str = "We will refund it soon", count: int = 96) -> list[dict[str, Any]]:
    """Samples whose later half reads otherwise."""
    return [{"prompt": "p", "response": early if i < count // 2 else late} for i in range(count)]


def pipeline(path: Path, samples: Sequence[Mapping[str, Any]], prefers: Sequence[Any], **columns: Any) -> None:
    """PPO beside the labels that its reward model learned from."""
    run = Run.create(path, {"ppo": FLAT["settings"]})
    labels, stage = run.stage("labels"), run.stage("ppo")
    append_lines(labels.path / "comparisons.jsonl", [row.row() for row in prefers])
    labels.mark_finished({})
    found = healthy(STEPS, 0)
    found |= {name: [float(column(step)) for step in range(STEPS)] for name, column in columns.items()}
    for step in range(STEPS):
        stage.record(step, {name: values[step] for name, values in found.items()})
        stage.keep_samples(step, samples[4 * step : 4 * step + 4])
    stage.mark_finished({})


def judged_texts(reply: str = "We will refund it soon") -> list[Any]:
    return [pair(i, i % 2, "a", i % 2, (f"{reply} {i}", f"We will repair it soon {i}")) for i in range(60)]


def shorter_wins(count: int = 60) -> list[Any]:
    return [pair(i, i % 2, f"r{i % 3}", 0, (f"short {i}", f"a much longer reply {i}")) for i in range(count)]


Build = Callable[[Path], None]
STILL = {
    "score": lambda i: 0.1 * (-1) ** i,
    "kl_nats_per_sequence": lambda i: 0.02 + 0.01 * (-1) ** i,
    "kl_nats_per_action": lambda i: 0.001,
    "gold_score": lambda i: 0.3 + 0.05 * (-1) ** i,
    "explained_variance": lambda i: 0.1,
}
HUGE = {"score_deviation": lambda i: 30.0, "return_deviation": lambda i: 25.0, "advantage_deviation": lambda i: 25.0}

DISEASED: dict[str, Build] = {
    "KL runaway": lambda p: ppo_run(p, kl_nats_per_sequence=lambda i: 2.0 * i, kl_nats_per_action=lambda i: 0.08 * i),
    "KL negative": lambda p: ppo_run(
        p, kl_nats_per_sequence=lambda i: -0.2 * i + 0.05 * (-1) ** i, settings={"parity_tolerance_nats": 5.0}
    ),
    "KL penalty too strong": lambda p: ppo_run(
        p, settings={"kl_coefficient": 20.0}, kl_coefficient=lambda i: 20.0, **STILL
    ),
    "learning rate too low": lambda p: ppo_run(p, settings={"learning_rate": 1e-7}, **STILL),
    "learning rate too high": lambda p: ppo_run(p, clip_fraction=lambda i: 0.45, approximate_kl_nats=lambda i: 0.2),
    "reward hacking": lambda p: ppo_run(p, gold_score=lambda i: 0.3 + 0.1 * min(i, 10) - 0.1 * max(0, i - 10)),
    "length hacking": lambda p: ppo_run(
        p, actions=lambda i: 20 + 1.5 * i, length_score_correlation=lambda i: 0.8, gold_score=lambda i: 0.3
    ),
    "mode collapse": lambda p: ppo_run(
        p, entropy_nats=lambda i: 0.6 * np.exp(-i / 3), distinct_2=lambda i: 0.4 / (1 + i)
    ),
    "template phrases": lambda p: ppo_run(
        p,
        samples=texts("You are so wise to ask, our best customer"),
        commonest_phrase_fraction=lambda i: min(1.0, 0.3 + i / 10),
    ),
    "dead critic": lambda p: ppo_run(p, explained_variance=lambda i: -0.5 + 0.05 * (-1) ** i),
    "value clip against reward scale": lambda p: ppo_run(
        p, return_deviation=lambda i: 9.0, value_clipped_fraction=lambda i: 0.9, explained_variance=lambda i: 0.01
    ),
    "reward scale blow-up": lambda p: ppo_run(p, gradient_norm_value=lambda i: 200.0, **HUGE),
    "sparse reward": lambda p: ppo_run(p, commonest_score_fraction=lambda i: 0.98, score_deviation=lambda i: 0.01),
    "EOS collapse": lambda p: ppo_run(p, actions=lambda i: 25.0 if i < 6 else 1.5),
    "truncation storm": lambda p: ppo_run(p, terminated_fraction=lambda i: 1.0 if i < 10 else 0.1),
    "reward model overconfidence": lambda p: reward_model_run(
        p,
        loss=lambda i: 0.7 / (1 + i),
        accuracy=lambda i: min(1.0, 0.5 + i / 20),
        summary={"accuracy": 0.62, "accuracy_low": 0.58, "accuracy_high": 0.66, "held_out_loss": 1.2},
    ),
    "out of distribution": lambda p: pipeline(p, texts("zum zum bla bla glop glop"), judged_texts()),
    "length bias": lambda p: reward_model_run(p, summary={"length_rule_accuracy": 0.78}),
    "label leakage": lambda p: reward_model_run(p, summary={"held_out_seen_fraction": 0.4}),
    "position bias": lambda p: comparisons_run(p, honest(200, first=0.72)),
    "one-sided labeller": lambda p: comparisons_run(p, [*honest(200), *(pair(500 + i, 0, "click") for i in range(30))]),
    "contradictory pairs": lambda p: comparisons_run(
        p, [pair(i % 40, (i // 3) % 2, f"r{i % 7}", (i // 40) % 2) for i in range(80)]
    ),
    "duplicate pairs": lambda p: comparisons_run(p, [*honest(100), *honest(100)]),
    "stale sampler": lambda p: ppo_run(p, sampler_gap_nats=lambda i: 0.3, settings={"parity_tolerance_nats": 5.0}),
    "LoRA not delivered": lambda p: ppo_run(
        p, job={"lora_rank": 8}, sampler_gap_nats=lambda i: 1e-6 if i == 0 else 0.1 * i
    ),
    "forgetting": lambda p: ppo_run(p, demonstration_loss=lambda i: 0.5 + 0.1 * i),
    "ranking conflict": lambda p: ppo_run(
        p, score_advantage_correlation=lambda i: max(-0.9, 0.9 - 0.2 * i), score=lambda i: 0.02 * i
    ),
}

LOOK_ALIKES: dict[str, Build] = {
    # short replies: many nats an action, few a sequence
    "KL runaway": lambda p: ppo_run(p, kl_nats_per_sequence=lambda i: 6.0, kl_nats_per_action=lambda i: 1.5),
    # wavering about 0 in the first steps
    "KL negative": lambda p: ppo_run(
        p, kl_nats_per_sequence=lambda i: [0.0, -0.03, 0.02, -0.05, 0.01][i] if i < 5 else 0.1 * i
    ),
    # slow, but it moves
    "KL penalty too strong": lambda p: ppo_run(
        p, settings={"kl_coefficient": 2.0}, kl_nats_per_sequence=lambda i: 0.03 * i, score=lambda i: 0.06 * i
    ),
    # a slow learner that gains in the end
    "learning rate too low": lambda p: ppo_run(
        p, kl_nats_per_sequence=lambda i: 0.001 * i * i, score=lambda i: 0.002 * i * i
    ),
    # clipped for two steps after the warm-up
    "learning rate too high": lambda p: ppo_run(p, clip_fraction=lambda i: 0.5 if i in (3, 4) else 0.02),
    # gold levels off, and wavers
    "reward hacking": lambda p: ppo_run(p, gold_score=lambda i: 0.3 + 0.08 * min(i, 10) - 0.06 * (i % 2)),
    # people asked for short replies
    "length hacking": lambda p: pipeline(p, [], shorter_wins(), actions=lambda i: max(10.0, 25.0 - i)),
    # entropy falls slowly
    "mode collapse": lambda p: ppo_run(p, entropy_nats=lambda i: 0.6 - 0.012 * i, distinct_2=lambda i: 0.4 - 0.005 * i),
    # a courtesy that gold likes, too
    "template phrases": lambda p: ppo_run(
        p, samples=texts("I am sorry. Thank you"), commonest_phrase_fraction=lambda i: min(0.95, 0.3 + i / 10)
    ),
    # it explains nothing, because everything scores the same by now
    "dead critic": lambda p: ppo_run(
        p, explained_variance=lambda i: 0.3 if i < 4 else -0.5, score_deviation=lambda i: 1.5 * np.exp(-i / 3)
    ),
    # at the clip while the critic finds its scale
    "value clip against reward scale": lambda p: ppo_run(
        p, return_deviation=lambda i: 1.8, value_clipped_fraction=lambda i: 0.9 if i < 8 else 0.1
    ),
    # large gradients for a few steps
    "reward scale blow-up": lambda p: ppo_run(p, gradient_norm_value=lambda i: 40.0 if i < 4 else 1.0),
    # equal in the end, because it was learned
    "sparse reward": lambda p: ppo_run(p, commonest_score_fraction=lambda i: min(1.0, 0.02 + 0.05 * i)),
    # short because the score wants short; they still say something
    "EOS collapse": lambda p: ppo_run(p, actions=lambda i: max(17.0, 25.0 - 0.5 * i)),
    # a few replies at the limit
    "truncation storm": lambda p: ppo_run(p, terminated_fraction=lambda i: 0.85 + 0.05 * (-1) ** i),
    # a low loss, as right on what was held out
    "reward model overconfidence": lambda p: reward_model_run(
        p,
        loss=lambda i: 0.7 / (1 + i),
        accuracy=lambda i: min(0.97, 0.5 + i / 20),
        summary={"accuracy": 0.95, "accuracy_low": 0.9, "accuracy_high": 0.98, "held_out_loss": 0.15},
    ),
    # names and numbers are always new
    "out of distribution": lambda p: pipeline(
        p, [{"prompt": "p", "response": f"We will refund #K{i} it soon"} for i in range(96)], judged_texts()
    ),
    # length says much, the model says more
    "length bias": lambda p: reward_model_run(p, summary={"length_rule_accuracy": 0.65}),
    # an accidental double
    "label leakage": lambda p: reward_model_run(p, summary={"held_out_seen_fraction": 0.005}),
    # a habit of a few points
    "position bias": lambda p: comparisons_run(p, honest(200, first=0.55)),
    # somebody with five answers
    "one-sided labeller": lambda p: comparisons_run(p, [*honest(200), *(pair(500 + i, 0, "new") for i in range(5))]),
    # people differ, in a quarter
    "contradictory pairs": lambda p: comparisons_run(
        p, [pair(i % 40, (i // 3) % 2, f"r{i // 40}", int(i >= 40 and i % 5 == 0)) for i in range(80)]
    ),
    # the same question asked of several people
    "duplicate pairs": lambda p: comparisons_run(
        p, [pair(i, (i + r) % 2, f"r{r}") for i in range(40) for r in range(3)]
    ),
    # bf16 rounds
    "stale sampler": lambda p: ppo_run(
        p, sampler_gap_nats=lambda i: 0.04, job={"numerics": {"precision": "bf16", "recompute": False}}
    ),
    # an adapter begins as the reference
    "LoRA not delivered": lambda p: ppo_run(p, job={"lora_rank": 8}),
    # a small rise
    "forgetting": lambda p: ppo_run(p, demonstration_loss=lambda i: 0.5 + 0.012 * i),
    # replies become equally good
    "ranking conflict": lambda p: ppo_run(p, score_advantage_correlation=lambda i: 0.95 - 0.01 * i),
}
LATE: dict[str, Build] = {  # what would be an alarm if it stayed so
    # one epoch a batch: the critic comes nearer, slowly
    "critic": lambda p: ppo_run(
        p, explained_variance=lambda i: -2.0 / (1 + 0.2 * i), value_loss=lambda i: 2.0 / (1 + i)
    ),
    # a small learning rate: 0.3 nats, and growing
    "policy": lambda p: ppo_run(p, kl_nats_per_sequence=lambda i: 0.008 * i, score=lambda i: 0.01 * i),
}
assert as_plain(FLAT) == FLAT
