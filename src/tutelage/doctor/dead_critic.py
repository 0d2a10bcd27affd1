"""A dead critic: values that know less than a constant would."""

from __future__ import annotations

import numpy as np

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign

FEWEST = 10  # steps: every critic begins below 0
DEAD, HARMFUL = 0.0, -0.1  # median explained variance of the later half: a notice, a warning
LEARNS = 0.6  # of value_loss at the start: a critic that came below it is late, not dead
CONVERGED = 0.1  # of the score's deviation at the start: below it there is no variance left to explain


def examine(stage: Stage, run: Chart) -> Sign | None:
    series = stage.series("explained_variance")
    if len(series) < FEWEST or converged(stage):
        return None
    middle = float(np.median(series.later_half()))
    if middle >= DEAD or series.last >= DEAD:
        return None
    rate = stage.setting("value_learning_rate", 3e-4)
    return Sign(
        severity="warning" if middle < HARMFUL and series.last < HARMFUL and not learns(stage) else "notice",
        step=int(series.steps[0]),
        evidence=(
            f"Explained variance is {middle:.2f} in the median of the later half, {series.last:.2f} at the end, "
            f"{series.values.max():.2f} at best: a constant would do better.",
            f"The critic's learning rate is {rate:g}.",
        ),
        remedy="Raise the critic's learning rate, and start it from the reward model (leave out --value-head).",
        changes={stage.flag("value_learning_rate"): 3 * rate if rate > 0 else 3e-4},
        metrics=("explained_variance", "value_loss", "gradient_norm_value"),
        weight=1.0 - middle,
    )


def learns(stage: Stage) -> bool:
    """Whether the critic comes nearer: its loss falls, and what it explains rises."""
    loss, explained = stage.series("value_loss"), stage.series("explained_variance")
    falls = len(loss) > 0 and loss.last < LEARNS * loss.start
    return falls and float(np.median(explained.later_half())) > explained.start


def converged(stage: Stage) -> bool:
    series = stage.series("score_deviation")
    return len(series) > 0 and series.last < CONVERGED * series.start


DISEASE = Disease(
    name="dead critic",
    kind="ppo",
    needs=("explained_variance",),
    look="Explained variance below 0 in the median of the later half and at the end, after ten steps or more; a "
    "warning "
    "below -0.1.",
    causes=(
        "The critic's learning rate is 0 or too low.",
        "value_clip_range is small against the scale of the reward: see `value clip against reward scale`.",
        "The critic starts from nothing learned, or shares a trunk that forgets it (value_weight).",
    ),
    confirm="value_loss does not fall; with three times value_learning_rate explained variance passes 0 within ten "
    "steps.",
    look_alike="The first steps of every run; a critic whose loss falls while it explains more, however late (a "
    "notice); and a policy whose replies all score the same: there is nothing to explain.",
    examine=examine,
)
