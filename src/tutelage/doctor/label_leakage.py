"""Held-out questions that were learned from: the accuracy on them is no test."""

from __future__ import annotations

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign

SEEN = 0.02  # share of held-out questions that stand among the learned ones, too


def examine(stage: Stage, run: Chart) -> Sign | None:
    seen = stage.result("held_out_seen_fraction")
    if seen is None or seen <= SEEN:
        return None
    accuracy = stage.result("accuracy")
    return Sign(
        severity="warning",
        step=None,
        evidence=(
            f"{seen:.0%} of the held-out questions were learned from, too (the same prompt and replies but for "
            "capitals and "
            "blanks).",
            *(
                [f"The accuracy of {accuracy:.0%}{stage.size('accuracy')} is therefore too high."]
                if accuracy is not None
                else []
            ),
        ),
        remedy="Drop the doubles before splitting; the split is by prompt, so prompts that differ only in blanks or "
        "capitals slip through it.",
        changes={},
        metrics=("accuracy",),
        weight=seen / SEEN,
    )


DISEASE = Disease(
    name="label leakage",
    kind="reward model",
    needs=("loss",),
    look="More than 2 % of the held-out questions stand among the learned ones.",
    causes=("The data hold the same question twice, written a little differently.", "Two sources of labels overlap."),
    confirm="Accuracy on labels collected afterwards is lower.",
    look_alike="The same prompt with other replies, and one accidental double.",
    examine=examine,
)
