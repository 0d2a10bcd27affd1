"""How much replies differ from each other, by their words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

PHRASE = 4  # words in a row that make a phrase


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
