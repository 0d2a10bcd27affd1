"""Forgetting: the reward improves, and what was learned from demonstrations goes."""

from __future__ import annotations

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign

ROSE_BY_NATS = 0.6  # an action of the demonstrations; a healthy run of the demo rises by 0.2
ROSE_BY_SHARE = 0.5  # of what it was


def examine(stage: Stage, run: Chart) -> Sign | None:
    series = stage.series("demonstration_loss")
    if len(series) < 2:
        return None
    before, now = float(series.values[0]), float(series.values[-1])
    if now - before < max(ROSE_BY_NATS, ROSE_BY_SHARE * before):
        return None
    score = stage.series("score")
    onset = series.onset(lambda values: values - before >= max(ROSE_BY_NATS, ROSE_BY_SHARE * before), lasts=1)
    return Sign(
        severity="warning",
        step=onset,
        evidence=(
            f"Demonstrations cost {before:.2f} nats an action at the start, {now:.2f} at the end.",
            f"The score went from {score.start:.2f} to {score.last:.2f} meanwhile.",
        ),
        remedy="Charge more for KL, stop earlier, or train fewer weights (--lora-rank).",
        changes={
            stage.flag("kl_coefficient"): max(0.1, 2 * stage.setting("kl_coefficient", 0.1)),
            "--lora-rank": 16,
        },
        metrics=("demonstration_loss", "score", "kl_nats_per_sequence"),
        weight=(now - before) / ROSE_BY_NATS,
    )


DISEASE = Disease(
    name="forgetting",
    kind="ppo",
    needs=("demonstration_loss",),
    look="Demonstrations cost 0.6 nats an action, and half of it, more than at the start.",
    causes=(
        "The policy left its demonstrations for what the reward pays; the reward says nothing of what was lost.",
        "KL is too cheap, or the run too long.",
    ),
    confirm="Tasks of the demonstrations that the reward does not judge are answered worse.",
    look_alike="A small rise: a policy that grows sure of one good reply finds the others less likely.",
    examine=examine,
)
