"""Proxies of the laboratory: which comparisons each one sees, and how it learns from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.algorithms.reward_losses import PAIRS
from tutelage.algorithms.reward_model import RewardModelConfig, scores_of
from tutelage.data.judgements import Judgements, judged, tokenised
from tutelage.data.questions import Pair, Question
from tutelage.data.tokens import Codec
from tutelage.models.pretrained import load_sequence_classifier, load_tokenizer
from tutelage.runs.files import append_lines, read_lines, write_folder
from tutelage.runs.run import Run
from tutelage.training.reward_models import run_reward_model

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

    def judgements(self, codec: Codec, places: np.ndarray) -> Judgements:
        """Labels are gold's own: 1 where the first reply is better, 0.5 where both are as good (Gao et al. 2022)."""
        targets = 0.5 + 0.5 * np.sign(self.gold_PK[places, 0] - self.gold_PK[places, 1])
        questions = [
            Question(self.prompts[i], self.replies[i], (Pair(0, 1, float(target)),))
            for i, target in zip(places, targets, strict=True)
        ]
        return judged(tokenised(codec, questions)[0], questions)

    def seen(self, labels: int, seed: tuple[int, int], member: int) -> np.ndarray:
        """[labels] places of the comparisons of this proxy; further members of an ensemble see a bootstrap of them."""
        mine = self._order(seed)[:labels]
        return mine if member == 0 else np.random.default_rng([*seed, member]).choice(mine, labels)

    def unseen(self, seen: int, labels: int, seed: tuple[int, int]) -> np.ndarray:
        """[labels] places of comparisons that no proxy of so many labels and this seed sees."""
        return self._order(seed)[seen : seen + labels]

    def _order(self, seed: tuple[int, int]) -> np.ndarray:
        return np.random.default_rng(seed).permutation(len(self.prompts) - TESTED)


def proxy_stage(settings: RewardModelConfig, pool: Pool, places: np.ndarray, trunk: Path, stage: Run) -> dict[str, Any]:
    """Trains a proxy and shifts it so that the initial policy's replies have mean 0 and deviation 1."""
    codec = Codec(load_tokenizer(str(trunk)))
    tested = pool.judgements(codec, np.arange(len(pool.prompts) - TESTED, len(pool.prompts)))
    classifier = load_sequence_classifier(str(trunk))
    parameters = sum(each.numel() for each in classifier.parameters())
    model, found = run_reward_model(settings, classifier, pool.judgements(codec, places), tested, PAIRS, stage)
    model.normalise(scores_of(model, tested).flatten(), mean=0.0, deviation=1.0)
    write_folder(stage.path / "model", partial(model.save, codec=codec))
    return {"labels": len(places), "proxy_parameters": parameters, **found.row}
