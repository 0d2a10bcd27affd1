"""A reward model that is surer than it is right."""

from __future__ import annotations

import math

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign

COIN = math.log(2.0)  # nats: what tossing a coin costs on held-out pairs
BEYOND = 0.1  # calibration error above that by chance
LEARNED_BY_HEART = 0.15  # loss on the last minibatches
MEMORY_GAP = 0.2  # accuracy there less held-out accuracy


def examine(stage: Stage, run: Chart) -> Sign | None:
    signs = [*worse_than_a_coin(stage), *by_heart(stage), *miscalibrated(stage)]
    if not signs:
        return None
    epochs = stage.setting("epochs", 1.0)
    return Sign(
        severity="warning",
        step=None,
        evidence=tuple(signs),
        remedy="Train for fewer epochs or on softer answers; more labels help most.",
        changes={stage.flag("epochs"): max(1.0, epochs / 2), "--label-smoothing": 0.1},
        metrics=("loss", "accuracy"),
        weight=1.0 + len(signs),
    )


def worse_than_a_coin(stage: Stage) -> list[str]:
    loss, accuracy = stage.result("held_out_loss"), stage.result("accuracy")
    if loss is None or accuracy is None or loss <= COIN or accuracy <= 0.5:
        return []
    return [
        f"On held-out pairs it costs {loss:.2f} nats a pair, a coin costs {COIN:.2f}, though {accuracy:.0%} are "
        f"right{stage.size('accuracy')}: what "
        "it gets wrong it gets wrong with certainty."
    ]


def by_heart(stage: Stage) -> list[str]:
    loss, learned, held_out = stage.series("loss"), stage.series("accuracy"), stage.result("accuracy")
    if len(loss) < 6 or len(learned) < 6 or held_out is None or loss.last > LEARNED_BY_HEART:
        return []
    at_most = stage.result("accuracy_high")
    if learned.last - held_out < MEMORY_GAP or (at_most is not None and learned.last - at_most < MEMORY_GAP / 2):
        return []
    return [
        f"It learned its labels by heart: {learned.last:.0%} of the last minibatches right at {loss.last:.2f} nats, "
        f"{held_out:.0%} of what was held out{stage.size('accuracy')}."
    ]


def miscalibrated(stage: Stage) -> list[str]:
    error, chance = stage.result("calibration_error"), stage.result("calibration_error_by_chance")
    low = stage.result("temperature_low")
    if error is None or error - (chance or 0.0) < BEYOND or low is None or low <= 1.0:
        return []
    return [f"Calibration error {error:.2f}; it is right where scores are divided by more than {low:.1f}."]


DISEASE = Disease(
    name="reward model overconfidence",
    kind="reward model",
    needs=("loss",),
    look="A held-out loss above a coin's log 2, labels learned by heart (loss below 0.15, accuracy 20 points above the "
    "held-out one), or a calibration error 0.1 above chance.",
    causes=(
        "Too many epochs for so few labels.",
        "Answers that contradict each other, learned as if they were certain.",
        "A learning rate that is too high for the head.",
    ),
    confirm="`tutelage evaluate reward-model` on new labels: a temperature whose interval lies above 1.",
    look_alike="A small held-out set by chance, a model that is timid, a training loss that is low where held-out "
    "accuracy "
    "is as high.",
    examine=examine,
)
