"""One folder a run: config.json before step 0, events.jsonl, samples.jsonl, models, summary.json, state.json.

A pipeline is a run whose stages are runs in sub-folders; a stage that has finished is not done again on --resume.
"""

from __future__ import annotations

import dataclasses
import math
import os
import platform
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, cast

import psutil
import torch

from tutelage.data.errors import InputError
from tutelage.data.secrets import masked
from tutelage.execution.ranks import (
    agree_to_stop,
    is_main_rank,
    rank_0_decides,
    refuse_without_rank_0,
    wait_for_all_ranks,
)
from tutelage.feedback.people import holds_people
from tutelage.models.kernels import kernels
from tutelage.runs.checkpoints import RANDOM, Checkpoints, State, Stateful
from tutelage.runs.claim import Claim, claim_folder, put_back
from tutelage.runs.files import (
    CHECKPOINT_SECONDS,
    DISK,
    append_lines,
    cannot_write,
    cut_back,
    entry,
    read_json,
    read_lines,
    write_json,
)
from tutelage.runs.outcome import error_of, is_alive
from tutelage.runs.progress import Progress, ProgressSettings
from tutelage.runs.went_back import last_step

STATE, CONFIG, EVENTS, SAMPLES, SUMMARY = "state.json", "config.json", "events.jsonl", "samples.jsonl", "summary.json"
ANSWERS = "feedback.db"  # of a run that asks people
LOGS = (EVENTS, SAMPLES)
BEFORE_THE_FIRST_STATE = {CONFIG, f"{CONFIG}.part", f"{STATE}.part"}  # what a kill may leave of a run not yet begun


class Tracker(Protocol):
    """Where events go beside the run's folder (`runs.trackers`)."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class Reached(Exception):
    """The step that a replay was to reach. content: the hash of the state there."""

    def __init__(self, content: str) -> None:
        super().__init__(content)
        self.content = content


class Run:
    """What one stage or pipeline writes. Build it with `Run.create`.

    A rank other than 0 writes nothing and reads what is there only where it is resumed (`execution.ranks`).

    watch: looks at the run after every record, and may stop it by an error (the doctor, where `cli` gives it one)
    engine: who samples and who learns (`training.engine.Engine`); None: this process
    """

    def __init__(
        self,
        path: Path,
        trackers: Sequence[Tracker] = (),
        name: str = "",
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        self.path, self.trackers, self.name = path, tuple(trackers), name or path.name
        self.checkpoint_seconds, self.checkpoints = checkpoint_seconds, Checkpoints(path / "checkpoints")
        self.claim = Claim(path, settled=True)
        self.reads = True
        self.stateful: dict[str, Stateful] = {"random": RANDOM}
        self.until: tuple[str, int] | None = None
        self.skip_preflight = False
        self.watch: Callable[[Run], None] | None = None
        self.engine: Any = None
        self.latest: dict[str, float] = {}
        self.step = 0
        self.current: Run | None = None
        self._progress: Progress | None = None
        self._planned: int | None = None
        self._finished: bool | None = None  # on ranks other than 0, which cannot tell it from the folder
        self._summary: dict[str, Any] | None = None
        self._recorded = 0
        self._noted: dict[str, float] = {}
        self._started = self._lapped = time.monotonic()

    @staticmethod
    def create(
        folder: str | Path,
        config: object,
        *,
        resume: bool = False,
        overwrite: bool = False,
        verb: str = "",
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> Run:
        """A run in `folder`; one that holds something already is refused unless it is resumed or overwritten.

        verb: the command that began it, so that `tutelage resume` finds it again
        """
        path = Path(folder).expanduser()
        run = Run(path, checkpoint_seconds=checkpoint_seconds)
        if not is_main_rank():
            wait_for_all_ranks()
            return run._follow(config, resume)
        run.claim = _make_room(path, resume, overwrite)
        try:
            begun = run._begin(config, resume, verb)
            wait_for_all_ranks()
            return begun
        except BaseException:
            run.claim.withdraw()
            raise

    def _begin(self, config: object, resume: bool, verb: str) -> Run:
        """Writes config.json and state.json, or goes on where the run in this folder stopped."""
        run, path = self, self.path
        here = str(Path.cwd())  # relative paths and modules among the settings are looked for from here
        resolved: dict[str, Any] = {
            "verb": verb,
            "settings": as_plain(config),
            "working_directory": here,
            **surroundings(),
        }
        if resume and (path / CONFIG).exists():
            before = read_json(path / CONFIG)
            settings = cast("dict[str, Any]", entry(path / CONFIG, before, "settings", dict))
            if run.finished and paths_within(resolved["settings"]) - paths_within(settings):
                return run  # of an earlier version, and there is nothing to resume
            refuse_other_settings(settings, resolved["settings"], path)
            if run.finished:
                return run
            refuse_other_surroundings(before, resolved, path)
            run._cut_back()
        else:
            write_json(path / CONFIG, resolved)
        RANDOM.begin()
        run._write_state("running")
        return run

    def _follow(self, config: object, resume: bool) -> Run:
        """On a rank other than 0: goes on where the run stopped if it is resumed, and looks at nothing otherwise."""
        self.reads = resume and (self.path / CONFIG).exists()
        self._finished = self.reads and _status(self.path / STATE) == "finished"
        if self.reads:
            before = read_json(self.path / CONFIG)
            settings = cast("dict[str, Any]", entry(self.path / CONFIG, before, "settings", dict))
            refuse_other_settings(settings, as_plain(config), self.path)
        RANDOM.begin()
        return self

    def stage(self, name: str) -> Run:
        """The sub-run of a pipeline; an unfinished attempt is cut back to its last checkpoint.

        Ranks other than 0 wait until rank 0 has written the stages before. InputError where they cannot.
        """
        refuse_without_rank_0(f"{self.path.name}, a run of several stages,")
        wait_for_all_ranks()
        stage = self.current = Run(self.path / name, self.trackers, name, self.checkpoint_seconds)
        stage.claim, stage.reads = self.claim, self.reads
        stage.until, stage.skip_preflight, stage.watch = self.until, self.skip_preflight, self.watch
        stage.engine = self.engine
        stage.checkpoints = dataclasses.replace(stage.checkpoints, keep=self.checkpoints.keep)
        if not is_main_rank():
            stage._finished = self.reads and stage.finished
        wait_for_all_ranks()  # before rank 0 writes the state that others look at
        if not stage.finished:
            _make_folder(stage.path)
            stage._cut_back()
            RANDOM.begin()
            stage._write_state("running")
        return stage

    @property
    def finished(self) -> bool:
        if self._finished is not None:
            return self._finished
        return (self.path / STATE).exists() and _status(self.path / STATE) == "finished"

    def steps(
        self,
        count: int,
        shows: Sequence[str] = (),
        state: Mapping[str, Stateful] | None = None,
        best: str = "",
        told: ProgressSettings = ProgressSettings(),
    ) -> Iterator[int]:
        """The steps that are left of `count`, with a progress bar that shows the latest value of the named metrics.

        state: what changes from step to step. It is restored before the first step where there is a checkpoint, and
        checkpointed now and then and after the last step. best: the metric whose highest checkpoint is kept, too
        told: the phases of a step, and how its progress is counted
        """
        self.stateful.update(state or {})
        first, count = self._restore(), last_step(self.path, count)
        wait_for_all_ranks()  # before rank 0 writes a checkpoint that another one would restore
        self._planned = count
        if not self.finished:
            self._write_state("running")  # how many steps there are, for whoever looks on
        saved, cost = time.monotonic(), 0.0
        done = int(self.latest.get(told.counted_by, first))
        with Progress(self.name, count, done, settings=told) as self._progress:
            for self.step in range(first, count):
                self._lapped = time.monotonic()
                yield self.step
                done = int(self.latest.get(told.counted_by, self.step + 1))
                self._progress.advance({name: self.latest[name] for name in shows if name in self.latest}, done)
                now = time.monotonic()
                wait = max(self.checkpoint_seconds, 33 * cost) if self.checkpoint_seconds else 0.0
                if now - saved >= wait or self.step + 1 == count:
                    self._checkpoint(self.step + 1, best)
                    saved, cost = time.monotonic(), time.monotonic() - now
                if agree_to_stop(self.until == (self.name, self.step + 1)):
                    raise Reached(self._checkpoint(self.step + 1, best))

    def note(self, **metrics: float) -> None:
        """Numbers that the next record carries along: what a recipe sees and the algorithm does not know."""
        self._noted.update(metrics)

    def lap(self, phase: str) -> None:
        """Notes as seconds_PHASE what went by since the step began, or since its last lap."""
        before, self._lapped = self._lapped, time.monotonic()
        self.note(**{f"seconds_{phase}": round(self._lapped - before, 3)})
        if self._progress is not None:
            self._progress.end_phase(phase)

    def enter_phase(self, phase: str) -> None:
        """What the progress bar says is done now."""
        if self._progress is not None:
            self._progress.enter_phase(phase)

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """One line of events.jsonl. A metric that is not finite stops the run: nothing after it would mean anything."""
        numbers = [*metrics.items(), *self._noted.items()]
        found = next((f"{name} is {value}" for name, value in numbers if not math.isfinite(value)), "")
        if agree_to_stop(bool(found)) or found:
            told = found or "a metric of rank 0 is not finite"
            raise FloatingPointError(f"{self.name}: {told} at step {step}; the run stops here.")
        self.claim.settle()
        metrics, self._noted = {**metrics, **self._noted}, {}
        self.latest, self._recorded = dict(metrics), step + 1
        seconds = round(time.monotonic() - self._started, 3)
        append_lines(self.path / EVENTS, [{"step": step, "seconds": seconds, **metrics}])
        for tracker in self.trackers if is_main_rank() else ():
            tracker.log(step, {f"{self.name}/{name}": value for name, value in metrics.items()})
        if self.watch is not None:
            self.watch(self)

    def keep_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        self.claim.settle()
        append_lines(self.path / SAMPLES, [{"step": step, **row} for row in rows])

    def mark_finished(self, summary: Mapping[str, Any]) -> None:
        """Writes summary.json, then says so in state.json: a finished run has its summary."""
        self.claim.settle()
        if not is_main_rank():
            self._finished, self._summary = True, dict(summary)
        write_json(self.path / SUMMARY, summary)
        self._write_state("finished")

    def interrupted(self, error: BaseException | None = None) -> None:
        """Says in state.json where a run, and the stage it was in, was stopped, and by which exception, if one did."""
        for each in (self.current, self):
            if each is not None and not each.finished:
                each._write_state("interrupted", error)

    def begin_training(self, task: Any, models: Any) -> None:
        """What `train` calls with its task and its models before their first step; a dry run counts their bytes."""

    @contextmanager
    def mark_if_stopped(self) -> Generator[None, None, None]:
        """Around work on this run: where Ctrl-C or another exception ends it, state.json says so (`interrupted`)."""
        try:
            yield
        except BaseException as error:
            self.interrupted(None if isinstance(error, KeyboardInterrupt) else error)
            raise

    def step_count(self) -> int:
        """How many steps are on record: fewer than were asked for where the run ended at a peak or went back."""
        if not is_main_rank():
            return self._recorded
        rows = read_lines(self.path / EVENTS) if (self.path / EVENTS).exists() else []
        return entry(self.path / EVENTS, rows[-1], "step", int) + 1 if rows else 0

    @property
    def where(self) -> str:
        return f"stage {self.current.where}" if self.current is not None else f"{self.name}, step {self.step}"

    @property
    def summary(self) -> dict[str, Any]:
        return read_json(self.path / SUMMARY) if self._summary is None else self._summary

    def piece(self, name: str, make: Callable[[], State]) -> State:
        """make()'s result, kept in the folder until the stage ends: a resumed stage reads it instead of making it."""
        kept = Checkpoints(self.path / "pieces" / name)
        found = kept.latest() if self.reads else None
        if rank_0_decides(found is not None):
            assert found is not None, f"rank 0 has the piece {name}, and this rank cannot read it"
            return found.state
        made = make()
        self.claim.settle()
        kept.save(0, made, {})
        return made

    def _restore(self) -> int:
        """Puts the last checkpoint into the registered objects; returns how many steps it had done."""
        found = self.checkpoints.latest() if self.reads else None
        if found is None:
            return 0
        missing = found.state.keys() ^ self.stateful.keys()
        if missing:
            raise InputError(f"{self.path}: its checkpoint and this program differ in {', '.join(sorted(missing))}.")
        for name, each in self.stateful.items():
            each.restore(found.state[name])
        rows = read_lines(self.path / EVENTS) if (self.path / EVENTS).exists() else []
        if rows:
            self._started -= entry(self.path / EVENTS, rows[-1], "seconds", float)
            self.latest = {name: value for name, value in rows[-1].items() if name not in ("step", "seconds")}
            self._recorded = found.step
        return found.step

    def _checkpoint(self, step: int, best: str) -> str:
        if not is_main_rank():
            return ""
        sizes: dict[str, int] = {}
        for name in LOGS:
            if (self.path / name).exists():
                DISK.sync(self.path / name)
                sizes[name] = (self.path / name).stat().st_size
        states = {name: each.state() for name, each in self.stateful.items()}
        return self.checkpoints.save(step, states, sizes, score=self.latest.get(best))

    def _cut_back(self) -> None:
        """Leaves of an unfinished attempt what its last whole checkpoint vouches for."""
        if not is_main_rank():
            return
        found = self.checkpoints.latest()
        self.checkpoints.remove_after(found.step if found else -1)
        for name in LOGS:
            cut_back(self.path / name, found.logs.get(name, 0) if found else 0)
        (self.path / SUMMARY).unlink(missing_ok=True)

    def _write_state(self, status: str, error: BaseException | None = None) -> None:
        about = {"tutelage": "run", "name": self.name, "status": status, "step": self.step}
        if self._planned is not None:
            about["steps"] = self._planned
        if error is not None:
            about |= {"stopped_by": type(error).__name__, "error": error_of(error)}
        write_json(self.path / STATE, {**about, "process": this_process()})


def this_process() -> dict[str, Any]:
    return {"id": os.getpid(), "started": psutil.Process().create_time(), "machine": platform.node()}


def refuse_if_running(path: Path) -> None:
    """Two processes in one run would each undo what the other wrote."""
    found = read_json(path / STATE).get("process", {})
    owner = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    if _status(path / STATE) == "running" and owner.get("id") != os.getpid() and is_alive(owner):
        raise InputError(f"{path} is running, in process {owner['id']}: wait for it, stop it, or give another --out.")


def _status(path: Path) -> str:
    return entry(path, read_json(path), "status", str)


def as_plain(config: object) -> Any:
    """A frozen dataclass (or a mapping) as plain JSON values, without the secrets in its texts."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: as_plain(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {str(name): as_plain(value) for name, value in cast("Mapping[object, object]", config).items()}
    if isinstance(config, (list, tuple)):
        return [as_plain(value) for value in cast("Sequence[object]", config)]
    return config if isinstance(config, (int, float, bool, type(None))) else masked(str(config))


def surroundings() -> dict[str, Any]:
    """What the numbers depend on beside the settings."""
    return {
        "versions": {name: version(name) for name in ("tutelage", "torch", "transformers", "numpy")},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "matrix_products": kernels().products,
    }


def refuse_other_settings(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """--resume continues the same run; other settings would make it another."""
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    unknown = paths_within(now) - paths_within(before)
    if unknown:
        raise InputError(
            f"{path} was begun by an earlier version of tutelage, which had no {', '.join(sorted(unknown))}: it can be "
            "read, but not resumed. Begin anew with another --out, or with --overwrite."
        )
    if changed:
        raise InputError(
            f"{path} was begun with other settings: {', '.join(changed)}. Give the same ones to --resume it, another "
            "--out for a new run, or --overwrite."
        )


def paths_within(settings: Mapping[str, Any], above: str = "") -> set[str]:
    """Names of settings and of groups of them, such as `trust.dtype`."""
    found = set[str]()
    for name, value in settings.items():
        found.add(above + name)
        if isinstance(value, Mapping):
            found |= paths_within(cast("Mapping[str, Any]", value), f"{above}{name}.")
    return found


def refuse_other_surroundings(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Bitwise the same run needs the same versions, machine and threads."""
    names = ("versions", "python", "machine", "threads", "matrix_products")
    changed = [f"{name} {before.get(name)} (now {now[name]})" for name in names if before.get(name) != now[name]]
    if changed:
        raise InputError(
            f"{path} was begun elsewhere: {'; '.join(changed)}. Continued here it would be another run. Restore these "
            "(OMP_NUM_THREADS sets the threads), or begin anew with --overwrite."
        )


def _make_room(path: Path, resume: bool, overwrite: bool) -> Claim:
    """The folder, made where it is not there. InputError where it holds something that is not to be touched."""
    put_back(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"--out {path} is a file, not a folder. Give another name.")
    occupied = path.exists() and any(each.name not in BEFORE_THE_FIRST_STATE for each in path.iterdir())
    if occupied and not (path / STATE).exists():
        raise InputError(
            f"--out {path} exists and is no run of tutelage: nothing in it was touched. Give another folder."
        )
    if occupied and (overwrite or resume):
        refuse_if_running(path)
    if occupied and overwrite:
        _refuse_peoples_answers(path)
    elif occupied and not resume:
        raise InputError(
            f"--out {path} holds a run already: nothing in it was touched. Give another folder, --resume to continue "
            "after its last finished stage, or --overwrite to replace it."
        )
    if occupied and not overwrite:
        return Claim(path, settled=True)
    return claim_folder(path, replaces=occupied)


def _refuse_peoples_answers(path: Path) -> None:
    """What people answered cannot be made again."""
    if (path / ANSWERS).exists() and holds_people(path / ANSWERS):
        raise InputError(
            f"{path / ANSWERS} holds answers that people gave, so --overwrite does not touch {path}. Give another "
            "--out, or move that file away."
        )


def _make_folder(path: Path) -> None:
    if not is_main_rank():
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
