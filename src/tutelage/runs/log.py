"""What a run printed, kept in its folder as log.txt while it goes on."""

from __future__ import annotations

import re
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

from tutelage.data.errors import InputError
from tutelage.execution.ranks import is_main_rank
from tutelage.runs.outcome import clean

LOG = "log.txt"
LARGEST, HEAD, TAIL = 4 << 20, 1 << 18, 1 << 20  # bytes; a larger log keeps its beginning and its end
SECONDS_BETWEEN_BARS = 60.0  # of a progress bar that is drawn over itself, one state a minute is kept
LONGEST_LINE = 4000
CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]")


class Log:
    """A text file of whole lines. Secrets are masked, colors and cursor movements left out; drawn-over lines are too.

    Ranks other than 0 keep none. A file that cannot be written is told once on the terminal and ends the log, not
    the run.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._lock, self._next_bar = path, threading.Lock(), 0.0
        self._size, self._pending = 0, dict[int, str]()
        self._file: Any = None
        if not is_main_rank():
            return
        try:
            self._file = path.open("ab")
            self._size = path.stat().st_size
        except OSError as error:
            self._give_up(error)

    def write(self, stream: int, text: str) -> None:
        """Adds what was printed. stream: 1 or 2, whose unfinished lines are kept apart."""
        if self._file is None:
            return
        with self._lock:
            line = self._pending.pop(stream, "")
            for part in re.split(r"(\n|\r)", text):
                if part == "\n":
                    self._add(line)
                    line = ""
                elif line.endswith("\r") and part not in ("", "\r"):
                    self._add_bar(line[:-1])
                    line = part
                else:
                    line = line[-LONGEST_LINE:] + part if part != "\r" or line else line
            self._pending[stream] = line

    def say(self, text: str) -> None:
        """Whole lines of the log's own."""
        for line in text.splitlines():
            self._add(line)

    def close(self) -> None:
        for line in filter(None, self._pending.values()):
            self._add(line)
        self._pending.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _add_bar(self, line: str) -> None:
        """A line that is drawn over: once in a while."""
        if plain(line) and time.monotonic() >= self._next_bar:
            self._next_bar = time.monotonic() + SECONDS_BETWEEN_BARS
            self._add(line)

    def _add(self, line: str) -> None:
        found = plain(line)
        if self._file is None or (not found and line):
            return
        content = (clean(found)[:LONGEST_LINE] + "\n").encode()
        try:
            self._file.write(content)
            self._file.flush()
            self._size += len(content)
            if self._size > LARGEST:
                self._shorten()
        except OSError as error:
            self._give_up(error)

    def _shorten(self) -> None:
        """Leaves the beginning and the end, and a line between them that says so."""
        whole = self.path.read_bytes()
        head, tail = whole[:HEAD].rpartition(b"\n")[0], whole[-TAIL:].partition(b"\n")[2]
        cut = "\n[... lines were left out here: log.txt keeps its beginning and its end]\n"
        aside = self.path.with_name(self.path.name + ".part")
        aside.write_bytes(head + cut.encode() + tail)
        self._file.close()
        aside.replace(self.path)
        self._file = self.path.open("ab")
        self._size = self.path.stat().st_size

    def _give_up(self, error: OSError) -> None:
        self._file = None
        print(
            f"tutelage: {self.path} could not be written ({error.strerror or error}); the run goes on without it.",
            file=sys.__stderr__,
        )


def plain(line: str) -> str:
    """The text that a terminal would show, without what moves the cursor or colors letters."""
    return CONTROL.sub("", line).replace("\r", "").replace("\b", "").rstrip()


class Tee:
    """A stream that also writes to the log. All else is the stream's own: whether it is a terminal, its encoding."""

    def __init__(self, stream: TextIO, number: int, log: Log) -> None:
        self._stream, self._number, self._log = stream, number, log

    def write(self, text: str) -> int:
        self._log.write(self._number, text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class OutputLog(Log):
    """From its making to `end` whatever is printed in this process also goes to RUN/log.txt.

    title: the line that begins it; a run that is resumed has several
    """

    def __init__(self, folder: Path, title: str) -> None:
        super().__init__(folder / LOG)
        self.say(f"--- {time.strftime('%Y-%m-%d %H:%M:%S %z')} {title}")
        self._before = (sys.stdout, sys.stderr)
        self._tees = (Tee(sys.stdout, 1, self), Tee(sys.stderr, 2, self))
        sys.stdout, sys.stderr = self._tees  # pyright: ignore[reportAttributeAccessIssue]

    def say_error(self, error: BaseException) -> None:
        """What Python, or the command, prints of it after the log has ended."""
        refused = isinstance(error, InputError)
        self.say(f"tutelage: {error}" if refused else "".join(traceback.format_exception(error)))

    def end(self) -> None:
        """The streams are what they were; who kept a stream from before writes to the terminal only."""
        if (sys.stdout, sys.stderr) == self._tees:
            sys.stdout, sys.stderr = self._before
        self.close()
