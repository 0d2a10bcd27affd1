"""Progress of long work: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Rate, time left and the numbers that matter, for `count` steps of something with a name."""

    def __init__(self, name: str, count: int, done: int = 0, console: Console | None = None) -> None:
        self.name, self.count, self.done, self._before = name, count, done, done
        self.console = console or Console(stderr=True)
        self._started = self._spoke = time.monotonic()
        self._bar = Bar(
            TextColumn("{task.description:>16}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task(name, total=count, completed=done, numbers="")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def advance(self, numbers: Mapping[str, float]) -> None:
        self.done += 1
        text = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        self._bar.update(self._task, completed=self.done, numbers=text)
        now = time.monotonic()
        last = self.done == self.count
        if not self.console.is_terminal and (last or now - self._spoke > SECONDS_BETWEEN_LINES):
            self._spoke = now
            rate = (self.done - self._before) / max(now - self._started, 1e-9)
            left = (self.count - self.done) / rate
            self.console.print(
                f"{self.name}: {self.done}/{self.count}, {rate:.3g} steps/s, {left:.0f} s left  {text}", soft_wrap=True
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
