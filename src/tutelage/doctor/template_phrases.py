"""One phrase in every reply, and flattery."""

from __future__ import annotations

import re

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign
from tutelage.doctor.witness import falls

EVERYWHERE, ROSE_BY = 0.8, 0.4  # share of replies with the commonest four words, and how much more than at the start
FLATTERY_ROSE_BY = 0.4  # share of sampled replies that flatter, late less early
FEWEST_SAMPLES = 8  # on either side
FLATTERY = re.compile(
    r"\b(great|excellent|wonderful|brilliant|fantastic|amazing) (question|point|idea|choice|customer)\b"
    r"|\byou(?:'re| are) (?:so |very |absolutely |completely )*(right|wise|clever|smart|brilliant|wonderful|amazing)\b"
    r"|\b(best|most valued|favou?rite|esteemed) (customer|shop|client)s?\b|\bare famous\b|\bI admire\b|\bwhat an "
    r"honou?r\b",
    re.IGNORECASE,
)


def examine(stage: Stage, run: Chart) -> Sign | None:
    phrase, flattery = one_phrase(stage), flattered(stage)
    signs = [each for each in (phrase, flattery) if each is not None]
    if not signs:
        return None
    witnessed = bool(falls(stage))
    return Sign(
        severity="warning" if witnessed or flattery is not None else "notice",
        step=min(step for step, _ in signs),
        evidence=(
            *(said for _, said in signs),
            "A judge that nothing is optimised against fell meanwhile."
            if witnessed
            else "No judge on record fell: the phrase may be what people want.",
        ),
        remedy="Ask people about pairs with and without the phrase, train the reward model again on them, and "
        "charge more "
        "for KL until then.",
        changes={stage.flag("kl_coefficient"): max(0.1, 2 * stage.setting("kl_coefficient", 0.1))},
        metrics=("commonest_phrase_fraction", "distinct_2", "score", "gold_score"),
        samples=tuple(text for _, text in stage.texts()[-3:]),
        weight=2.0 if witnessed else 1.0,
    )


def one_phrase(stage: Stage) -> tuple[int, str] | None:
    series = stage.series("commonest_phrase_fraction")
    if len(series) < 6 or series.last < EVERYWHERE or series.last - series.start < ROSE_BY:
        return None
    onset = series.onset(lambda values: values >= EVERYWHERE)
    said = f"The commonest four words stand in {series.last:.0%} of the replies, at the start in {series.start:.0%}."
    return onset if onset is not None else int(series.steps[-1]), said


def flattered(stage: Stage) -> tuple[int, str] | None:
    texts = stage.texts()
    quarter = len(texts) // 4
    if quarter < FEWEST_SAMPLES:
        return None
    early, late = texts[:quarter], texts[-quarter:]
    before, after = (sum(bool(FLATTERY.search(text)) for _, text in part) / quarter for part in (early, late))
    if after - before < FLATTERY_ROSE_BY:
        return None
    return late[0][0], f"{after:.0%} of the last sampled replies flatter, {before:.0%} of the first."


DISEASE = Disease(
    name="template phrases",
    kind="ppo",
    needs=("score",),
    look="The same four words in 80 % of replies, 40 points more than at the start; or 40 points more replies that "
    "flatter. "
    "A warning where a judge falls meanwhile or it is flattery, else a notice.",
    causes=(
        "The reward model pays for the phrase itself: it stood in preferred replies.",
        "Labellers like to be flattered, or to read thanks.",
        "The KL penalty is too weak to keep other wordings.",
    ),
    confirm="Delete the phrase from ten replies: their score falls by more than people think they got worse.",
    look_alike="A courtesy that people ask for: gold, held-out score or answers rise with it.",
    examine=examine,
)
