"""Steps too large: clipping everywhere, KL that jumps, numbers that are none."""

from __future__ import annotations

import numpy as np

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign

CLIPPED = 0.3  # share of actions clipped (docs/metrics.md)
MOVED_NATS = 0.05  # approximate KL of an update (docs/metrics.md)
FAR_NATS = 1.0  # an action, of an update or from one batch to the next: then nothing of what was sampled holds
LASTS = 3  # steps on end
JUMP_NATS, JUMP_ACTION_NATS = 5.0, 0.1  # KL a sequence, and an action, from one batch to the next
JUMPS = 2  # so often
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
    leaps = leaps_of(stage, "kl_nats_per_action", FAR_NATS)  # with one epoch there is no approximate KL to see it by
    if len(leaps) >= JUMPS:
        return min(leaps)
    return stage.series("approximate_kl_nats").onset(lambda values: values > FAR_NATS, LASTS)


def too_far(stage: Stage) -> list[tuple[int, str, float]]:
    """(onset, evidence, how far beyond) of updates that go too far.

    Of bodies KL alone: two hundred updates a batch clip half of their actions in a clip range of 0.1, and learn well.
    """
    found: list[tuple[int, str, float]] = []
    clipped = [] if stage.of_bodies else [("clip_fraction", CLIPPED)]
    for name, limit in [*clipped, ("approximate_kl_nats", MOVED_NATS)]:
        series = stage.series(name)
        onset = series.onset(lambda values, limit=limit: values > limit, LASTS)
        if onset is not None:
            highest = float(series.values.max())
            found.append(
                (onset, f"{name} is above {limit:g} from step {onset}, {highest:.2f} at most.", highest / limit)
            )
    return found


def jumped(stage: Stage) -> list[tuple[int, str, float]]:
    """Long replies move by many nats without moving far: it takes a leap by the action, too."""
    leaps = leaps_of(stage, "kl_nats_per_sequence", JUMP_NATS)
    if stage.has("kl_nats_per_action"):
        leaps &= leaps_of(stage, "kl_nats_per_action", JUMP_ACTION_NATS)
    if len(leaps) < JUMPS:
        return []
    step, most = min(leaps), float(np.abs(np.diff(stage.series("kl_nats_per_sequence").values)).max())
    said = f"KL a sequence jumps by up to {most:.1f} nats from one batch to the next, first at step {step}."
    return [(step, said, most / JUMP_NATS)]


def leaps_of(stage: Stage, name: str, limit: float) -> set[int]:
    """The steps to which a column jumped by more than `limit`."""
    series = stage.series(name)
    far = np.flatnonzero(np.abs(np.diff(series.values)) > limit) if len(series) > 1 else []
    return {int(series.steps[place + 1]) for place in far}


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
    "five nats a sequence and 0.1 an action between batches twice, or a loss that is not finite. Above 1 nat three "
    "steps on end, or with two jumps above 1 nat an action, it is a stop.",
    causes=(
        "The learning rate is too high for this model or for LoRA's rank.",
        "Too many epochs or minibatches over one batch.",
        "Advantages of few episodes: the batch is small.",
    ),
    confirm="The same run at a third of the rate has a clip_fraction below 0.3 and at least the same score.",
    look_alike="A clip_fraction that is high for a step or two after the warm-up; long replies, whose KL a sequence "
    "moves by many nats and hardly by the action; a body's policy, which hundreds of updates a batch clip by half.",
    examine=examine,
)
