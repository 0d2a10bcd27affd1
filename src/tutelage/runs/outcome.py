"""How a run ended, or that it goes on: read from state.json, also in folders of older versions."""

from __future__ import annotations

import platform
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import psutil

from tutelage.data.secrets import masked
from tutelage.runs.files import read_json, read_lines

STATE, CONFIG, EVENTS, SUMMARY = "state.json", "config.json", "events.jsonl", "summary.json"
Status = Literal["running", "finished", "interrupted", "crashed", "killed", "unknown"]
KEPT_LINES, LONGEST_LINE, LONGEST_MESSAGE = 20, 400, 2000


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    status: interrupted is Ctrl-C; crashed, an exception ended it; killed, its process is gone and did not write an end
    step: the step it was at; None where nothing was written     stage: of a pipeline, the stage it was in, or ""
    error, message, traceback: of the exception; older folders hold no more than its type
    """

    status: Status
    step: int | None = None
    stage: str = ""
    error: str = ""
    message: str = ""
    traceback: tuple[str, ...] = ()

    @property
    def ended_badly(self) -> bool:
        return self.status in ("crashed", "killed")

    def __str__(self) -> str:
        stage = f" in stage {self.stage}" if self.stage else ""
        at = f"{stage} at step {self.step}" if self.step is not None else stage
        after = f"{stage} after step {self.step}" if self.step is not None else f"{stage} before it recorded a step"
        return {
            "running": "the run goes on",
            "finished": "the run finished",
            "interrupted": f"the run was interrupted{at}",
            "crashed": f"the run ended{at} with {self.error}" + (f": {self.message}" if self.message else ""),
            "killed": f"the run was killed{after}: its process is gone and wrote no reason (out of memory, or kill -9)",
            "unknown": "nothing says how the run ended",
        }[self.status]

    @property
    def sentence(self) -> str:
        text = " ".join(str(self).split())
        return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def outcome_of(folder: Path) -> Outcome:
    """Of a run folder, with the stage that it was in where it is a pipeline. InputError where a state is damaged."""
    own = _own(folder)
    if own.status in ("running", "finished"):
        return own
    inner = sorted(folder.glob("*/state.json"), key=lambda path: path.stat().st_mtime_ns)
    stages = [(path.parent.name, _own(path.parent)) for path in inner]
    stopped = [(name, stage) for name, stage in stages if stage.status == own.status]
    if stopped:
        name, stage = stopped[-1]
        return replace(own, step=stage.step, stage=name)
    return replace(own, step=None) if stages else own


def _own(folder: Path) -> Outcome:
    """Without its stages."""
    if (folder / STATE).exists():
        found = outcome_in(read_json(folder / STATE))
    else:
        later = any((folder / name).exists() for name in (EVENTS, SUMMARY))  # than the state, which was lost then
        found = Outcome("killed" if is_begun(folder) and not later else "unknown")
    return replace(found, step=_last_step(folder / EVENTS)) if found.status == "killed" else found


def is_begun(folder: Path) -> bool:
    """Whether a run's settings stand here: a model's folder has a config.json, too."""
    return (folder / CONFIG).exists() and isinstance(read_json(folder / CONFIG).get("settings"), dict)


def _last_step(events: Path) -> int | None:
    """Of the last whole row; None where there is none. state.json of a run that was killed is that of its beginning."""
    rows = read_lines(events) if events.exists() else []
    step = rows[-1].get("step") if rows else None
    return step if isinstance(step, int) else None


def outcome_in(state: Mapping[str, Any]) -> Outcome:
    """What the content of a state.json tells."""
    step = state.get("step")
    step = step if isinstance(step, int) and not isinstance(step, bool) else None
    status = state.get("status")
    if status == "finished":
        return Outcome("finished", step)
    if status == "running":
        return Outcome("killed" if is_alive(state.get("process")) is False else "running", step)
    found = state.get("error")
    error = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    kinds = (error.get("type"), state.get("stopped_by"))  # older folders hold the second only
    kind = next((each for each in kinds if isinstance(each, str) and each), "")
    if not kind:
        return Outcome("interrupted" if status == "interrupted" else "unknown", step)
    lines, message = error.get("traceback"), error.get("message")
    kept = [each for each in cast("list[object]", lines) if isinstance(each, str)] if isinstance(lines, list) else []
    return Outcome("crashed", step, "", kind, message if isinstance(message, str) else "", tuple(kept))


def error_of(error: BaseException) -> dict[str, Any]:
    """An exception as state.json keeps it: type, message and the last lines of its traceback, without secrets."""
    whole = "".join(traceback.format_exception(error)).splitlines()
    return {
        "type": type(error).__name__,
        "message": clean(str(error))[:LONGEST_MESSAGE],
        "traceback": [clean(line)[:LONGEST_LINE] for line in whole[-KEPT_LINES:]],
    }


def clean(text: str) -> str:
    """Without secrets, and without halves of letters, which no file can hold."""
    return masked(text).encode("utf-8", "replace").decode("utf-8")


def is_alive(process: object) -> bool | None:
    """Whether the process of a state.json still runs; None where that cannot be told from here."""
    owner = cast("dict[str, Any]", process) if isinstance(process, dict) else {}
    if owner.get("machine") != platform.node() or not isinstance(owner.get("id"), int):
        return None
    try:
        found = psutil.Process(owner["id"])
        return found.status() != psutil.STATUS_ZOMBIE and found.create_time() == owner.get("started")
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False
    except psutil.Error:  # somebody else's process, of which nothing is told
        return None
