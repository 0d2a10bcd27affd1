"""Replies that the reward model has never seen the like of."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign
from tutelage.doctor.judgements import plain

FEWEST_REPLIES, FEWEST_KNOWN = 8, 40  # on either side; texts that were judged
NEW, ROSE_BY = 0.25, 0.15  # share of pairs of words that no judged text has, late; and how much more than early


def examine(stage: Stage, run: Chart) -> Sign | None:
    judged = len(run.judged_texts)
    texts = stage.texts()
    quarter = len(texts) // 4
    if quarter < FEWEST_REPLIES or judged < FEWEST_KNOWN:
        return None
    known = {gram for text in run.judged_texts for gram in grams(text)}
    early, late = (novelty((text for _, text in part), known) for part in (texts[:quarter], texts[-quarter:]))
    if late < NEW or late - early < ROSE_BY:
        return None
    return Sign(
        severity="warning",
        step=texts[-quarter][0],
        evidence=(
            f"{late:.0%} of the pairs of words in the last sampled replies stand in none of the {judged} judged texts, "
            f"{early:.0%} in the first.",
        ),
        remedy="Have replies of the present policy judged and the reward model trained on them (`tutelage loop`), and "
        "charge more for KL until then.",
        changes={stage.flag("kl_coefficient"): max(0.1, 2 * stage.setting("kl_coefficient", 0.1))},
        metrics=("kl_nats_per_sequence", "score"),
        samples=tuple(text for _, text in texts[-3:]),
        weight=late / NEW,
    )


def grams(text: str) -> list[tuple[str, str]]:
    """Neighbouring words, but for numbers and names of orders, which are always new."""
    words = [word for word in plain(text).split() if not any(letter.isdigit() for letter in word)]
    return list(pairwise(words))


def novelty(texts: Iterable[str], known: set[tuple[str, str]]) -> float:
    all_grams = [gram for text in texts for gram in grams(text)]
    return sum(gram not in known for gram in all_grams) / max(1, len(all_grams))


DISEASE = Disease(
    name="out of distribution",
    kind="ppo",
    needs=("kl_nats_per_sequence",),
    look="A quarter of the word pairs in late replies stands in no judged text, 15 points more than early.",
    causes=(
        "The policy has left the replies that were judged: KL is too cheap, or the run too long.",
        "The labels are of another policy, domain or language.",
    ),
    confirm="Members of an ensemble disagree more on late replies than on early ones.",
    look_alike="Names and numbers, which are always new; prompts about new things from the first step on.",
    examine=examine,
)
