"""The same question answered both ways."""

from __future__ import annotations

from collections import Counter

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign
from tutelage.doctor.judgements import plain
from tutelage.formulas.intervals import clopper_pearson

FEWEST = 10  # questions that were answered twice or more
DISAGREE = 0.35  # share of answers against the majority's first: people who read differ in a quarter to a third
SURELY = 0.25  # what the interval must stay above


def examine(stage: Stage, run: Chart) -> Sign | None:
    said: dict[tuple[str, tuple[str, ...]], Counter[str]] = {}
    for row in stage.judgements:
        if row.best is not None and len(set(map(plain, row.texts))) == len(row.texts):
            said.setdefault(row.question, Counter())[plain(row.texts[row.best])] += 1
    asked_again = [votes for votes in said.values() if votes.total() > 1]
    if len(asked_again) < FEWEST:
        return None
    torn = sum(len(votes) > 1 for votes in asked_again)
    share, low = torn / len(asked_again), clopper_pearson(torn, len(asked_again))[0]
    if share < DISAGREE or low < SURELY:
        return None
    return Sign(
        severity="warning",
        step=None,
        evidence=(
            f"Of {len(asked_again)} questions that were answered more than once, {torn} were answered both ways.",
        ),
        remedy="Sharpen the guideline, look at who differs (`tutelage feedback stats`), and let the loss know that "
        "answers "
        "err.",
        changes={"--label-smoothing": round(min(0.4, share / 2), 2)},
        samples=tuple(question[0] for question, votes in said.items() if len(votes) > 1)[:3],
        weight=share / DISAGREE,
    )


DISEASE = Disease(
    name="contradictory pairs",
    kind="labels",
    needs=(),
    look="Of ten questions or more that were answered twice, 35 % have answers both ways.",
    causes=(
        "An unclear question or guideline.",
        "Labels exchanged on import: chosen and rejected swapped in part of the data.",
        "Labellers who guess.",
    ),
    confirm="Agreement among people (`tutelage evaluate reward-model`, human_ceiling) is near chance.",
    look_alike="People who differ as people do, in a quarter of the cases; a tie.",
    examine=examine,
)
