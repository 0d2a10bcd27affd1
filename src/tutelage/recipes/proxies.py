"""Proxies of the laboratory: which comparisons each one sees, and how it learns from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tutelage.algorithms.reward_model import Choices, RewardModelConfig, pair_loss, scores_of
from tutelage.data.pretrained import load_sequence_classifier, load_tokenizer
from tutelage.data.tokens import Codec, written
from tutelage.formulas import intervals
from tutelage.recipes import stages
from tutelage.runs.files import append_lines, read_lines, write_folder
from tutelage.runs.run import Run
from tutelage.trajectory import Batch

FILE, TESTED = "comparisons.jsonl", 500  # of the pool's comparisons every proxy is tested on the last ones


@dataclass(frozen=True)
class Pool:
    """Comparisons to draw from: two replies to each prompt and their gold scores [P, 2]."""

    prompts: list[str]
    replies: list[tuple[str, ...]]
    gold_PK: np.ndarray

    def write(self, folder: Path) -> None:
        rows = zip(self.prompts, self.replies, self.gold_PK.tolist(), strict=True)
        append_lines(folder / FILE, [{"prompt": p, "responses": r, "gold": g} for p, r, g in rows])

    @staticmethod
    def read(folder: Path) -> Pool:
        rows = read_lines(folder / FILE)
        gold_PK = np.array([row["gold"] for row in rows])
        return Pool([row["prompt"] for row in rows], [tuple(row["responses"]) for row in rows], gold_PK)

    def choices(self, codec: Codec, places: np.ndarray) -> Choices:
        """Labels are gold's own: 1 where the first reply is better, 0.5 where both are as good (Gao et al. 2022)."""
        candidates = [written(*codec.pair(self.prompts[i], reply)) for i in places for reply in self.replies[i]]
        difference_N = self.gold_PK[places, 0] - self.gold_PK[places, 1]
        return Choices(Batch.of(candidates), torch.tensor(0.5 + 0.5 * np.sign(difference_N)).float(), width=2)


def pooled(pool: Pool, labels: int, seed: tuple[int, int], member: int, *, held_out: bool) -> np.ndarray:
    """[labels] places of the comparisons that this proxy sees.

    Members of an ensemble after the first see a bootstrap of the first one's; the held-out model sees none of them.
    """
    order = np.random.default_rng(seed).permutation(len(pool.prompts) - TESTED)
    if held_out:
        return order[labels : 2 * labels]
    mine = order[:labels]
    return mine if member == 0 else np.random.default_rng([*seed, member]).choice(mine, labels)


def proxy_stage(settings: RewardModelConfig, pool: Pool, places: np.ndarray, trunk: Path, stage: Run) -> dict[str, Any]:
    """Trains a proxy and shifts it so that the initial policy's replies have mean 0 and deviation 1."""
    codec = Codec(load_tokenizer(str(trunk)))
    tested = pool.choices(codec, np.arange(len(pool.prompts) - TESTED, len(pool.prompts)))
    classifier = load_sequence_classifier(str(trunk))
    parameters = sum(each.numel() for each in classifier.parameters())
    model, found = stages.run_reward_model(settings, classifier, pool.choices(codec, places), tested, pair_loss, stage)
    model.normalise(scores_of(model, tested).flatten(), mean=0.0, deviation=1.0)
    write_folder(stage.path / "model", partial(model.save, codec=codec))
    low, high = intervals.wilson(found.right, found.questions)
    accuracy = {"accuracy": found.accuracy, "accuracy_low": low, "accuracy_high": high}
    return {"labels": len(places), "proxy_parameters": parameters, **accuracy}
