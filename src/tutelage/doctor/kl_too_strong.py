"""A KL penalty so strong that nothing is learned."""

from __future__ import annotations

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign
from tutelage.doctor.learning import NAT_COSTS, standstill


def examine(stage: Stage, run: Chart) -> Sign | None:
    still = standstill(stage)
    if still is None or still.nat_costs < NAT_COSTS:
        return None
    return Sign(
        severity="warning",
        step=still.step,
        evidence=(
            f"At the end KL is {still.nats:.2f} nats a sequence and the score has gained {still.gain:+.2f}; its "
            "deviation "
            f"among replies is {still.deviation:.2f}.",
            f"A nat costs {still.price:.3g}, {still.nat_costs:.1f} deviations of the score.",
        ),
        remedy="Charge less for KL: about a tenth of the score's deviation a nat.",
        changes={stage.flag("kl_coefficient"): round(0.1 * still.deviation, 4)},
        metrics=("score", "kl_nats_per_sequence", "kl_coefficient"),
        weight=still.nat_costs,
    )


DISEASE = Disease(
    name="KL penalty too strong",
    kind="ppo",
    needs=("kl_nats_per_sequence", "score", "score_deviation"),
    look="After ten steps or more KL stays below half a nat and the score where it was, and one nat costs more than a "
    "deviation of the score.",
    causes=(
        "The coefficient was chosen for a reward of a larger scale.",
        "The adaptive controller aims at a KL that is too small (kl_target_nats).",
    ),
    confirm="The same run with a tenth of the coefficient gains within ten steps.",
    look_alike="A slow run: the score gains half a deviation, or KL passes half a nat, however late.",
    examine=examine,
)
