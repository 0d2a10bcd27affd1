"""Who prefers. Synthetic labellers choose by an opinion of their own, with noise, habits and slips."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Opinion = Callable[[list[str], list[str]], Sequence[float]]
"""(prompts, responses) -> how good somebody thinks they are."""


@dataclass(frozen=True)
class SyntheticLabeller:
    """Chooses by P(first) = σ(sharpness · (opinion_first − opinion_second) + first_bias), and slips now and then.

    opinion: the taste; sharpness: log-odds a unit of opinion; first_bias: log-odds for what is shown first;
    mistake_fraction: share of answers given without looking
    """

    name: str
    opinion: Opinion
    sharpness: float = 4.0
    first_bias: float = 0.0
    mistake_fraction: float = 0.0

    def choose(self, prompt: str, responses: Sequence[str], rng: np.random.Generator) -> int:
        """Index of the preferred response, of those shown in this order; Gumbel noise makes it Plackett–Luce."""
        if rng.random() < self.mistake_fraction:
            return int(rng.integers(len(responses)))
        opinions = self.opinion([prompt] * len(responses), list(responses))
        utilities = np.asarray(opinions, dtype=np.float64) * self.sharpness
        utilities[0] += self.first_bias
        return int(np.argmax(utilities + rng.gumbel(size=len(responses))))


def agreement_fraction(labeller_choices: Sequence[int], better: Sequence[int]) -> float:
    """How often the choices name the better one."""
    return float(np.mean(np.asarray(labeller_choices) == np.asarray(better))) if len(better) else math.nan
