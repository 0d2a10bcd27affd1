"""Policies compared by their replies to the same prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.formulas import intervals
from tutelage.formulas.intervals import Estimate

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
