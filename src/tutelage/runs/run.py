"""One folder a run: config.json before step 0, events.jsonl, samples.jsonl, models, summary.json, state.json.

A pipeline is a run whose stages are runs in sub-folders; a stage that has finished is not done again on --resume.
"""

from __future__ import annotations

import dataclasses
import math
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch

from tutelage.data.errors import InputError
from tutelage.runs.files import append_lines, cannot_write, read_json, write_json
from tutelage.runs.progress import Progress
from tutelage.runs.trackers import Tracker

STATE, CONFIG, EVENTS, SAMPLES, SUMMARY = "state.json", "config.json", "events.jsonl", "samples.jsonl", "summary.json"


class Run:
    """What one stage or pipeline writes. Build it with `Run.create`."""

    def __init__(self, path: Path, trackers: Sequence[Tracker] = (), name: str = "") -> None:
        self.path, self.trackers, self.name = path, tuple(trackers), name or path.name
        self.latest: dict[str, float] = {}
        self.step = 0
        self.current: Run | None = None
        self._noted: dict[str, float] = {}
        self._started = time.monotonic()

    @staticmethod
    def create(
        folder: str | Path,
        config: object,
        *,
        resume: bool = False,
        overwrite: bool = False,
        trackers: Sequence[Tracker] = (),
    ) -> Run:
        """A run in `folder`; one that holds something already is refused unless it is resumed or overwritten."""
        path = Path(folder).expanduser()
        _make_room(path, resume, overwrite)
        run = Run(path, trackers)
        resolved = {"settings": as_plain(config), **surroundings()}
        if resume and (path / CONFIG).exists():
            refuse_other_settings(read_json(path / CONFIG)["settings"], resolved["settings"], path)
            if run.finished:
                return run
            for stale in (EVENTS, SAMPLES):  # of an attempt that did not finish: its steps are done again
                (path / stale).unlink(missing_ok=True)
        else:
            write_json(path / CONFIG, resolved)
        run._write_state("running")
        return run

    def stage(self, name: str) -> Run:
        """The sub-run of a pipeline; what an unfinished attempt left in it is cleared."""
        stage = self.current = Run(self.path / name, self.trackers, name)
        if not stage.finished:
            shutil.rmtree(stage.path, ignore_errors=True)
            _make_folder(stage.path)
            stage._write_state("running")
        return stage

    @property
    def finished(self) -> bool:
        return (self.path / STATE).exists() and read_json(self.path / STATE)["status"] == "finished"

    def steps(self, count: int, shows: Sequence[str] = ()) -> Iterator[int]:
        """0 .. count − 1 with a progress bar that shows the latest value of the named metrics."""
        with Progress(self.name, count) as progress:
            for self.step in range(count):
                yield self.step
                progress.advance({name: self.latest[name] for name in shows if name in self.latest})

    def note(self, **metrics: float) -> None:
        """Numbers that the next record carries along: what a recipe sees and the algorithm does not know."""
        self._noted.update(metrics)

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """One line of events.jsonl. A metric that is not finite stops the run: nothing after it would mean anything."""
        for name, value in [*metrics.items(), *self._noted.items()]:
            if not math.isfinite(value):
                raise FloatingPointError(f"{self.name}: {name} is {value} at step {step}; the run stops here.")
        metrics, self._noted = {**metrics, **self._noted}, {}
        self.latest = dict(metrics)
        seconds = round(time.monotonic() - self._started, 3)
        append_lines(self.path / EVENTS, [{"step": step, "seconds": seconds, **metrics}])
        for tracker in self.trackers:
            tracker.log(step, {f"{self.name}/{name}": value for name, value in metrics.items()})

    def keep_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        append_lines(self.path / SAMPLES, [{"step": step, **row} for row in rows])

    def mark_finished(self, summary: Mapping[str, Any]) -> None:
        """Writes summary.json, then says so in state.json: a finished run has its summary."""
        write_json(self.path / SUMMARY, summary)
        self._write_state("finished")

    def interrupted(self) -> None:
        """Says in state.json where a run, and the stage it was in, was stopped."""
        for each in (self.current, self):
            if each is not None and not each.finished:
                each._write_state("interrupted")

    @property
    def where(self) -> str:
        return f"stage {self.current.where}" if self.current is not None else f"{self.name}, step {self.step}"

    @property
    def summary(self) -> dict[str, Any]:
        return read_json(self.path / SUMMARY)

    def _write_state(self, status: str) -> None:
        write_json(self.path / STATE, {"tutelage": "run", "name": self.name, "status": status, "step": self.step})


def as_plain(config: object) -> Any:
    """A frozen dataclass (or a mapping) as plain JSON values."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: as_plain(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {str(name): as_plain(value) for name, value in cast("Mapping[object, object]", config).items()}
    if isinstance(config, (list, tuple)):
        return [as_plain(value) for value in cast("Sequence[object]", config)]
    return config if isinstance(config, (str, int, float, bool, type(None))) else str(config)


def surroundings() -> dict[str, Any]:
    """What the numbers depend on beside the settings."""
    return {
        "versions": {name: version(name) for name in ("tutelage", "torch", "transformers", "numpy")},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


def refuse_other_settings(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """--resume continues the same run; other settings would make it another."""
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if changed:
        raise InputError(
            f"{path} was begun with other settings: {', '.join(changed)}. Give the same ones to --resume it, another "
            "--out for a new run, or --overwrite."
        )


def _make_room(path: Path, resume: bool, overwrite: bool) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"--out {path} is a file, not a folder. Give another name.")
    occupied = path.exists() and any(path.iterdir())
    if occupied and not (path / STATE).exists():
        raise InputError(
            f"--out {path} exists and is no run of tutelage: nothing in it was touched. Give another folder."
        )
    if occupied and overwrite:
        shutil.rmtree(path)
    elif occupied and not resume:
        raise InputError(
            f"--out {path} holds a run already: nothing in it was touched. Give another folder, --resume to continue "
            "after its last finished stage, or --overwrite to replace it."
        )
    _make_folder(path)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
