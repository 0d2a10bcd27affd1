"""Stopping at the peak: a second score that no gradient saw says when the first one has been optimised too far.

A held-out reward model, trained on labels that the reward model did not see, rises with gold and falls with it, while
the score that is optimised rises on (Gao et al. 2022, on early stopping).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tutelage.trajectory import Batch, Learner, Score

WINDOW = 5  # steps whose mean is compared: one batch's mean is too noisy to have a peak


class Peak:
    """The learner as it was where the held-out score, averaged over the last steps, was highest.

    score: nothing is optimised against it; patience: steps without a higher one after which the run has passed it
    """

    def __init__(self, learner: Learner, score: Score | None, patience: int) -> None:
        if score is None:
            raise ValueError("stopping at the peak needs a held-out score: Task(..., held_out=...)")
        self.learner, self.score, self.patience = learner, score, patience
        self.recent: list[float] = []
        self.highest, self.step = float("-inf"), 0
        self.kept: Mapping[str, Any] = copy.deepcopy(learner.state())

    def saw(self, step: int, batch: Batch) -> float:
        """The mean held-out score of what the policy of this step, before its update, did."""
        self.recent = [*self.recent, float(self.score(batch).sum(dim=1).mean())][-WINDOW:]
        mean = sum(self.recent) / len(self.recent)
        if len(self.recent) == WINDOW and mean > self.highest:
            self.highest, self.step, self.kept = mean, step, copy.deepcopy(self.learner.state())
        return self.recent[-1]

    def passed(self, step: int) -> bool:
        return step - self.step >= self.patience

    def put_back(self) -> None:
        """Gives the learner the weights of the peak."""
        self.learner.restore(self.kept)

    def state(self) -> dict[str, Any]:
        return {"recent": self.recent, "highest": self.highest, "step": self.step, "kept": self.kept}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.recent = list(state["recent"])
        self.highest, self.step, self.kept = state["highest"], state["step"], state["kept"]
