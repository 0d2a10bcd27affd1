"""Mode collapse: replies have become one, or repeat themselves."""

from __future__ import annotations

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign

ENTROPY_LEFT = 0.15  # of the entropy at the start, below which exploration is over
ENTROPY_NATS = 0.03  # an action, below which the policy is as good as greedy
DISTINCT_LEFT = 0.5  # of the different pairs of words at the start; down to 0.8 is healthy (docs/metrics.md)
REPEATS = 0.3  # more repeated pairs of words within a reply than at the start


def examine(stage: Stage, run: Chart) -> Sign | None:
    signs = [*entropy(stage), *distinct(stage), *repeats(stage)]
    if not signs:
        return None
    coefficient = stage.setting("kl_coefficient", 0.1)
    return Sign(
        severity="warning",
        step=min(step for step, _ in signs),
        evidence=tuple(said for _, said in signs),
        remedy="Charge more for KL, or lower the learning rate: both slow the narrowing.",
        changes={
            stage.flag("kl_coefficient"): max(0.1, 2 * coefficient),
            stage.flag("learning_rate"): stage.setting("learning_rate", 1e-4) / 2,
        },
        metrics=("entropy_nats", "distinct_2", "repetition_fraction", "score_deviation"),
        samples=tuple(text for _, text in stage.texts()[-3:]),
        weight=1.0 + len(signs),
    )


def entropy(stage: Stage) -> list[tuple[int, str]]:
    series = stage.series("entropy_nats")
    if len(series) < 6 or series.values.min() < -ENTROPY_NATS:  # more than rounding below 0: a density's, without floor
        return []
    limit = max(ENTROPY_LEFT * series.start, ENTROPY_NATS)
    onset = series.onset(lambda values: values < limit)
    if onset is None or series.last >= limit:
        return []
    return [(onset, f"Entropy fell from {series.start:.2f} to {series.last:.3f} nats an action.")]


def distinct(stage: Stage) -> list[tuple[int, str]]:
    series = stage.series("distinct_2")
    if len(series) < 6:
        return []
    onset = series.onset(lambda values: values < DISTINCT_LEFT * series.start)
    if onset is None or series.last >= DISTINCT_LEFT * series.start:
        return []
    return [(onset, f"Different pairs of words fell from {series.start:.2f} to {series.last:.2f} of all.")]


def repeats(stage: Stage) -> list[tuple[int, str]]:
    series = stage.series("repetition_fraction")
    if len(series) < 6:
        return []
    onset = series.onset(lambda values: values > series.start + REPEATS)
    if onset is None or series.last <= series.start + REPEATS:
        return []
    return [(onset, f"Pairs of words said again within a reply rose from {series.start:.0%} to {series.last:.0%}.")]


DISEASE = Disease(
    name="mode collapse",
    kind="ppo",
    needs=("entropy_nats",),
    look="Entropy below 15 % of its start, different pairs of words below half of theirs, or a third more "
    "repetition within "
    "replies, and it stays so.",
    causes=(
        "The reward has one favourite, and KL is too cheap to keep the others.",
        "The learning rate or the number of epochs is too high.",
        "The reward counts what a reply repeats.",
    ),
    confirm="Ten samples of one prompt at temperature 1 are nearly the same text.",
    look_alike="Entropy that falls slowly as the policy grows sure; prompts that ask for the same reply; an entropy "
    "below 0, which is a density's (torques) and has no floor.",
    examine=examine,
)
