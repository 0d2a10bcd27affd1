"""What is labelled: a file of replies, a run that asks, or a project's folder; where its store is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from tutelage.data.errors import InputError
from tutelage.data.files import ReadReport
from tutelage.feedback.asking import Asking
from tutelage.feedback.store import Store
from tutelage.studio.asking import ask_known, questions
from tutelage.studio.settings import Settings, says_wanted, settings

FIRST, MORE = 200, 2000  # questions asked before the page opens, and in one transaction afterwards


@dataclass(frozen=True)
class Project:
    """folder: where sessions, project.json and (for a run) live.json are; store: URL or path; source: pairs to ask.

    wanted: answers to each open question, where that was said (on the command line, or in project.json)
    also: adds further pages to the server of this project; opens: path of the page that the first link leads to
    read: set once all of the source has been asked (`ask`)
    """

    folder: Path
    store: str | Path
    settings: Settings
    source: str | None = None
    wanted: int | None = None
    also: Callable[[FastAPI], None] | None = None
    opens: str = ""
    read: threading.Event = field(default_factory=threading.Event, compare=False)

    @property
    def is_being_read(self) -> bool:
        return self.source is not None and not self.read.is_set()

    @property
    def name(self) -> str:
        return self.settings.title or self.folder.resolve().name.removesuffix(".labels")


def chosen(file: str | None, from_run: Path | None, folder: Path | None, store: str | None) -> Project:
    """The project that the command line names, in exactly one of three ways."""
    if sum(each is not None for each in (file, from_run, folder)) != 1:
        raise InputError(
            "say what to label, in one way: a file of pairs (tutelage label pairs.jsonl), a run that asks people "
            "(--from-run RUN), or a project's folder (--project DIR)."
        )
    if file is not None:
        path = Path(file).expanduser()
        found = path.with_name(path.name.split(".")[0] + ".labels") if path.exists() else Path(_safe(file) + ".labels")
    elif from_run is not None:
        found = from_run
        if store is None and not (found / "feedback.db").is_file():
            raise InputError(
                f"{found} asks people nothing: it holds no feedback.db. Give the folder of a run that does, or a file."
            )
    else:
        found = folder or Path()
        if found.exists() and not found.is_dir():
            raise InputError(f"--project {found} is a file, not a folder. To label its pairs: tutelage label {found}.")
    told = settings(found)
    return Project(found, store or found / "feedback.db", told, file, told.wanted if says_wanted(found) else None)


def _safe(name: str) -> str:
    return name.replace("/", "--")


def with_settings(project: Project, **given: Any) -> Project:
    """The same with these settings; None leaves one as project.json says."""
    changes = {name: value for name, value in given.items() if value is not None}
    wanted = changes.get("wanted", project.wanted)
    return replace(project, settings=replace(project.settings, **changes), wanted=wanted)


def ask(project: Project, store: Store, says: threading.Event, stop: threading.Event) -> ReadReport:
    """Asks all that the project's file holds; what was asked before is not asked again.

    says: set once some are there; stop: ends it between two parts, the rest is asked the next time.

    A file of any length opens as fast as a short one: the first questions wait for nothing, the rest follow.
    """
    report = ReadReport()
    try:
        ask_known(project.folder, project.settings, store)
        if project.source is None:
            print_wanted(project, [store.want(project.wanted)] if project.wanted else [])
            return report
        changes: list[tuple[int, int]] = []
        for part in parts(questions(project.source, project.settings, report)):
            names = store.ask(part)
            changes += [store.want(project.wanted, names)] if project.wanted else []
            says.set()
            if stop.is_set():
                return report
        print_wanted(project, changes)
        if report.rows_read == sum(report.dropped.values()):
            raise InputError(f"{project.source}: none of its {report.rows_read} rows can be asked: {report}.")
    finally:
        project.read.set()
        says.set()
    return report


def print_wanted(project: Project, changes: list[tuple[int, int]]) -> None:
    """What another number of answers changed. changes: of Store.want"""
    changed, decided = (sum(each) for each in zip(*changes)) if changes else (0, 0)
    if changed:
        print(f"{changed} open questions want {project.wanted} answers from now on.", flush=True)
    if decided:
        print(f"{decided} questions are decided by fewer than {project.wanted} answers and stay so.", flush=True)


def refuse_unreadable(project: Project) -> None:
    """A file that is none is told of before anything is made for it."""
    if project.source is not None:
        next(questions(project.source, project.settings, ReadReport()), None)


def parts(waiting: Iterator[Asking]) -> Iterator[list[Asking]]:
    size = FIRST
    while part := list(islice(waiting, size)):
        yield part
        size = MORE
