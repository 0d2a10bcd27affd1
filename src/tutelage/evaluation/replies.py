"""Policies compared by their replies to the same prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.formulas import intervals
from tutelage.formulas.intervals import Estimate

PHRASE = 4  # words in a row that make a phrase
Numbers = Callable[[list[str], list[str]], Sequence[float]]
Flags = Callable[[list[str], list[str]], Sequence[bool]]


@dataclass(frozen=True)
class Judged:
    """What was said of one policy's replies, one entry a prompt."""

    name: str
    responses: list[str]
    gold: np.ndarray
    proxy: np.ndarray
    breaks: np.ndarray
    tokens: np.ndarray

    def row(self) -> dict[str, float | str | None]:
        """Means with 95 % intervals, as they stand in summary.json under `methods`."""
        gold, broken = intervals.mean_interval(self.gold).row("gold"), intervals.share(self.breaks).row("policy_breaks")
        return {
            "name": self.name,
            "gold_mean": gold.pop("gold"),
            **gold,
            "proxy_mean": float(self.proxy.mean()),
            "policy_breaks_fraction": broken.pop("policy_breaks"),
            **broken,
            "length_tokens": float(self.tokens.mean()),
        }


def win_rate(first: Judged, second: Judged) -> Estimate:
    """How often `first` has the higher gold score on the same prompt, ties counting half."""
    difference = first.gold - second.gold
    wins, ties = int((difference > 0).sum()), int((difference == 0).sum())
    return intervals.win_rate(wins, ties, len(difference) - wins - ties)


def distinct_fraction(texts: Sequence[str], n: int = 2) -> float:
    """Different n-grams of words over all n-grams of all texts: 1 nothing repeats (Li et al. 2016)."""
    grams = [gram for text in texts for gram in _grams(text.split(), n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def alike(texts: Sequence[str]) -> dict[str, float]:
    """How far the replies of a batch have become one (`docs/metrics.md`)."""
    phrases = Counter(gram for text in texts for gram in set(_grams(text.split(), PHRASE)))
    return {
        "distinct_2": distinct_fraction(texts),
        "commonest_phrase_fraction": max(phrases.values(), default=0) / max(1, len(texts)),
        "repetition_fraction": float(
            np.mean([1.0 - distinct_fraction([text]) for text in texts if _pairs(text)] or [0.0])
        ),
    }


def _pairs(text: str) -> bool:
    return len(text.split()) > 1


def _grams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
