"""Labels that prefer a place on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign
from tutelage.doctor.judgements import Judgement
from tutelage.formulas.intervals import clopper_pearson

FEWEST = 50  # judged pairs whose order is known
SIDED = 0.1  # from a half
CONFIDENCE = 0.999  # of the interval that must not hold a half


def examine(stage: Stage, run: Chart) -> Sign | None:
    first = [row.best == row.shown[0] for row in placed(stage.judgements)]
    if len(first) < FEWEST:
        return None
    share, (low, high) = sum(first) / len(first), clopper_pearson(sum(first), len(first), CONFIDENCE)
    if abs(share - 0.5) < SIDED or low <= 0.5 <= high:
        return None
    side = "first" if share > 0.5 else "second"
    return Sign(
        severity="warning",
        step=None,
        evidence=(
            f"Of {len(first)} pairs the reply shown {side} won in {max(share, 1 - share):.0%} "
            f"({CONFIDENCE:.1%} interval of the first: {low:.0%} to {high:.0%}).",
        ),
        remedy="Show pairs in a random order (`tutelage label` does), ask some twice with sides exchanged, and "
        "leave out "
        "who answers by side: `one-sided labeller`.",
        changes={},
        weight=abs(share - 0.5) / SIDED,
    )


def placed(rows: Sequence[Judgement]) -> list[Judgement]:
    """Judged pairs whose order on the screen is known."""
    return [row for row in rows if row.best is not None and len(row.texts) == 2 and len(row.shown) == 2]


DISEASE = Disease(
    name="position bias",
    kind="labels",
    needs=(),
    look="Of 50 judged pairs or more one place wins by ten points more than half, beyond chance (99.9 %).",
    causes=(
        "The better reply is always shown in the same place: an order that is not random.",
        "Labellers in a hurry, or a model as a judge, who take the first.",
    ),
    confirm="Ask fifty pairs again with sides exchanged: the answers change with them.",
    look_alike="A habit of a point or two, and few answers.",
    examine=examine,
)
