"""A run that writes nothing down: for stories about learning, not about folders."""

from __future__ import annotations

from collections.abc import Iterator


class QuietRun:
    """Keeps what was recorded in `events`."""

    def __init__(self) -> None:
        self.events: list[dict[str, float]] = []

    def steps(self, steps: int, shows: tuple[str, ...] = (), **kept: object) -> Iterator[int]:
        yield from range(steps)

    def note(self, **metrics: float) -> None:
        pass

    def lap(self, phase: str) -> None:
        pass

    def record(self, step: int, metrics: dict[str, float]) -> None:
        self.events.append({"step": step, **metrics})
