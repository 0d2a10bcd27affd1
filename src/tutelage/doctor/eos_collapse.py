"""The policy ends its replies at once."""

from __future__ import annotations

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign

LEFT = 0.2  # of the length at the start
FEW = 2.0  # actions, the end of sequence being one
STARTED = 5.0  # actions at the start: shorter replies are the task


def examine(stage: Stage, run: Chart) -> Sign | None:
    series = stage.series("actions")
    if len(series) < 6 or series.start < STARTED:
        return None
    limit = max(LEFT * series.start, FEW)
    onset = series.onset(lambda values: values <= limit)
    if onset is None or series.last > limit:
        return None
    return Sign(
        severity="stop" if series.last <= FEW else "warning",
        step=onset,
        evidence=(
            f"Replies shrank from {series.start:.1f} to {series.last:.1f} actions, the end of sequence included.",
        ),
        remedy="Let the reward judge what is missing (an empty reply should score lowest), and charge more for KL; "
        "penalise the limit less if truncation_score drives it.",
        changes={stage.flag("kl_coefficient"): max(0.1, 2 * stage.setting("kl_coefficient", 0.1))},
        metrics=("actions", "terminated_fraction", "score"),
        samples=tuple(text for _, text in stage.texts()[-3:]),
        weight=series.start / max(series.last, 0.1),
    )


DISEASE = Disease(
    name="EOS collapse",
    kind="ppo",
    needs=("actions",),
    look="Replies of a fifth of their first length or less, or of two actions, and it stays so.",
    causes=(
        "The reward likes silence: a sum of penalties, a cost of length, a reward model that never saw empty replies.",
        "A truncation penalty so large that ending at once is safest.",
        "A mask that leaves the end of sequence out of the KL.",
    ),
    confirm="The reward of an empty reply is above that of the replies at the start.",
    look_alike="Replies that grow short because people want them short, and still say something.",
    examine=examine,
)
