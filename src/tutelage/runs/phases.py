"""Where the time of a step goes: seconds by phase."""

from __future__ import annotations

import time


class Phases:
    """A watch that begins when it is made. seconds: `seconds_NAME` of every phase that has ended."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def end(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[f"seconds_{name}"] = round(now - self._last, 3)
        self._last = now
