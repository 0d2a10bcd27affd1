"""An adapter that learns and never acts."""

from __future__ import annotations

import numpy as np

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign
from tutelage.doctor.stale_sampler import adapter_not_there, rank

FEWEST = 5
NOTHING_NATS = 1e-6  # KL a sequence: the policy is the reference to the last bit


def examine(stage: Stage, run: Chart) -> Sign | None:
    if rank(stage) < 1:
        return None
    kl, gradient = stage.series("kl_nats_per_sequence"), stage.series("gradient_norm_policy")
    never_moved = len(kl) >= FEWEST and bool(np.all(np.abs(kl.values) < NOTHING_NATS))
    learns = len(gradient) > 0 and float(gradient.values.max()) > 0
    if not adapter_not_there(stage) and not (never_moved and learns):
        return None
    gap = stage.series("sampler_gap_nats")
    return Sign(
        severity="stop",
        step=int(kl.steps[min(1, len(kl) - 1)]) if len(kl) else None,
        evidence=(
            f"An adapter of rank {rank(stage)} is trained (gradient norm up to "
            f"{gradient.values.max() if learns else 0:.2g}).",
            f"KL to the reference stays {kl.last:.1g} nats: what acts is the model without the adapter."
            if never_moved
            else f"The sampler's log-probs were the learner's at first (gap {gap.values[0]:.1g} nats) and drift away "
            f"({gap.values[-1]:.2g}).",
        ),
        remedy="Sample with the adapter: --sampler native, or merge it when publishing; the preflight's `new "
        "weights arrive` "
        "tells.",
        changes={"--sampler": "native"},
        metrics=("sampler_gap_nats", "kl_nats_per_sequence", "gradient_norm_policy"),
        weight=2.0,
    )


DISEASE = Disease(
    name="LoRA not delivered",
    kind="ppo",
    needs=("kl_nats_per_sequence",),
    look="With lora_rank above 0: KL exactly 0 while the policy has gradients, or a gap between sampler and learner "
    "that "
    "was none before the first update and grows.",
    causes=(
        "The sampler's copy has the base weights: the adapter was never sent, or sent and not merged.",
        "The adapter is switched off where log-probs are taken.",
    ),
    confirm="Sample once with the adapter merged by hand: the replies differ.",
    look_alike="An adapter that begins at 0, whose first step is the reference.",
    examine=examine,
)
