"""The price of a broken rule as it moves: a Lagrange multiplier, which a resumed run continues.

    score_t = (r − λ·c) / (1 + λ)                 what PPO optimises, c = 1 where a rule is broken
    λ ← max(0, λ + rate · (Ĉ − limit))            after each batch, Ĉ its share of broken rules

The loop is PPO's own: the constraint enters as a score and as a look at every batch, so nothing in `ppo` knows of it.
Formulas: `formulas.constrained`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tutelage.formulas import constrained
from tutelage.trajectory import Batch, Score


class Multiplier:
    """value: λ now, in units of score for one broken rule; with a rate of 0 it stays, a fixed weight.

    limit: share of episodes that may break a rule
    """

    def __init__(self, value: float, limit: float = 0.0, rate: float = 0.0) -> None:
        self.value, self.limit, self.rate = value, limit, rate

    def saw(self, cost: float) -> None:
        """After a batch, whose scores were charged with the value from before."""
        self.value = constrained.dual_ascent(self.value, cost, self.limit, self.rate)

    def state(self) -> dict[str, Any]:
        return {"value": self.value}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.value = state["value"]


@dataclass(frozen=True)
class Charged:
    """A Score less the price of what it costs. cost: episodes -> [B], 1 where a rule is broken."""

    score: Score
    cost: Callable[[Batch], Tensor]
    multiplier: Multiplier

    def __call__(self, batch: Batch) -> Tensor:
        scores_B = self.score(batch).sum(dim=1)
        return batch.at_last_action(constrained.penalised(scores_B, self.cost(batch), self.multiplier.value))
