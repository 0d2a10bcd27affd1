"""Stopping at the peak: a second score that no gradient saw says when the first one has been optimised too far.

A held-out reward model, trained on labels that the reward model did not see, rises with gold and falls with it, while
the score that is optimised rises on (Gao et al. 2022, on early stopping).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from tutelage.execution.ranks import rank_0_decides
from tutelage.trajectory import Batch, Learner, Score

WINDOW = 5  # steps whose mean is compared: one batch's mean is too noisy to have a peak
ERRORS = 2.0  # standard errors that a higher mean must be higher by: on a plateau, noise alone makes new records


class Peak:
    """The learner as it was where the held-out score, averaged over the last steps, was highest.

    score: nothing is optimised against it; patience: steps without a higher mean after which the run has passed the
    peak, at least 1. The run goes on until WINDOW steps were seen. The means of the steps before are over fewer and
    noisier: the start is the peak only where the first whole mean is lower by more than noise.
    """

    def __init__(self, learner: Learner, score: Score | None, patience: int) -> None:
        if score is None:
            raise ValueError("stopping at the peak needs a held-out score: Task(..., held_out=...)")
        if patience < 1:
            raise ValueError(f"stop_at_peak is {patience}: expected at least 1 step, or 0 to run on")
        self.learner, self.score, self.patience = learner, score, patience
        self.recent: list[tuple[float, float]] = []  # mean score and its squared standard error, batch by batch
        self.highest, self.step = float("-inf"), 0
        self.kept: Mapping[str, Any] = copy.deepcopy(learner.state())

    def saw(self, step: int, batch: Batch) -> float:
        """The mean held-out score of what the policy of this step, before its update, did."""
        scores_B = self.score(batch).sum(dim=1).double()
        found = (float(scores_B.mean()), float(scores_B.var(unbiased=False)) / len(batch))
        first_whole = len(self.recent) == WINDOW - 1
        self.recent = [*self.recent, found][-WINDOW:]
        mean, squared = (sum(each) / len(self.recent) for each in zip(*self.recent, strict=True))
        margin = ERRORS * math.sqrt(squared / len(self.recent))
        if len(self.recent) < WINDOW:
            higher = mean > self.highest
        else:
            higher = mean >= self.highest - margin if first_whole else mean > self.highest + margin
        if rank_0_decides(higher):  # all ranks keep the weights of the same step
            self.highest, self.step, self.kept = mean, step, copy.deepcopy(self.learner.state())
        return found[0]

    def passed(self, step: int) -> bool:
        return len(self.recent) == WINDOW and step - self.step >= self.patience

    def put_back(self) -> None:
        """Gives the learner the weights of the peak."""
        self.learner.restore(self.kept)

    def state(self) -> dict[str, Any]:
        return {
            "recent": [list(each) for each in self.recent],
            "highest": self.highest,
            "step": self.step,
            "kept": self.kept,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.recent = [(mean, squared) for mean, squared in state["recent"]]
        self.highest, self.step, self.kept = state["highest"], state["step"], state["kept"]
