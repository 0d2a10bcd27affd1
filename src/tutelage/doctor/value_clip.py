"""A value clip that is small against the scale of the reward: the critic cannot follow."""

from __future__ import annotations

import numpy as np

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign

FEWEST = 8
REACH = 0.05  # value_clip_range against the deviation of returns: at 0.1 a demo learns well
STUCK = 0.3  # share of values at the clip, in the later half


def examine(stage: Stage, run: Chart) -> Sign | None:
    returns, clip = stage.series("return_deviation"), stage.setting("value_clip_range", 0.2)
    unclipped = bool(stage.settings) and "value_clip_range" not in stage.settings  # A2C clips no values
    if len(returns) < FEWEST or unclipped:
        return None
    scale = float(np.median(returns.later_half()))
    clipped = stage.series("value_clipped_fraction")
    stuck = float(np.median(clipped.later_half())) if len(clipped) else 0.0
    explained = stage.series("explained_variance")
    if scale <= 0 or clip / scale >= REACH or (stuck < STUCK and len(explained) and explained.last > 0):
        return None
    return Sign(
        severity="warning",
        step=int(returns.steps[0]),
        evidence=(
            f"A value may move by {clip:g} an update, returns deviate by {scale:.3g}: {clip / scale:.1%} of it.",
            f"In the later half {stuck:.0%} of the values lie at the clip.",
        ),
        remedy="Scale the reward to deviation 1 (--normalise-deviation of the reward model), or widen the clip to a "
        "fifth "
        "of the returns' deviation.",
        changes={"--normalise-deviation": 1.0, stage.flag("value_clip_range"): float(f"{0.2 * scale:.2g}")},
        metrics=("return_deviation", "value_clipped_fraction", "explained_variance", "value_loss"),
        weight=REACH * scale / max(clip, 1e-9),
    )


DISEASE = Disease(
    name="value clip against reward scale",
    kind="ppo",
    needs=("return_deviation",),
    look="value_clip_range below 5 % of the returns' deviation, with values at the clip or a critic that explains "
    "nothing.",
    causes=(
        "The reward is not normalised: its scale is that of another model or of a sum.",
        "value_clip_range was set for scores of deviation 1.",
    ),
    confirm="With a wider clip explained_variance rises within ten steps.",
    look_alike="Many values at the clip in the first steps, while the critic finds its scale.",
    examine=examine,
)
