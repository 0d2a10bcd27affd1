"""The reward model ranks one way, the updates go another."""

from __future__ import annotations

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign
from tutelage.doctor.learning_rate_high import thrown

GAIN = 1.0  # deviations of the score: where it rose so far, the updates did follow it
AGREES = 0.4  # correlation of score and advantage over episodes; healthy runs lie near 0.9
OPPOSED = -0.2  # below it the updates go against the score
FALL = 0.5  # deviations of the score that it fell though the policy moved
MOVED_NATS = 1.0


def examine(stage: Stage, run: Chart) -> Sign | None:
    series = stage.series("score_advantage_correlation")
    signs = [*disagreeing(stage), *falling(stage)]
    if not signs:
        return None
    opposed = len(series) > 0 and series.last < OPPOSED
    price = stage.setting("kl_coefficient", 0.1)
    return Sign(
        severity="stop" if opposed or len(signs) == 2 else "warning",
        step=min(step for step, _ in signs),
        evidence=tuple(said for _, said in signs),
        remedy="If the KL term decides, charge less for it; if it does not, look for a sign, a mask or a score that is "
        "given to the wrong episode.",
        changes={stage.flag("kl_coefficient"): price / 4},
        metrics=("score_advantage_correlation", "score", "kl_nats_per_sequence", "kl_coefficient"),
        weight=1.0 + len(signs),
    )


def disagreeing(stage: Stage) -> list[tuple[int, str]]:
    series, spread = stage.series("score_advantage_correlation"), stage.series("commonest_score_fraction")
    # what a piece of a body's episode is paid is the worth of where it begins, which an advantage leaves out
    least = OPPOSED if stage.of_bodies else AGREES
    if len(series) < 6 or series.last >= least or (len(spread) and spread.last > 0.9):
        return []
    score, deviation = stage.series("score"), stage.series("score_deviation")
    if score.last - score.start > GAIN * deviation.start:
        return []
    onset = series.onset(lambda values: values < least)
    if onset is None:
        return []
    said = f"Over episodes score and advantage correlate by {series.last:+.2f} at the end ({series.start:+.2f} at "
    "the start)."
    return [(onset, said)]


def falling(stage: Stage) -> list[tuple[int, str]]:
    """A score that falls from the start on though the policy moves: no storm, nothing unlearned or thrown about."""
    score, deviation, kl = (stage.series(name) for name in ("score", "score_deviation", "kl_nats_per_sequence"))
    ended = stage.series("terminated_fraction")
    if len(score) < 6 or kl.last < MOVED_NATS or (len(ended) and ended.last < 0.7):
        return []
    if thrown(stage) is not None:
        return []
    if (
        score.start - score.last < FALL * deviation.start
        or float(score.means().values.max()) > score.start + deviation.start
    ):
        return []
    said = f"The optimised score fell from {score.start:.2f} to {score.last:.2f} while KL grew to {kl.last:.1f} nats."
    return [(int(score.steps[0]), said)]


DISEASE = Disease(
    name="ranking conflict",
    kind="ppo",
    needs=("score", "score_deviation"),
    look="Over episodes score and advantage correlate by less than 0.4 at the end, or the score falls from the "
    "start on while "
    "the policy moves.",
    causes=(
        "The KL term outweighs the score: what the reward model ranks first is what KL charges most for.",
        "An advantage of the wrong sign, or scores given to other episodes than they belong to.",
        "A critic that overrides the score (see `dead critic`).",
    ),
    confirm="With a quarter of the coefficient the correlation comes back; if not, it is a defect.",
    look_alike="A correlation that falls from 0.95 to 0.7 as replies become equally good; all scores equal; a "
    "score that rises all the same, or falls because updates were so large that the policy fell apart; a body's critic "
    "that knows what a piece of an episode will be paid.",
    examine=examine,
)
