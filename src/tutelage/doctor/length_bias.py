"""A reward model that may know nothing but length."""

from __future__ import annotations

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign
from tutelage.doctor.length import longer_preferred

RULE = 0.62  # accuracy of preferring the longer (or the shorter) reply, above which length says much
BEYOND = 0.03  # accuracy above that rule, below which the model may know no more
WIDEST = 0.2  # interval of the accuracy: with a wider one there are too few held-out questions to tell


def examine(stage: Stage, run: Chart) -> Sign | None:
    accuracy, rule = stage.result("accuracy"), stage.result("length_rule_accuracy")
    if accuracy is None or rule is None or width(stage) > WIDEST:
        return None
    best = max(rule, 1.0 - rule)
    beyond = stage.result("accuracy_beyond_length_low")
    if best < RULE or accuracy - best >= BEYOND or (beyond is not None and beyond > 0):
        return None
    share, pairs = longer_preferred(run.judgements) if len(run.of_kind("labels")) == 1 else (0.5, 0)
    word = "longer" if rule >= 0.5 else "shorter"
    return Sign(
        severity="warning",
        step=None,
        evidence=(
            f"Held-out accuracy {accuracy:.0%}{stage.size('accuracy')}; preferring the {word} reply reaches "
            f"{best:.0%}.",
            *([f"In {max(share, 1 - share):.0%} of {pairs} judged pairs the {word} reply won."] if pairs else []),
        ),
        remedy="Ask about pairs of equal length, or leave out pairs until the longer one wins as often as it loses; "
        "the "
        "labels are wrong for this, no setting is.",
        changes={},
        metrics=("accuracy", "loss"),
        weight=best / RULE,
    )


def width(stage: Stage) -> float:
    low, high = stage.result("accuracy_low"), stage.result("accuracy_high")
    return 0.0 if low is None or high is None else high - low


DISEASE = Disease(
    name="length bias",
    kind="reward model",
    needs=("loss",),
    look="Preferring the longer (or shorter) reply is right in 62 % of the held-out pairs or more, and the model is "
    "at most "
    "three points better.",
    causes=(
        "Labellers reward length, or better replies happen to be longer.",
        "Too few labels for anything beyond length.",
    ),
    confirm="`tutelage evaluate reward-model`: accuracy_beyond_length holds 0.",
    look_alike="Labels in which length says much and the model says more.",
    examine=examine,
)
