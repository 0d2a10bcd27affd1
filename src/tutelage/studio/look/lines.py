"""A growing file of JSON lines, read on from where it was left.

Whoever writes it may be another machine over a shared folder: the last line may be half there, the file may have been
cut back by a resume, replaced, or damaged. None of that is an error here; it is told.
"""

from __future__ import annotations

import json
import math
import os
import threading
from array import array
from pathlib import Path
from typing import Any, cast

AT_ONCE = 8 << 20  # bytes
LONGEST = 4 << 20  # bytes of one line; what is longer is no line of ours
SEAL = 64  # last bytes read, by which a file that was replaced is told from one that grew
LARGEST = 1e300
NAN = float("nan")


class Lines:
    """New whole lines of a file. number: of the last line; trouble: why there are no more, or ""."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset, self.number, self.trouble = path, 0, 0, ""
        self._seal = b""

    def new(self) -> tuple[bool, list[bytes]]:
        """(whether the file was begun anew, lines since the last call); none where it cannot be read."""
        try:
            with self.path.open("rb") as file:
                self.trouble = ""
                anew = self._begun_anew(file)
                return anew, self._lines(file)
        except FileNotFoundError:
            self.trouble = ""
        except OSError as error:
            self.trouble = unreadable(self.path, error)
        return False, []

    def _begun_anew(self, file: Any) -> bool:
        """A file that is shorter than it was, or has other bytes where we stopped, is read from its beginning."""
        if self.offset == 0:
            return False
        size = os.fstat(file.fileno()).st_size
        file.seek(self.offset - len(self._seal))
        if size >= self.offset and file.read(len(self._seal)) == self._seal:
            return False
        self.offset, self.number, self._seal = 0, 0, b""
        return True

    def _lines(self, file: Any) -> list[bytes]:
        file.seek(self.offset)
        found: list[bytes] = []
        rest = b""
        while part := file.read(AT_ONCE):
            *lines, rest = (rest + part).split(b"\n")
            found += lines
            if len(rest) > LONGEST:
                self.trouble = f"{self.path.name}, line {self.number + len(found) + 1} is longer than any row."
                break
        taken = sum(map(len, found)) + len(found)
        if found:
            self._seal = (b"\n".join(found[-2:]) + b"\n")[-min(SEAL, taken + len(self._seal)) :]
        self.offset += taken
        self.number += len(found)
        return found


def unreadable(path: Path, error: OSError) -> str:
    return f"{path.name} could not be read: {error.strerror or error}."


def damaged(path: Path, count: int, first: int) -> str:
    """What is said of lines that are no rows. first: the number of the first of them."""
    many = "line is no row" if count == 1 else "lines are no rows"
    return f"{count} {many} of {path.name}, the first is line {first}."


def row_of(line: bytes) -> dict[str, Any] | None:
    """A line as an object, or None where it is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and abs(found) < LARGEST else None


class Events:
    """events.jsonl as columns, one value a row, NaN where a row has none.

    version: changes with everything that is read; broken: lines that are no rows; trouble: what to say of them
    """

    def __init__(self, path: Path) -> None:
        self.lock = threading.Lock()
        self._lines = Lines(path)
        self._begin()

    def _begin(self) -> None:
        self.columns: dict[str, array[float]] = {}
        self.rows, self.broken, self._first_broken = 0, 0, 0
        self.version = getattr(self, "version", 0) + 1

    def refresh(self) -> None:
        """Reads what was added. Call it, and read the columns, while holding `lock`."""
        anew, lines = self._lines.new()
        if anew:
            self._begin()
        first = self._lines.number - len(lines) + 1
        for place, line in enumerate(lines):
            row = row_of(line)
            if row is None:
                self.broken += 1
                self._first_broken = self._first_broken or first + place
            else:
                self._add(row)
        self.version += bool(lines)
        for column in self.columns.values():
            column.extend([NAN] * (self.rows - len(column)))

    def _add(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            found = number(value)
            if found is None:
                continue
            column = self.columns.setdefault(name, array("d"))
            if len(column) < self.rows:
                column.extend([NAN] * (self.rows - len(column)))
            column.append(found)
        self.rows += 1

    @property
    def trouble(self) -> str:
        if self.broken:
            return damaged(self._lines.path, self.broken, self._first_broken)
        return self._lines.trouble


WINDOW = 1 << 13  # bytes looked at for one row
TAIL = 1 << 16


def peeked(path: Path, count: int) -> tuple[list[dict[str, Any]], bool]:
    """(at most `count` rows from all over a file, and its last one; whether any line among them is no row).

    A file of any length is shown without reading it.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= count * WINDOW:
                whole = file.read().split(b"\n")[:-1]
                step = max(1, math.ceil(len(whole) / count))
                return _rows([*whole[:-1:step], *whole[-1:]])
            places = [size * place // count for place in range(count)]
            lines = [_line_at(file, place) for place in places]
            file.seek(max(0, size - TAIL))
            return _rows([*lines, *file.read().split(b"\n")[1:-1][-1:]])
    except OSError:
        return [], False


def _line_at(file: Any, place: int) -> bytes:
    """The first whole line behind this place, or nothing."""
    file.seek(place)
    window = file.read(WINDOW)
    start = 0 if place == 0 else window.find(b"\n") + 1
    end = window.find(b"\n", start)
    return window[start:end] if end > start and (place == 0 or start > 0) else b""


def _rows(lines: list[bytes]) -> tuple[list[dict[str, Any]], bool]:
    found = [row_of(line) for line in lines if line]
    return [row for row in found if row is not None], None in found
