"""Which runs a folder holds, and a row for each: what it is, how far it is, whether it lives, what is broken in it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tutelage.data.errors import InputError
from tutelage.report.sanitise import plain
from tutelage.runs.files import read_json
from tutelage.runs.log import LOG
from tutelage.runs.outcome import Outcome, outcome_of
from tutelage.studio.look.lines import number, peeked

DEEPEST = 4  # folders within folders that are looked through
MOST = 5000
MARKS = {"state.json", "events.jsonl", "summary.json"}
WEIGHTS = {"model.safetensors", "tokenizer.json", "adapter_config.json", "model.safetensors.index.json"}
NEVER = {"checkpoints", "pieces", "model", "tensorboard", "wandb"}
KNOWN = (".json", ".jsonl", ".db", ".safetensors")
LOG_SHOWN = 1 << 17  # bytes of the end of log.txt
PEEKED = 24  # points of the small line in a list
SHOWN = (
    "score",
    "gold_score",
    "accuracy",
    "loss",
    "win_rate_by_reward_model",
)  # of which the small line shows the first
LATEST = (*SHOWN, "kl_nats_per_sequence", "actions", "entropy_nats", "kl_nats_to_first")


@dataclass(frozen=True)
class Stage:
    """A folder with events: a run's own, or that of a stage in it. name: "" is the run's own."""

    name: str
    path: Path
    files: Mapping[str, tuple[int, int]]  # name -> (size, time of the last change in nanoseconds)

    @property
    def changed(self) -> float:
        """Seconds since 1970."""
        return max((when for _, when in self.files.values()), default=0) / 1e9


@dataclass(frozen=True)
class Folder:
    """A run. id: its path within the folder of runs; stages: its own folder first, then in the order of their end."""

    id: str
    path: Path
    stages: tuple[Stage, ...]

    @property
    def changed(self) -> float:
        return max(stage.changed for stage in self.stages)

    @property
    def mark(self) -> tuple[Any, ...]:
        """Differs when anything that a row shows has changed."""
        return tuple((stage.name, *sorted(stage.files.items())) for stage in self.stages)

    def stage(self, name: str | None) -> Stage:
        """The stage of that name; else the one that people look at first: PPO's, or the last that has events."""
        by_name = {stage.name: stage for stage in self.stages}
        if name is not None and name in by_name:
            return by_name[name]
        with_events = [stage for stage in self.stages if "events.jsonl" in stage.files]
        first = [stage for stage in with_events if stage.name in ("ppo", "live")]
        return (first or [each for each in with_events if "ppo" in each.name] or with_events or [self.stages[0]])[-1]


def found(root: Path) -> dict[str, Folder]:
    """Every run in a folder by its id; the folder itself where it is one."""
    runs: dict[str, Folder] = {}
    _look(root, "", 0, runs)
    return runs


def _look(path: Path, name: str, depth: int, runs: dict[str, Folder]) -> None:
    files, folders = _inside(path)
    if is_run(files):
        runs[name or path.name] = Folder(name or path.name, path, _stages(path, files, folders))
        return
    if depth == DEEPEST or len(runs) >= MOST:
        return
    for each in sorted(folders - NEVER):
        _look(path / each, f"{name}/{each}" if name else each, depth + 1, runs)


def is_run(files: Mapping[str, tuple[int, int]]) -> bool:
    """A folder with a state, events or a summary; or one whose run was killed before it had them."""
    return bool(MARKS & files.keys()) or ("config.json" in files and not WEIGHTS & files.keys())


def _stages(path: Path, files: Mapping[str, tuple[int, int]], folders: set[str]) -> tuple[Stage, ...]:
    inner = [Stage(each, path / each, _inside(path / each)[0]) for each in sorted(folders - NEVER)]
    stages = [each for each in inner if MARKS & each.files.keys()]
    stages.sort(key=lambda stage: stage.files.get("state.json", (0, 0))[1])
    return (Stage("", path, files), *stages)


def _inside(path: Path) -> tuple[dict[str, tuple[int, int]], set[str]]:
    """(files with size and time, folders); nothing of a folder that cannot be read."""
    files: dict[str, tuple[int, int]] = {}
    try:
        entries = _entries(path)
        folders = {entry.name for entry in entries if entry.is_dir()}
        for entry in entries:
            if entry.name not in folders and entry.name.endswith(KNOWN):
                about = entry.stat()
                files[entry.name] = (about.st_size, about.st_mtime_ns)
    except OSError:
        return files, set()
    return files, folders


def _entries(path: Path) -> list[os.DirEntry[str]]:
    with os.scandir(path) as found:
        return [entry for entry in found if _asked_for(entry.name)]


def _asked_for(name: str) -> bool:
    """Not what is hidden, half written, or named so that no page could ask for it again."""
    return not name.startswith(".") and not name.endswith(".part") and name.isprintable()


@dataclass
class Index:
    """The rows of a folder of runs, kept in memory; only what has changed is read again."""

    root: Path
    _rows: dict[str, tuple[Any, dict[str, Any]]] = field(default_factory=dict[str, tuple[Any, dict[str, Any]]])
    _folders: dict[str, Folder] = field(default_factory=dict[str, Folder])

    def rows(self) -> tuple[list[dict[str, Any]], str]:
        """(rows, the newest first; a mark that differs when any of them has changed)."""
        self._folders = found(self.root)
        rows, marks = [], []
        for folder in self._folders.values():
            mark = folder.mark
            kept = self._rows.get(folder.id)
            if kept is None or kept[0] != mark or kept[1]["status"] == "running":  # a run that is killed writes nothing
                kept = self._rows[folder.id] = (mark, row(folder))
            rows.append(kept[1])
            marks.append((folder.id, mark, kept[1]["status"]))
        digest = hashlib.sha256(repr(marks).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return sorted(rows, key=lambda each: -each["changed"]), digest

    def folder(self, name: str) -> Folder:
        """The run of this id, as it is now; InputError where there is none."""
        if name not in self._folders:
            self._folders = found(self.root)
        known = self._folders.get(name)
        if known is None:
            raise InputError(f"there is no run {plain(name, 200)!r} in this folder.")
        files, folders = _inside(known.path)
        return Folder(known.id, known.path, _stages(known.path, files, folders))

    def all(self) -> list[Folder]:
        self._folders = found(self.root)
        return list(self._folders.values())


def row(folder: Folder) -> dict[str, Any]:
    """What the list shows of a run."""
    troubles: list[str] = []
    state, config, summary = (_read(folder, name, troubles) for name in ("state.json", "config.json", "summary.json"))
    stage = folder.stage(None)
    events, damaged = peeked(stage.path / "events.jsonl", PEEKED) if "events.jsonl" in stage.files else ([], False)
    last = events[-1] if events else {}
    if "config.json" not in folder.stages[0].files:
        troubles.append("config.json is missing: nobody knows with which settings it ran.")
    if "state.json" not in folder.stages[0].files:
        troubles.append("state.json is missing: nobody knows whether it is over.")
    if damaged:
        troubles.append("events.jsonl holds lines that are no rows.")
    metric = next((name for name in SHOWN if any(number(event.get(name)) is not None for event in events)), "")
    values = [value for event in events if (value := number(event.get(metric))) is not None]
    outcome = _outcome(folder, state, troubles)
    return {
        "id": folder.id,
        "name": plain(folder.id, 200),
        "verb": plain(str(config.get("verb", "")), 40),
        "status": plain(outcome.status if outcome.status != "unknown" else str(state.get("status", "unknown")), 20),
        "stopped_by": plain(outcome.error, 60),
        "ended": plain(outcome.sentence, 600) if outcome.ended_badly else "",
        "stage": stage.name,
        "stages": [each.name for each in folder.stages],
        "with_events": [each.name for each in folder.stages if "events.jsonl" in each.files],
        "with_samples": [each.name for each in folder.stages if "samples.jsonl" in each.files],
        "step": number(last.get("step")),
        "steps": _planned(config.get("settings"), stage.name),
        "seconds": number(summary.get("seconds_total")) or number(last.get("seconds")),
        "latest": {name: value for name in LATEST if (value := number(last.get(name))) is not None},
        "win_rate": number(summary.get("win_rate_ppo_over_sft", summary.get("win_rate"))),
        **{f"win_rate{end}": number(summary.get(f"win_rate{end}")) for end in ("_low", "_high", "_n")},
        "line": {"metric": metric, "values": [float(f"{value:.4g}") for value in values]},
        "trouble": " ".join(troubles),
        "changed": folder.changed,
    }


def _outcome(folder: Folder, state: Mapping[str, Any], troubles: list[str]) -> Outcome:
    """How the run ended; Outcome("unknown") where its folder does not tell."""
    if not state and "state.json" in folder.stages[0].files:
        return Outcome("unknown")  # it could not be read, which is told already
    try:
        return outcome_of(folder.path)
    except InputError as error:
        troubles.append(said_of(folder, error))
        return Outcome("unknown")


def ending(folder: Folder) -> dict[str, Any]:
    """How a run ended, in full, and the end of what it printed: for its page."""
    troubles: list[str] = []
    outcome = _outcome(folder, {"": ""}, troubles)
    text, left_out = _end_of(folder.path / LOG, troubles)
    return {
        "run": folder.id,
        "status": outcome.status,
        "ended": plain(outcome.sentence, 3000) if outcome.ended_badly else "",
        "traceback": [plain(line, 500) for line in outcome.traceback],
        "log": [plain(line, 4000) for line in text.splitlines()],
        "log_left_out": left_out,
        "trouble": " ".join(troubles),
    }


def _end_of(path: Path, troubles: list[str]) -> tuple[str, bool]:
    """(the last lines of a text file, whether there are more before them); ("", False) where there is none."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - LOG_SHOWN))
            content = file.read(LOG_SHOWN)
    except FileNotFoundError:
        return "", False
    except OSError as error:
        troubles.append(f"{path.name} could not be read: {error.strerror or error}.")
        return "", False
    if size > LOG_SHOWN:
        content = content.partition(b"\n")[2]
    return content.decode("utf-8", "replace"), size > LOG_SHOWN


def _read(folder: Folder, name: str, troubles: list[str]) -> dict[str, Any]:
    if name not in folder.stages[0].files:
        return {}
    try:
        return read_json(folder.path / name)
    except InputError as error:
        troubles.append(said_of(folder, error))
        return {}


def said_of(folder: Folder, error: InputError) -> str:
    """What is wrong with a run's files, without where the folder lies: whoever looks need not know this machine."""
    return plain(str(error).replace(f"{folder.path}{os.sep}", "").replace(str(folder.path), folder.id), 300)


def _planned(settings: Any, stage: str) -> float | None:
    """How many steps the stage was to take, where the settings say so."""
    job: Mapping[str, Any] = settings if isinstance(settings, dict) else {}
    names = ("ppo", "settings", "sft") if "ppo" in stage or not stage else (stage.replace("-", "_"), "settings")
    groups = (job[name] for name in names if isinstance(job.get(name), dict))
    return next((steps for group in (*groups, job) if (steps := number(group.get("steps"))) is not None), None)
