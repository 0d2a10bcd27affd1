"""A learning rate at which nothing moves."""

from __future__ import annotations

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign
from tutelage.doctor.learning import NAT_COSTS, standstill

FASTER = 10.0  # what to try
MOVES_NATS = 0.05  # KL at the end, from which a run that keeps moving is slow and nothing worse


def examine(stage: Stage, run: Chart) -> Sign | None:
    still = standstill(stage)
    if still is None or still.nat_costs >= NAT_COSTS:
        return None
    rate = stage.setting("learning_rate", 1e-4)
    return Sign(
        severity="notice" if moves(stage) else "warning",
        step=still.step,
        evidence=(
            f"At the end KL is {still.nats:.3f} nats a sequence and the score has gained {still.gain:+.2f} "
            "(deviation among "
            f"replies {still.deviation:.2f}); the learning rate is {rate:g}.",
            f"The KL penalty is not what holds it: a nat costs {still.nat_costs:.2f} deviations of the score.",
        ),
        remedy="Raise the learning rate tenfold; then look at clip_fraction, which should stay below 0.3.",
        changes={stage.flag("learning_rate"): FASTER * rate if rate > 0 else 1e-4},
        metrics=("score", "kl_nats_per_sequence", "clip_fraction"),
    )


def moves(stage: Stage) -> bool:
    """Whether KL keeps growing: beyond its noise, and in the later half to twice what it was in the earlier."""
    kl = stage.series("kl_nats_per_sequence")
    early = float(kl.values[: len(kl) // 2].mean())
    return kl.last > max(MOVES_NATS, 2 * kl.noise) and float(kl.later_half().mean()) > 2 * early


DISEASE = Disease(
    name="learning rate too low",
    kind="ppo",
    needs=("kl_nats_per_sequence", "score", "score_deviation"),
    look="After ten steps or more KL stays below half a nat and the score where it was, though KL is cheap and the "
    "score "
    "tells replies apart.",
    causes=(
        "The learning rate is too low for this model.",
        "The weights that learn are not the weights that act: a frozen policy, an adapter that is off.",
        "Gradients are clipped away (max_grad_norm).",
    ),
    confirm="The same run at ten times the rate moves within ten steps.",
    look_alike="A slow run that moves (a notice while KL is below half a nat), a run of fewer than ten steps, a reward "
    "that says the same of every reply.",
    examine=examine,
)
