"""KL runaway: the policy leaves what the reward model was trained on."""

from __future__ import annotations

import numpy as np

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign

SEQUENCE_NATS, ACTION_NATS = 10.0, 0.3  # a mean above both is far (docs/metrics.md)
LOST_NATS = 50.0  # a sequence: nothing that the reward model says there means anything


def examine(stage: Stage, run: Chart) -> Sign | None:
    sequence, action = stage.series("kl_nats_per_sequence"), stage.series("kl_nats_per_action")
    if len(sequence) < 3 or len(action) != len(sequence):
        return None
    far = np.minimum(sequence.values / SEQUENCE_NATS, action.values / ACTION_NATS)
    onset = type(sequence)(sequence.steps, far).onset(lambda ratio: ratio > 1.0)
    if onset is None:
        return None
    coefficient, highest = stage.setting("kl_coefficient", 0.1), float(sequence.values.max())
    target = stage.settings.get("kl_target_nats")
    return Sign(
        severity="stop" if sequence.last > LOST_NATS else "warning",
        step=onset,
        evidence=(
            f"KL to the reference reached {highest:.1f} nats a sequence and ended at {sequence.last:.1f} "
            f"({action.last:.2f} an action); up to {SEQUENCE_NATS:g} or {ACTION_NATS:g} an action is near.",
            f"A nat costs {coefficient:g} of reward"
            + (f"; the controller aims at {target:g} nats." if isinstance(target, (int, float)) else "."),
        ),
        remedy="Charge more for KL, or go in smaller steps.",
        changes={
            stage.flag("kl_coefficient"): max(0.1, 2 * coefficient),
            stage.flag("learning_rate"): stage.setting("learning_rate", 1e-4) / 2,
        },
        metrics=("kl_nats_per_sequence", "kl_coefficient", "score"),
        weight=float(far.max()),
    )


DISEASE = Disease(
    name="KL runaway",
    kind="ppo",
    needs=("kl_nats_per_sequence", "kl_nats_per_action"),
    look="More than 10 nats a sequence and 0.3 an action, three steps on end.",
    causes=(
        "The KL coefficient is 0 or too small for the scale of the reward.",
        "The learning rate, or the number of epochs, is too high.",
        "The reward keeps rising in a direction that the reference would never go.",
    ),
    confirm="The same run with twice the coefficient levels off; gold or held-out score at the peak is no lower.",
    look_alike="Short replies with a high KL an action, and long ones with many nats but few an action.",
    examine=examine,
)
