"""What a page tells a person who is asked nothing: it is done, it is being prepared, or others have the questions."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from fastapi import Request

from tutelage.data.errors import InputError
from tutelage.feedback.labels import Progress
from tutelage.feedback.store import Store
from tutelage.report.sanitise import plain
from tutelage.runs.files import read_json
from tutelage.runs.outcome import outcome_of
from tutelage.studio.live import read as read_live
from tutelage.studio.look.lines import number, peeked
from tutelage.studio.members import MAY, member_of
from tutelage.studio.project import Project

State = Literal["finished", "preparing", "waiting"]
ROUND = re.compile(r"(?:seed-\d+-)?(?:round-(?P<round>\d+)|offline)-(?P<part>questions|reward-model|ppo)$")
PARTS = {
    "questions": "the questions of this round are made",
    "reward-model": "a reward model learns from the answers",
    "ppo": "the policy learns from the reward model",
    "policy": "the first policy is trained",
    "live": "the policy learns from the answers",
    "evaluation": "the policies are compared",
}
Clock = Callable[[], float]


def idle(request: Request, clock: Clock = time.time) -> dict[str, Any]:
    """state and says, in one sentence or two; for the finished: the command that comes next, where this person may
    know it; seconds_left of what is under way, where that is known; how many questions they skipped."""
    project: Project = request.app.state.project
    store: Store = request.app.state.store
    member = member_of(request)
    found = told(project, store.progress(member.labeller), clock)
    if member.role not in MAY["look"]:
        found["command"] = ""
    return {**found, "skipped": len(store.open_skips(member.labeller))}


def told(project: Project, progress: Progress, clock: Clock) -> dict[str, Any]:
    """The state of a project for somebody who has answered so much of it."""
    if project.is_being_read:
        return _about("preparing", f"The file is still being read: {progress.wanted:,} questions so far.")
    if progress.left > 0:
        return _about(
            "waiting",
            f"{_questions(progress.left)} with other people now, or warned of (You: texts that may distress). What "
            "nobody answers within a quarter of an hour is offered again and appears here by itself.",
        )
    if (project.folder / "state.json").exists():
        return of_run(project.folder, clock)
    if progress.wanted == 0:
        return _about("waiting", "No question has been asked yet. The first one appears here by itself.")
    left = progress.wanted - progress.counted
    others = f" {left:,} more are wanted, of other people or of what you skipped." if left > 0 else ""
    done = f"You have answered all that there is for you: {progress.answered:,} in all.{others}"
    return _about("finished", f"Finished. {done}", next_command(project))


def _questions(count: int) -> str:
    return "1 question is" if count == 1 else f"{count:,} questions are"


def _about(state: State, says: str, command: str = "", seconds_left: float | None = None) -> dict[str, Any]:
    return {"state": state, "says": says, "command": command, "seconds_left": seconds_left}


def next_command(project: Project) -> str:
    """What is done with the answers of a project."""
    folder = shlex.quote(str(project.folder))
    if project.settings.kind == "edit":
        return f"tutelage sft --data {folder} --model MODEL"
    loss = " --loss plackett-luce" if project.settings.kind == "ranking" else ""
    return f"tutelage reward-model --data {folder} --model MODEL{loss}"


def of_run(folder: Path, clock: Clock) -> dict[str, Any]:
    """Of a run that asks people: what it does now, or how it ended."""
    try:
        outcome = outcome_of(folder)
    except InputError:
        return _about(
            "waiting", "What the run does cannot be read at the moment. New questions appear here by themselves."
        )
    path = shlex.quote(str(folder))
    if outcome.status == "finished":
        return _about("finished", "Finished. The run has ended and asks nothing more.", f"tutelage report {path}")
    if outcome.status in ("interrupted", "crashed", "killed"):
        ended = f"{plain(outcome.sentence, 300)} It asks nothing until it is resumed; your answers are kept."
        return _about("finished", ended, f"tutelage resume {path}")
    live = read_live(folder) or {}
    if live.get("waiting"):
        return _about("waiting", "Training waits for answers. New questions appear here by themselves.")
    return under_way(folder, clock)


def under_way(folder: Path, clock: Clock) -> dict[str, Any]:
    """The stage that runs now, how far it is, and the seconds it still takes: of this stage, not of the run."""
    stage = current_stage(folder)
    if stage is None:
        return _about("preparing", "The run prepares its questions. They appear here by themselves.")
    found = ROUND.search(stage.name)
    part = found["part"] if found else "evaluation" if stage.name.endswith("evaluation") else stage.name
    what = PARTS.get(part, f"the stage {plain(stage.name, 60)} runs")
    where = f"Round {found['round']}: {what}" if found and found["round"] else what[0].upper() + what[1:]
    if part == "live":  # whose steps are answers: how long people take is not known
        return _about("preparing", f"{where}. New questions appear here by themselves.")
    done, steps, seconds = remaining(stage, clock)
    if steps is None:
        return _about("preparing", f"{where}. Questions appear here by themselves.")
    return _about("preparing", f"{where}: {done:,} of {steps:,} steps.", seconds_left=seconds)


def current_stage(folder: Path) -> Path | None:
    """The stage whose state says that it runs, the newest of them."""
    running: list[tuple[int, Path]] = []
    for path in folder.glob("*/state.json"):
        try:
            if read_json(path).get("status") == "running":
                running.append((path.stat().st_mtime_ns, path.parent))
        except (InputError, OSError):
            continue  # it is being written, or was just removed: the others tell as much
    return max(running)[1] if running else None


def remaining(stage: Path, clock: Clock) -> tuple[int, int | None, float | None]:
    """(steps done, steps in all, seconds that the rest takes); None where that is not known yet.

    The time of a step is that of the steps so far, and what went by since the last one is taken off.
    """
    steps = number(read_json(stage / "state.json").get("steps"))
    events = stage / "events.jsonl"
    if steps is None or not events.exists():
        return 0, None if steps is None else int(steps), None
    rows, _ = peeked(events, 24)
    known = [(s, t) for row in rows if (s := number(row.get("step"))) is not None and (t := number(row.get("seconds")))]
    if not known:
        return 0, int(steps), None
    (first, began), (last, now) = known[0], known[-1]
    done = int(last) + 1
    pace = (now - began) / (last - first) if last > first else now / done
    passed = max(0.0, clock() - events.stat().st_mtime)
    return done, int(steps), max(0.0, pace * (steps - done) - passed)
