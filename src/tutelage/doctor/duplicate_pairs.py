"""Pairs that teach nothing: the same reply twice, or the same answer again and again."""

from __future__ import annotations

from collections import Counter

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign
from tutelage.doctor.judgements import plain

FEWEST = 20
IDENTICAL = 0.05  # share of pairs of two replies that read the same
DOUBLED = 0.1  # share of answers that one labeller gave to the same question before


def examine(stage: Stage, run: Chart) -> Sign | None:
    rows = [row for row in stage.judgements if row.told]
    if len(rows) < FEWEST:
        return None
    identical = sum(len(set(map(plain, row.texts))) < len(row.texts) for row in rows) / len(rows)
    asked = Counter((row.rater, row.question) for row in rows)
    doubled = sum(count - 1 for count in asked.values()) / len(rows)
    if identical <= IDENTICAL and doubled <= DOUBLED:
        return None
    return Sign(
        severity="warning",
        step=None,
        evidence=(
            f"{identical:.0%} of {len(rows)} pairs hold the same reply twice; {doubled:.0%} of the answers repeat "
            "one by the "
            "same labeller to the same question.",
        ),
        remedy="Drop them before training; sample at a higher temperature, or ask about other prompts, so that the two "
        "replies differ.",
        changes={},
        weight=max(identical / IDENTICAL, doubled / DOUBLED),
    )


DISEASE = Disease(
    name="duplicate pairs",
    kind="labels",
    needs=(),
    look="Of 20 pairs or more 5 % hold the same reply twice, or 10 % of the answers repeat one by the same labeller.",
    causes=(
        "Replies drawn at a low temperature, or from a collapsed policy.",
        "A file imported twice.",
        "Prompts that repeat.",
    ),
    confirm="The number of different questions is far below the number of rows.",
    look_alike="The same question asked of several people, which is how agreement is measured.",
    examine=examine,
)
