"""Snapshots of a feedback store, read from its file without changing it."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tutelage.report.sanitise import plain

MOST = 200  # snapshots shown, the newest: a live run takes one a version
PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class Snapshot:
    """people: name -> how many of its labels; taken_back: labels that were retracted or excluded since."""

    id: str
    labels: int
    people: dict[str, int]
    taken_back: int


@dataclass(frozen=True)
class Snapshots:
    """labels: present ones of the whole store; trouble: why nothing is known, or ""."""

    labels: int = 0
    people: dict[str, int] = field(default_factory=dict[str, int])
    snapshots: tuple[Snapshot, ...] = ()
    trouble: str = ""


def snapshots_of(path: Path) -> Snapshots:
    try:
        with closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=PATIENCE_SECONDS)
        ) as store:
            return _read(store)
    except sqlite3.Error as error:
        return Snapshots(trouble=plain(f"feedback.db could not be read: {error}.", 200))


def _read(store: sqlite3.Connection) -> Snapshots:
    present = "SELECT labeller, count(*) FROM label WHERE retracted IS NULL AND NOT excluded GROUP BY labeller"
    names = {row[0]: plain(row[1] or "somebody erased", 80) for row in store.execute("SELECT id, name FROM labeller")}
    people = {names.get(row[0], "?"): int(row[1]) for row in store.execute(present)}
    newest = store.execute("SELECT id, labels FROM snapshot ORDER BY seq DESC LIMIT ?", (MOST,)).fetchall()
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    gone: dict[str, int] = defaultdict(int)
    query = (
        "SELECT s.snapshot, l.labeller, count(*), sum(l.retracted IS NOT NULL OR l.excluded) FROM snapshot_label s "
        "JOIN label l ON l.id = s.label GROUP BY s.snapshot, l.labeller"
    )
    for snapshot, labeller, count, taken_back in store.execute(query):
        counts[snapshot][names.get(labeller, "?")] = int(count)
        gone[snapshot] += int(taken_back or 0)
    found = tuple(Snapshot(str(name), int(count), counts[name], gone[name]) for name, count in newest)
    return Snapshots(sum(people.values()), people, found)
