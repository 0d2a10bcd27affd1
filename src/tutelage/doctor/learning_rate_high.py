"""Steps too large: clipping everywhere, KL that jumps, numbers that are none."""

from __future__ import annotations

import numpy as np

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign

CLIPPED = 0.3  # share of actions clipped (docs/metrics.md)
MOVED_NATS = 0.05  # approximate KL of an update (docs/metrics.md)
FAR_NATS = 1.0  # approximate KL of an update after which nothing of what was sampled holds
LASTS = 3  # steps on end
FAR_JUMP_NATS = 20.0  # the same of KL a sequence from one batch to the next, where one epoch leaves no approximate KL
JUMP_NATS, JUMPS = 5.0, 2  # KL a sequence from one batch to the next, so often
NOT_FINITE = ("NotFinite", "FloatingPointError")


def examine(stage: Stage, run: Chart) -> Sign | None:
    signs = [*too_far(stage), *jumped(stage), *broke(stage)]
    if not signs:
        return None
    rate = stage.setting("learning_rate", 1e-4)
    return Sign(
        severity="stop" if stage.unhappy_end in NOT_FINITE or thrown(stage) is not None else "warning",
        step=min(step for step, _, _ in signs),
        evidence=tuple(said for _, said, _ in signs),
        remedy="Lower the learning rate to a third, or go over each batch fewer times.",
        changes={stage.flag("learning_rate"): rate / 3, stage.flag("epochs"): 1},
        metrics=("clip_fraction", "approximate_kl_nats", "kl_nats_per_sequence", "score"),
        weight=max(weight for _, _, weight in signs),
    )


def thrown(stage: Stage) -> int | None:
    """The step from which on updates threw the policy about: what it then does is no answer to any reward."""
    kl = stage.series("kl_nats_per_sequence")
    far = np.flatnonzero(np.abs(np.diff(kl.values)) > FAR_JUMP_NATS) if len(kl) > 1 else np.array([])
    if len(far) >= JUMPS:
        return int(kl.steps[far[0] + 1])
    return stage.series("approximate_kl_nats").onset(lambda values: values > FAR_NATS, LASTS)


def too_far(stage: Stage) -> list[tuple[int, str, float]]:
    """(onset, evidence, how far beyond) of updates that go too far."""
    found: list[tuple[int, str, float]] = []
    for name, limit in (("clip_fraction", CLIPPED), ("approximate_kl_nats", MOVED_NATS)):
        series = stage.series(name)
        onset = series.onset(lambda values, limit=limit: values > limit, LASTS)
        if onset is not None:
            highest = float(series.values.max())
            found.append(
                (onset, f"{name} is above {limit:g} from step {onset}, {highest:.2f} at most.", highest / limit)
            )
    return found


def jumped(stage: Stage) -> list[tuple[int, str, float]]:
    series = stage.series("kl_nats_per_sequence")
    far = np.flatnonzero(np.abs(np.diff(series.values)) > JUMP_NATS) if len(series) > 1 else np.array([])
    if len(far) < JUMPS:
        return []
    step, most = int(series.steps[far[0] + 1]), float(np.abs(np.diff(series.values)).max())
    said = f"KL a sequence jumps by up to {most:.1f} nats from one batch to the next, first at step {step}."
    return [(step, said, most / JUMP_NATS)]


def broke(stage: Stage) -> list[tuple[int, str, float]]:
    if stage.unhappy_end not in NOT_FINITE:
        return []
    step = int(stage.events[-1]["step"]) + 1 if stage.events else 0
    return [(step, f"The run ended at step {step} because a number was not finite ({stage.unhappy_end}).", 10.0)]


DISEASE = Disease(
    name="learning rate too high",
    kind="ppo",
    needs=("kl_nats_per_sequence",),
    look="clip_fraction above 0.3 or approximate_kl_nats above 0.05 three steps on end, KL that jumps by more than "
    "five nats between batches twice, or a loss that is not finite. Above 1 nat three steps on end, or "
    "with two jumps above twenty, it is a stop.",
    causes=(
        "The learning rate is too high for this model or for LoRA's rank.",
        "Too many epochs or minibatches over one batch.",
        "Advantages of few episodes: the batch is small.",
    ),
    confirm="The same run at a third of the rate has a clip_fraction below 0.3 and at least the same score.",
    look_alike="A clip_fraction that is high for a step or two after the warm-up.",
    examine=examine,
)
