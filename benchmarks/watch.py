"""A clock that stands still while gold looks at a batch; both contenders of time_to_reward.py read it alike."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))  # the gold score alone, also in a peer's environment

from tutelage.rewards import helpdesk

WINDOW = 3  # batches whose mean must reach the target


class Watch:
    """Seconds of training until the mean gold of the last batches reaches the target, or until the budget ends."""

    def __init__(self, target: float, budget_s: float) -> None:
        self.target, self.budget_s = target, budget_s
        self.curve: list[tuple[float, float]] = []
        self.recent: deque[float] = deque(maxlen=WINDOW)
        self.reached_s: float | None = None
        self.began, self.paused_s = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began - self.paused_s

    def saw(self, prompts: Sequence[str], responses: Sequence[str]) -> None:
        """A batch was drawn and scored; what it cost so far counts, looking at it does not."""
        seconds, paused = self.seconds, time.perf_counter()
        gold = helpdesk.gold(list(prompts), list(responses))
        self.recent.append(sum(gold) / len(gold))
        self.curve.append((seconds, self.recent[-1]))
        if self.reached_s is None and len(self.recent) == WINDOW and sum(self.recent) / WINDOW >= self.target:
            self.reached_s = seconds
        self.paused_s += time.perf_counter() - paused

    @property
    def done(self) -> bool:
        return self.reached_s is not None or self.seconds >= self.budget_s

    def answer(self) -> dict[str, Any]:
        """reached_s: None where the target was not reached."""
        return {"reached_s": self.reached_s, "curve": self.curve, "steps": len(self.curve)}
