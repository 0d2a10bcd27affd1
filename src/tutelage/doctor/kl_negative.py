"""Negative KL: the replies are no samples of the policy, so that nothing estimated from them is right."""

from __future__ import annotations

import numpy as np

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign

LASTS = 5  # steps on end: one batch may be negative by chance
NATS = -0.1  # a sequence, mean of those steps
ERRORS = 3.0  # standard errors below 0


def examine(stage: Stage, run: Chart) -> Sign | None:
    series = stage.series("kl_nats_per_sequence")
    for end in range(LASTS, len(series) + 1):
        part = series.values[end - LASTS : end]
        mean, error = float(part.mean()), float(part.std(ddof=1) / np.sqrt(LASTS))
        if mean < NATS and mean + ERRORS * error < 0.0:
            return sign(stage, int(series.steps[end - LASTS]), mean, float(series.values.min()))
    return None


def sign(stage: Stage, step: int, mean: float, lowest: float) -> Sign:
    drawn = [f"{name} {stage.job[name]}" for name in ("temperature", "top_p", "top_k") if name in stage.job]
    return Sign(
        severity="stop",
        step=step,
        evidence=(
            f"KL to the reference is {mean:.2f} nats a sequence over {LASTS} steps from step {step}, {lowest:.2f} "
            "at the "
            "lowest; of samples of the policy it is never below 0 but for noise.",
            *([f"Sampled with {', '.join(drawn)}."] if drawn else []),
        ),
        remedy="Sample from the whole distribution at the temperature of the log-probs, and let the sampler be "
        "checked.",
        changes={"--temperature": 1.0, "--top-p": 1.0, "--top-k": 0, stage.flag("parity_tolerance_nats"): 1e-3},
        metrics=("kl_nats_per_sequence", "sampler_gap_nats"),
        weight=mean / NATS,
    )


DISEASE = Disease(
    name="KL negative",
    kind="ppo",
    needs=("kl_nats_per_sequence",),
    look="KL a sequence below -0.1 nats over five steps on end, by more than three standard errors.",
    causes=(
        "The sampler has another temperature than the log-probs.",
        "top-p or top-k without the support being replayed, or greedy replies.",
        "The sampler has older weights than the learner, or the reference is not where the policy began.",
    ),
    confirm="The preflight's `samples are of the policy` fails, or sampler_gap_nats is above the tolerance.",
    look_alike="A single batch below 0, and wavering about 0 in the first steps, when the policy is the reference.",
    examine=examine,
)
