"""Columns of events for a plot, and the settings of runs side by side."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.data.errors import InputError
from tutelage.report.sanitise import plain
from tutelage.runs.files import read_json
from tutelage.studio.look.lines import Events
from tutelage.studio.look.runs import Folder, said_of
from tutelage.studio.look.series import short, thinned

KEPT = 64  # files of events held in memory; the one that was looked at longest ago goes
BUCKETS = 120
METRICS = 200  # of one run; a foreign file may name more


class Shelf:
    """Events files that are being looked at, each read on from where it was left."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept, self._lock = kept, threading.Lock()
        self._events: OrderedDict[Path, Events] = OrderedDict()

    def events(self, path: Path) -> Events:
        with self._lock:
            found = self._events.pop(path, None) or Events(path)
            self._events[path] = found
            while len(self._events) > self._kept:
                self._events.popitem(last=False)
            return found


def curves(shelf: Shelf, folder: Folder, stage: str | None, known: int, buckets: int = BUCKETS) -> dict[str, Any]:
    """Every metric of a stage over steps, thinned; only its version where that is the one that the page has."""
    place = folder.stage(stage)
    events = shelf.events(place.path / "events.jsonl")
    with events.lock:
        events.refresh()
        head = {"run": folder.id, "stage": place.name, "version": events.version, "rows": events.rows}
        if known == events.version:
            return {**head, "unchanged": True}
        columns = {name: np.array(column) for name, column in sorted(events.columns.items())[:METRICS]}
        trouble = plain(events.trouble, 300)
    steps = columns.get("step", np.arange(head["rows"], dtype=float))
    seconds = columns.get("seconds")
    series = {
        plain(name, 80): _points(steps, seconds, values, buckets)
        for name, values in columns.items()
        if name not in ("step", "seconds")
    }
    return {**head, "trouble": trouble, "series": series}


def _points(steps: np.ndarray, seconds: np.ndarray | None, values: np.ndarray, buckets: int) -> dict[str, Any]:
    """x: steps; t: seconds at those steps, where they were recorded; y."""
    x, y = thinned(steps, values, buckets)
    found: dict[str, Any] = {"x": short(x, 12), "y": short(y)}
    if seconds is not None:
        known = np.isfinite(seconds) & np.isfinite(steps)
        if known.any():
            order = np.argsort(steps[known], kind="stable")
            found["t"] = short(np.interp(x, steps[known][order], seconds[known][order]), 6)
    return found


def settings(folders: Sequence[Folder]) -> dict[str, Any]:
    """Settings of several runs, a row a setting; what differs comes first."""
    read = [_flat_settings(folder) for folder in folders]
    names = sorted({name for _, each in read for name in each})
    rows = [{"name": plain(name, 120), "values": [each.get(name) for _, each in read]} for name in names]
    for row in rows:
        row["differs"] = len(set(row["values"])) > 1
    return {
        "runs": [folder.id for folder in folders],
        "troubles": [trouble for trouble, _ in read],
        "rows": sorted(rows, key=lambda row: not row["differs"]),
    }


def _flat_settings(folder: Folder) -> tuple[str, dict[str, str]]:
    """(what is wrong with config.json, its settings by their names)."""
    try:
        config = read_json(folder.path / "config.json")
    except InputError as error:
        return said_of(folder, error), {}
    chosen = config.get("settings")
    rest = {name: value for name, value in config.items() if name != "settings"}
    flat = {**_flat(chosen if isinstance(chosen, dict) else {}), **_flat(rest)}
    return "", {name: plain(value, 400) for name, value in flat.items()}


def _flat(values: Mapping[str, Any], before: str = "", depth: int = 0) -> dict[str, str]:
    rows: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict) and depth < 8:
            rows |= _flat(value, f"{before}{name}.", depth + 1)
        else:
            rows[f"{before}{name}"] = value if isinstance(value, str) else json.dumps(value)[:400]
    return rows
