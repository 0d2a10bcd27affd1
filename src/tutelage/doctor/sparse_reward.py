"""A reward that says the same of nearly every reply: nothing to learn from."""

from __future__ import annotations

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign

EQUAL = 0.9  # share of episodes with the commonest score
FEWEST = 5
ENDED = 0.7  # terminated share below which equal scores are those of cut-off replies


def examine(stage: Stage, run: Chart) -> Sign | None:
    series = stage.series("commonest_score_fraction")
    if len(series) < FEWEST or series.first < EQUAL or cut_off(stage):
        return None
    onset = series.onset(lambda values: values >= EQUAL)
    always = float(series.values.min()) >= 1.0
    return Sign(
        severity="stop" if always else "warning",
        step=onset if onset is not None else int(series.steps[0]),
        evidence=(
            f"{series.first:.0%} of the first episodes have one and the same score, {series.last:.0%} of the last.",
            f"The score deviates by {stage.series('score_deviation').first:.3g} among replies.",
        ),
        remedy="Give credit for parts of what is wanted, or begin from a policy that reaches it now and then (SFT, "
        "best of "
        "n); more trajectories a step make rare successes less rare.",
        changes={stage.flag("trajectories"): int(2 * stage.setting("trajectories", 64))},
        metrics=("commonest_score_fraction", "score_deviation", "score"),
        weight=series.first / EQUAL,
    )


def cut_off(stage: Stage) -> bool:
    """Whether many replies are cut off and all of those get one score of their own."""
    ended = stage.series("terminated_fraction")
    return stage.settings.get("truncation_score") is not None and len(ended) > 0 and ended.first < ENDED


DISEASE = Disease(
    name="sparse reward",
    kind="ppo",
    needs=("commonest_score_fraction", "score_deviation"),
    look="From the first steps on 90 % or more of the episodes have the same score.",
    causes=(
        "A rule that is nearly never (or nearly always) met.",
        "A reward function that falls back to a constant: a parser that fails, a field never filled.",
        "Scores rounded or clipped to few values.",
    ),
    confirm="Score a hundred replies by hand through the reward: how many different numbers come out.",
    look_alike="Replies that have come to score the same after the policy learned; replies that all hit the token "
    "limit.",
    examine=examine,
)
