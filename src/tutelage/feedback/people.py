"""Whether a store holds what people said, read without opening it as a store (that could change it)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

ANSWERED = """SELECT 1 FROM assignment JOIN labeller ON labeller.id = assignment.labeller
WHERE labeller.kind = 'human' AND assignment.state = 'answered'
UNION ALL SELECT 1 FROM event JOIN labeller ON labeller.id = event.actor
WHERE labeller.kind = 'human' AND event.kind = 'signalled' LIMIT 1"""


def holds_people(path: Path) -> bool:
    """True also where the file cannot be read: then it is not known to hold nothing."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(ANSWERED).fetchone() is not None
    except sqlite3.Error:
        return True
