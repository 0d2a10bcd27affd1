"""Who prefers. Synthetic labellers choose by an opinion of their own, with noise, habits and slips.

Somebody who prefers is anything with `choose(prompt, responses, rng) -> index`: a person at a page, another model, or
one of these, made from a score and a taste, for rehearsals in which the truth is known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

Opinion = Callable[[list[str], list[str]], Sequence[float]]
"""(prompts, responses) -> how good somebody thinks they are."""

WARM_WORDS = ("dear", "sorry", "thank", "please", "kind", "regret")


@dataclass(frozen=True)
class SyntheticLabeller:
    """Chooses by P(first) = σ(sharpness · (opinion_first − opinion_second) + first_bias), and slips now and then.

    opinion: the taste; sharpness: log-odds a unit of opinion; first_bias: log-odds for what is shown first;
    mistake_fraction: share of answers given without looking; tires_after: questions in a row after which half of the
    sharpness is gone (`tired`), None: never.
    """

    name: str
    opinion: Opinion
    sharpness: float = 5.0
    first_bias: float = 0.0
    mistake_fraction: float = 0.0
    tires_after: float | None = None

    def tired(self, answered: int) -> SyntheticLabeller:
        """The same labeller after so many questions in a row: sharpness · 2^(−answered / tires_after)."""
        if self.tires_after is None:
            return self
        return replace(self, sharpness=self.sharpness * 0.5 ** (answered / self.tires_after))

    def choose(self, prompt: str, responses: Sequence[str], rng: np.random.Generator) -> int:
        """Index of the preferred response, of those shown in this order; more than two by Gumbel-max (Plackett–Luce).

        Raises ValueError where there is nothing to choose from or an opinion is not finite.
        """
        if len(responses) < 2:
            raise ValueError(f"{self.name} was shown {len(responses)} responses; a choice needs at least 2")
        if rng.random() < self.mistake_fraction:
            return int(rng.integers(len(responses)))
        utilities = np.array(self.opinion([prompt] * len(responses), list(responses)), dtype=np.float64)
        if utilities.shape != (len(responses),) or not np.isfinite(utilities).all():
            raise ValueError(f"{self.name} has the opinions {utilities.tolist()} of {len(responses)} responses")
        utilities *= self.sharpness
        utilities[0] += self.first_bias
        return int(np.argmax(utilities + rng.gumbel(size=len(responses))))


def panel(score: Opinion) -> tuple[SyntheticLabeller, ...]:
    """Five people who all mean the score, each seen through a habit of their own.

    On pairs of helpdesk demonstrations they choose the better one by `score` in 85 to 91 of 100 cases.
    """
    return (
        SyntheticLabeller("careful", score, sharpness=6.0, mistake_fraction=0.02),
        SyntheticLabeller("likes length", partial(with_taste, score, length, 0.03), mistake_fraction=0.05),
        SyntheticLabeller("likes warmth", partial(with_taste, score, warmth, 0.2), mistake_fraction=0.05),
        SyntheticLabeller("first come", score, first_bias=0.5, mistake_fraction=0.06),
        SyntheticLabeller("hurried", score, sharpness=3.0, mistake_fraction=0.08),
    )


def with_taste(
    score: Opinion, taste: Callable[[str], float], weight: float, prompts: list[str], responses: list[str]
) -> list[float]:
    """The score plus weight · taste(response)."""
    scores = score(prompts, responses)
    return [value + weight * taste(response) for value, response in zip(scores, responses, strict=True)]


def length(response: str) -> float:
    """Words."""
    return float(len(response.split()))


def warmth(response: str) -> float:
    """Warm words."""
    return float(sum(word in WARM_WORDS for word in re.findall(r"[a-z]+", response.lower())))


def agreement_fraction(labeller_choices: Sequence[int], better: Sequence[int]) -> float:
    """How often the choices name the better one; NaN where there are none."""
    return float(np.mean(np.asarray(labeller_choices) == np.asarray(better))) if len(better) else math.nan
