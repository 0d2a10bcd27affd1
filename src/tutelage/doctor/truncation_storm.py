"""Replies that hit the token limit: they never end by themselves."""

from __future__ import annotations

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign

ENDED = 0.7  # share of episodes that end by themselves; near 1 is healthy (docs/metrics.md)
BEGAN = 0.9  # at the start: then the policy lost it, else the limit is too tight


def examine(stage: Stage, run: Chart) -> Sign | None:
    series = stage.series("terminated_fraction")
    onset = series.onset(lambda values: values < ENDED)
    if onset is None or stage.of_bodies:
        return None
    lost = series.start >= BEGAN
    tokens = stage.job.get("max_new_tokens")
    return Sign(
        severity="stop" if series.last < ENDED / 2 and lost else "warning",
        step=onset,
        evidence=(
            f"The share of replies that end by themselves is {series.start:.0%} at the start, "
            f"{series.values.min():.0%} at the "
            f"lowest, {series.last:.0%} at the end.",
            "It was lost on the way." if lost else "It was low from the start: the limit cuts what the policy says.",
        ),
        remedy="Give a cut-off reply a low score of its own, and lower the learning rate."
        if lost
        else "Raise the limit to the length of the demonstrations.",
        changes={stage.flag("truncation_score"): -2.0}
        if lost
        else {"--max-new-tokens": 2 * int(tokens) if isinstance(tokens, int) else 128},
        metrics=("terminated_fraction", "actions", "score"),
        samples=tuple(text for _, text in stage.texts()[-2:]),
        weight=ENDED / max(series.last, 0.05),
    )


DISEASE = Disease(
    name="truncation storm",
    kind="ppo",
    needs=("terminated_fraction",),
    look="Fewer than 70 % of the replies end by themselves, three steps on end.",
    causes=(
        "The limit is shorter than what the policy learned to say.",
        "The reward pays for length, or nothing is charged for being cut off.",
        "The policy fell apart and no longer finds its end of sequence.",
    ),
    confirm="Sample with twice the limit: the replies end, or they do not.",
    look_alike="A few replies at the limit, and environments of fixed length, whose end is no truncation.",
    examine=examine,
)
