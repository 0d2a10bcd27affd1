"""Somebody who nearly always clicks one side."""

from __future__ import annotations

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign
from tutelage.doctor.position_bias import placed
from tutelage.formulas.intervals import clopper_pearson

FEWEST = 20  # answers of one labeller
SIDED = 0.85  # share on one side
AT_LEAST = 0.7  # what the interval must stay above, so that chance is no explanation
CONFIDENCE = 0.99


def examine(stage: Stage, run: Chart) -> Sign | None:
    answers: dict[str, list[bool]] = {}
    for row in placed(stage.judgements):
        answers.setdefault(row.rater, []).append(row.best == row.shown[0])
    found = [(name, *side_of(said)) for name, said in answers.items() if len(said) >= FEWEST]
    sided = [each for each in found if each[2] >= SIDED and each[3] >= AT_LEAST]
    if not sided:
        return None
    return Sign(
        severity="warning",
        step=None,
        evidence=tuple(
            f"Labeller {name or '(unnamed)'} chose the {side} side in {share:.0%} of {count} answers."
            for name, side, share, _, count in sided
        ),
        remedy="Look at these answers, exclude them from the next snapshot (Store.exclude), and train the reward model "
        "again.",
        changes={},
        weight=max(share / SIDED for _, _, share, _, _ in sided) + len(sided) / max(1, len(answers)),
    )


def side_of(said: list[bool]) -> tuple[str, float, float, int]:
    """(the side, its share, the low end of its interval, answers)."""
    side, count = ("first", sum(said)) if 2 * sum(said) >= len(said) else ("second", len(said) - sum(said))
    return side, count / len(said), clopper_pearson(count, len(said), CONFIDENCE)[0], len(said)


DISEASE = Disease(
    name="one-sided labeller",
    kind="labels",
    needs=(),
    look="A labeller with 20 answers or more of which 85 % are on one side.",
    causes=(
        "Somebody who does not read.",
        "A key or button that answers by itself.",
        "An order on the screen that is not random for this labeller.",
    ),
    confirm="Their agreement with others on the same pairs is that of a coin.",
    look_alike="A small lean to one side, and somebody with few answers.",
    examine=examine,
)
