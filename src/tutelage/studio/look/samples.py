"""Samples of a stage by step: replies, their numbers, and what each of their tokens was worth."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tutelage.report.sanitise import plain
from tutelage.studio.drawn import text
from tutelage.studio.look.lines import Lines, damaged, number, row_of, unreadable
from tutelage.studio.look.runs import Folder

AT_ONCE = 40  # samples sent together
FOUND = 60  # hits of a search
LONGEST = 20_000  # letters of one text
TOKENS = 2000  # of one reply
KEPT = 16  # files held in memory
COLUMNS = ("log_ratio_nats", "value", "advantage", "reward")
PROMPTS = ("prompt", "question")


class Samples:
    """Where the rows of a samples.jsonl lie, by step; a row is read again when it is looked at.

    trouble: what was damaged or could not be read since the last refresh, in sentences
    """

    def __init__(self, path: Path) -> None:
        self.path, self.lock, self._lines = path, threading.Lock(), Lines(path)
        self._unread = ""
        self._begin()

    def _begin(self) -> None:
        self.places: dict[int, list[tuple[int, int]]] = {}
        self.probes: dict[int, list[tuple[int, int]]] = {}
        self.broken, self._first_broken, self._at = 0, 0, 0

    def refresh(self) -> None:
        anew, lines = self._lines.new()
        self._unread = self._lines.trouble
        if anew:
            self._begin()
        first = self._lines.number - len(lines) + 1
        for place, line in enumerate(lines):
            row = row_of(line)
            if row is None:
                self.broken += 1
                self._first_broken = self._first_broken or first + place
            else:
                places = self.probes if number(row.get("probe")) is not None else self.places
                places.setdefault(int(number(row.get("step")) or 0), []).append((self._at, len(line)))
            self._at += len(line) + 1

    @property
    def trouble(self) -> str:
        lost = damaged(self.path, self.broken, self._first_broken) if self.broken else ""
        return plain(" ".join(filter(None, (lost, self._unread))), 400)

    def kind(self, probe: bool) -> dict[int, list[tuple[int, int]]]:
        """Where the replies to the same prompts lie by step, or those that were learned from."""
        return self.probes if probe else self.places

    def rows(self, step: int, first: int, count: int, probe: bool = False) -> list[dict[str, Any]]:
        return [row for _, row in self._read(self.kind(probe).get(step, [])[first : first + count])]

    def holding(self, words: str, most: int) -> list[tuple[int, int, dict[str, Any]]]:
        """(step, place within the step, row) of rows one of whose texts holds these words, whatever the capitals."""
        wanted = words.casefold()
        hits = (each for each in self._all() if any(wanted in text for text in _texts(each[2])))
        return list(islice(hits, most))

    def _all(self) -> Iterator[tuple[int, int, dict[str, Any]]]:
        for step in sorted(self.places.keys() | self.probes.keys()):
            for place, row in self._read([*self.places.get(step, []), *self.probes.get(step, [])]):
                yield step, place, row

    def _read(self, places: list[tuple[int, int]]) -> list[tuple[int, dict[str, Any]]]:
        """(which of these places, the row there); what cannot be read again is told, not left out in silence."""
        lines: list[bytes] = []
        try:
            with self.path.open("rb") as file:
                for at, length in places:
                    file.seek(at)
                    lines.append(file.read(length))
        except OSError as error:
            self._unread = unreadable(self.path, error)
            return []
        found = [(which, row) for which, line in enumerate(lines) if (row := row_of(line)) is not None]
        if len(found) < len(places):
            self._unread = f"{self.path.name} was changed while it was looked at: look again."
        return found


def _texts(row: dict[str, Any]) -> Iterator[str]:
    return (each.casefold() for each in row.values() if isinstance(each, str))


class SampleShelf:
    """Samples files that are being looked at."""

    def __init__(self) -> None:
        self._lock, self._samples = threading.Lock(), OrderedDict[Path, Samples]()

    def samples(self, path: Path) -> Samples:
        with self._lock:
            found = self._samples.pop(path, None) or Samples(path)
            self._samples[path] = found
            while len(self._samples) > KEPT:
                self._samples.popitem(last=False)
            return found


def stage_of(folder: Folder, stage: str | None) -> Path:
    """The stage's folder; without a name, the one that people look at first among those that have samples."""
    with_samples = [each for each in folder.stages if "samples.jsonl" in each.files]
    chosen = folder.stage(stage)
    if stage is None and chosen not in with_samples and with_samples:
        chosen = with_samples[-1]
    return chosen.path


def steps(shelf: SampleShelf, folder: Folder, stage: str | None) -> dict[str, Any]:
    """Which steps have samples, and how many."""
    path = stage_of(folder, stage)
    samples = shelf.samples(path / "samples.jsonl")
    with samples.lock:
        samples.refresh()
        counts, probes = (
            [[step, len(places)] for step, places in sorted(kind.items())] for kind in (samples.places, samples.probes)
        )
        head = {"run": folder.id, "stage": "" if path == folder.path else path.name}
        return {**head, "steps": counts, "probe_steps": probes, "trouble": samples.trouble}


def at_step(
    shelf: SampleShelf, folder: Folder, stage: str | None, step: int, first: int, probe: bool = False
) -> dict[str, Any]:
    """probe: the replies to the same prompts at every step, else those that were learned from."""
    samples = shelf.samples(stage_of(folder, stage) / "samples.jsonl")
    with samples.lock:
        samples.refresh()
        rows = samples.rows(step, max(0, first), AT_ONCE, probe)
        count = len(samples.kind(probe).get(step, []))
        head = {"step": step, "first": first, "count": count, "trouble": samples.trouble}
    return {**head, "samples": [shown(row) for row in rows]}


def search(shelf: SampleShelf, folder: Folder, stage: str | None, words: str) -> dict[str, Any]:
    samples = shelf.samples(stage_of(folder, stage) / "samples.jsonl")
    with samples.lock:
        samples.refresh()
        hits = samples.holding(words, FOUND)
        trouble = samples.trouble
    rows = [{"step": step, "place": place, "probe": "probe" in row, **shown(row)} for step, place, row in hits]
    return {"hits": rows, "more": len(rows) == FOUND, "trouble": trouble}


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """What the page gets: texts made safe, numbers, columns of tokens of one length."""
    words = {name: value for name, value in row.items() if isinstance(value, str)}
    prompt = next((words[name] for name in PROMPTS if name in words), "")
    return {
        "prompt": text(prompt[:LONGEST]),
        "texts": [
            {"name": plain(name, 40), **text(value[:LONGEST])} for name, value in words.items() if name not in PROMPTS
        ],
        "numbers": {
            plain(name, 60): found
            for name, value in row.items()
            if name not in ("step", "probe") and (found := number(value)) is not None
        },
        "tokens": tokens(row),
    }


def tokens(row: dict[str, Any]) -> dict[str, Any] | None:
    """The reply in pieces with the numbers of each, where they were recorded and fit together."""
    pieces = row.get("tokens")
    if not isinstance(pieces, list) or not pieces:
        return None
    columns: dict[str, list[float | None]] = {}
    for name in COLUMNS:
        values = row.get(name)
        if isinstance(values, list) and len(values) == len(pieces):
            columns[name] = [number(value) for value in values[:TOKENS]]
    return {"pieces": [plain(str(piece), 200) for piece in pieces[:TOKENS]], "columns": columns} if columns else None
