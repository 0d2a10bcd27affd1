"""Progress of long work: a bar on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

from tutelage.execution.ranks import is_main_rank

SECONDS_BETWEEN_LINES = 30.0


class Output(Console):
    """Standard error. Where nobody reads it any more the command ends as any other does (`runs.terminal`)."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


@dataclass(frozen=True)
class ProgressSettings:
    """What is told of steps beside their number.

    phases: what the parts of a step are called, in order
    counted_by: the metric that says how far the steps are, where one step may be worth several; "" counts steps
    timed: whether steps take about equally long, so that the time left can be told. Work that waits for people is not
        timed: how long they take is not known.
    seconds: between two lines where there is no terminal
    """

    phases: tuple[str, ...] = ()
    counted_by: str = ""
    timed: bool = True
    seconds: float = SECONDS_BETWEEN_LINES


class Progress:
    """How far `count` steps of something with a name are: its phase, time left and the numbers that matter.

    Not on a terminal, a line is printed `settings.seconds` after the one before, in the middle of a long step too, and
    one at the end. Ranks other than 0 show nothing.
    """

    def __init__(
        self,
        name: str,
        count: int,
        done: int = 0,
        console: Console | None = None,
        settings: ProgressSettings = ProgressSettings(),
    ) -> None:
        self.name, self.count, self.done, self._before = name, count, done, done
        self.console = console or Output(stderr=True, quiet=not is_main_rank())
        self.settings = settings
        self.phase = settings.phases[0] if settings.phases else ""
        self._numbers = ""
        self._started = self._spoke = time.monotonic()
        self._bar = Bar(
            TextColumn("{task.description:>16}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[told]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task(name, total=count, completed=done, told="")
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        self._bar.start()
        if not self.console.is_terminal:
            self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._bar.stop()

    def enter_phase(self, phase: str) -> None:
        """What is done now; no line of its own."""
        self.phase = phase
        self._show()

    def end_phase(self, phase: str) -> None:
        """The step goes on to the phase after this one; after the last, the next step begins."""
        phases = self.settings.phases
        if phase in phases:
            self.enter_phase(phases[(phases.index(phase) + 1) % len(phases)])

    def advance(self, numbers: Mapping[str, float], done: int | None = None) -> None:
        """A step is over. done: how many are, where one step may be worth several."""
        self.done = self.done + 1 if done is None else done
        self._numbers = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        self._show()
        if not self.console.is_terminal:
            self._print_if(lambda: self.done >= self.count or self._due)

    def _show(self) -> None:
        told = "  ".join(each for each in (self.phase, self._time_left(), self._numbers) if each)
        self._bar.update(self._task, completed=self.done, told=told)

    @property
    def _due(self) -> bool:
        return time.monotonic() - self._spoke >= self.settings.seconds

    def _print_if(self, wanted: Callable[[], bool]) -> None:
        with self._lock:
            if wanted():
                self._spoke = time.monotonic()
                self.console.print(self._line(), soft_wrap=True, markup=False, highlight=False)

    def _line(self) -> str:
        phase = self.phase if self.done < self.count else ""
        parts = (f"{self.done}/{self.count}", phase, self._rate(), self._time_left())
        return f"{self.name}: {', '.join(filter(None, parts))}  {self._numbers}".rstrip()

    def _rate(self) -> str:
        steps = self.done - self._before
        if not self.settings.timed or steps < 1:
            return ""
        return f"{steps / max(time.monotonic() - self._started, 1e-9):.3g} steps/s"

    def _time_left(self) -> str:
        """From the mean of the steps of this process; nothing before the first one is over."""
        steps = self.done - self._before
        if not self.settings.timed or steps < 1:
            return ""
        return f"{in_words((self.count - self.done) * (time.monotonic() - self._started) / steps)} left"

    def _tick(self) -> None:
        """Speaks while a step takes long. It ends where nobody listens; who computes hears of that by itself."""
        while not self._ended.wait(max(0.05, self._spoke + self.settings.seconds - time.monotonic())):
            try:
                self._print_if(lambda: self._due and not self._ended.is_set())
            except OSError:
                return


def in_words(seconds: float) -> str:
    """27 s, 12 min, 3 h 5 min, 4 d 2 h: two digits are enough of something that is estimated."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"
