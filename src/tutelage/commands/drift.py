"""How far a policy has moved from the first one: their replies to the same unseen prompts, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tutelage.data.records import Comparison
from tutelage.feedback.asking import Label
from tutelage.formulas import intervals, kl
from tutelage.policies.language import Frozen
from tutelage.rewards.language import ModelScore, RewardModel
from tutelage.training.speaker import Speaker
from tutelage.trajectory import Batch


@dataclass
class Drift:
    """sample, first: the first policy's replies; replies: the newest policy's, drawn with the same random numbers."""

    speaker: Speaker
    prompts: Sequence[str]
    seed: int
    sample: Batch = field(init=False)
    first: list[str] = field(init=False)
    replies: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.sample, self.first = self.speaker.replies(self.prompts, self.seed)
        self.replies = self.first

    @torch.no_grad()
    def measured(self, reward_model: RewardModel, reference: Frozen) -> dict[str, Any]:
        """Win rate over the first policy by the reward model, and how often the reply is the shorter one; both with
        their 95 % interval over prompts, ties counting half."""
        batch, self.replies = self.speaker.replies(self.prompts, self.seed)
        score = ModelScore(reward_model)
        gain_P = (score(batch).sum(dim=1) - score(self.sample).sum(dim=1)).double().numpy()
        log_ratio_BT = kl.k1(self.speaker.policy.log_probs(batch), reference(batch))
        return {
            **rated("win_rate_by_reward_model", gain_P, self.prompts),
            **rated("shorter", words(self.first) - words(self.replies), self.prompts),
            "words": float(words(self.replies).mean()),
            "words_first": float(words(self.first).mean()),
            "kl_nats_to_first": float(log_ratio_BT.masked_fill(~batch.mask_BT, 0.0).sum(dim=1).mean()),
        }

    def samples(self, count: int = 4) -> list[dict[str, Any]]:
        rows = zip(self.prompts[:count], self.first, self.replies, strict=False)
        return [
            {"probe": place, "prompt": prompt, "first": first, "response": reply}
            for place, (prompt, first, reply) in enumerate(rows)
        ]


def over_first(labels: Sequence[Label], first: str, newest: int = 30) -> dict[str, Any]:
    """Win rate of the newer policy over the first one in the last of the answers that set them side by side."""
    pairs = [each.comparison for each in labels if first in {c.policy for c in each.comparison.candidates}][-newest:]
    decided = [row for row in pairs if row.best is not None or row.verdict.ranking or row.verdict.strength == 0.0]
    if not decided:
        return {}
    prompts = [row.context.prompt or str(place) for place, row in enumerate(decided)]
    return rated("win_rate", np.array([outcome(row, first) for row in decided]), prompts)


def outcome(row: Comparison, first: str) -> float:
    """1 where the reply that is not the first policy's won, -1 where it lost, 0 for a tie."""
    if row.best is None or row.verdict.strength == 0.0:
        return 0.0
    return -1.0 if row.candidates[row.best].policy == first else 1.0


def words(texts: Sequence[str]) -> np.ndarray:
    return np.array([len(text.split()) for text in texts], dtype=np.float64)


def rated(name: str, differences_P: np.ndarray, clusters_P: Sequence[str] | None = None) -> dict[str, Any]:
    """How often a difference is above 0, 0 counting half; over clusters (prompts) where they are given."""
    return intervals.share(0.5 + 0.5 * np.sign(differences_P), clusters_P).row(name)


def what_wins(labels: Sequence[Label]) -> list[dict[str, Any]]:
    """What the chosen replies have in common, as shares of the answers in which the two differ in it."""
    decided = [each.comparison for each in labels if each.comparison.best is not None]
    lengths = [[len(text.split()) for text in row.texts] for row in decided]
    chosen = [(each[row.chosen()], each[1 - row.chosen()]) for each, row in zip(lengths, decided, strict=True)]
    differing = [(mine, other) for mine, other in chosen if mine != other]
    if not differing:
        return []
    shorter = intervals.share_of(sum(mine < other for mine, other in differing), len(differing))
    about = {"value": shorter.value, "low": shorter.low, "high": shorter.high, "n": shorter.n}
    return [{"name": "the shorter reply", **about}]
