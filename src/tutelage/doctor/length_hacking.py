"""Length hacking: replies grow, or shrink, because length alone is paid for."""

from __future__ import annotations

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign
from tutelage.doctor.length import longer_preferred
from tutelage.doctor.reward_hacking import ALL_LOST, hacked
from tutelage.doctor.witness import falls

LONGER, SHORTER = 1.5, 0.6  # of the length at the start
GAIN = 0.5  # deviations of the score that the change must have brought
ASKED_FOR = 0.6  # share of judged pairs in which the longer (shorter) one won: people want it so


def examine(stage: Stage, run: Chart) -> Sign | None:
    actions, score, deviation = (stage.series(name) for name in ("actions", "score", "score_deviation"))
    if len(actions) < 6 or actions.start <= 0:
        return None
    ratio, gain = actions.last / actions.start, score.last - score.start
    if SHORTER < ratio < LONGER or gain < GAIN * deviation.start:
        return None
    grown = ratio > 1
    onset = actions.onset(
        lambda values: (values / actions.start > LONGER) if grown else values / actions.start < SHORTER
    )
    wanted, told = wanted_by_people(run, grown)
    lost = max((fall.gain_lost for fall in falls(stage) if hacked(fall)), default=0.0)
    price = 2 * stage.setting("kl_coefficient", 0.1)
    return Sign(
        severity="stop" if lost >= ALL_LOST else "notice" if wanted and not falls(stage) else "warning",
        step=onset if onset is not None else int(actions.steps[-1]),
        evidence=(
            f"Replies went from {actions.start:.1f} to {actions.last:.1f} actions while the score rose by {gain:.2f}.",
            *correlated(stage),
            *told,
        ),
        remedy="Balance the labels by length (pairs in which the longer reply loses as often as it wins), then "
        "train the "
        "reward model again; until then charge more for KL.",
        changes={stage.flag("kl_coefficient"): price if price > 0 else 0.1},
        metrics=("actions", "score", "length_score_correlation", "gold_score"),
        samples=tuple(text for _, text in [*stage.texts()[:1], *stage.texts()[-2:]]),
        weight=ratio if grown else 1 / max(ratio, 1e-3),
    )


def correlated(stage: Stage) -> list[str]:
    if not stage.has("length_score_correlation"):
        return []
    return [
        f"Over the run length and score correlate by {stage.series('length_score_correlation').values.mean():+.2f}."
    ]


def wanted_by_people(run: Chart, grown: bool) -> tuple[bool, list[str]]:
    """Whether the labels of this run prefer that direction, and in words."""
    share, pairs = longer_preferred(run.judgements)
    if pairs == 0:
        return False, []
    mine = share if grown else 1 - share
    word = "longer" if grown else "shorter"
    return mine >= ASKED_FOR, [f"In {mine:.0%} of {pairs} judged pairs the {word} reply won."]


DISEASE = Disease(
    name="length hacking",
    kind="ppo",
    needs=("actions", "score", "score_deviation"),
    look="Replies grow by half or shrink to 60 % while the score gains half a deviation. A stop where a judge "
    "meanwhile lost what it had gained (then it is the reward hacking that has a name).",
    causes=(
        "A length bias of the reward model: longer (or shorter) replies were preferred for other reasons.",
        "The score is a sum over sentences or tokens.",
        "A truncation penalty, or none, makes one length safe.",
    ),
    confirm="Win rate with length controlled (`tutelage evaluate policies`) is far below the plain one.",
    look_alike="People who want it so: the labels prefer that length and no judge falls (then it is a notice).",
    examine=examine,
)
