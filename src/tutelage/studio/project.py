"""What is labelled: a file of pairs, a run that asks, or a project's folder; where its store is, what its page does."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Literal

from fastapi import FastAPI
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from tutelage.data.errors import InputError
from tutelage.data.files import ReadReport
from tutelage.data.pairs import pairs
from tutelage.data.records import explained
from tutelage.feedback.asking import Asking
from tutelage.feedback.store import Store

FIRST, MORE = 200, 2000  # questions asked before the page opens, and in one transaction afterwards


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Settings:
    """project.json in a project's folder (docs/labelling.md).

    title: above the page; scale: how pairs are answered; block, block_minutes: questions, and minutes, between pauses
    """

    title: str = ""
    scale: Literal["binary", "graded"] = "binary"
    block: int = Field(default=25, ge=1)
    block_minutes: float = Field(default=20.0, gt=0)
    pause_seconds: int = Field(default=20, ge=0)


@dataclasses.dataclass(frozen=True)
class Project:
    """folder: where sessions, project.json and (for a run) live.json are; store: URL or path; source: pairs to ask.

    also: adds further pages to the server of this project; opens: path of the page that the first link leads to
    """

    folder: Path
    store: str | Path
    settings: Settings
    source: str | None = None
    also: Callable[[FastAPI], None] | None = None
    opens: str = ""

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
        next(pairs(file, ReadReport()), None)  # a file that is none is told of before anything is made for it
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
    return Project(found, store or found / "feedback.db", settings(found), file)


def _safe(name: str) -> str:
    return name.replace("/", "--")


def settings(folder: Path) -> Settings:
    """project.json, if there is one."""
    path = folder / "project.json"
    if not path.exists():
        return Settings()
    try:
        return TypeAdapter(Settings).validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        why = explained(error) if isinstance(error, ValidationError) else str(error)
        raise InputError(
            f"{path}: {why}. Its fields: {', '.join(each.name for each in dataclasses.fields(Settings))}."
        ) from error


def with_scale(project: Project, scale: Literal["binary", "graded"] | None) -> Project:
    if scale is None:
        return project
    return replace(project, settings=replace(project.settings, scale=scale))


def ask(project: Project, store: Store, says: threading.Event, stop: threading.Event) -> ReadReport:
    """Asks all pairs of the project's file; what was asked before is not asked again.

    says: set once some are there; stop: ends it between two parts, the rest is asked the next time.

    A file of any length opens as fast as a short one: the first questions wait for nothing, the rest follow.
    """
    report = ReadReport()
    if project.source is None:
        says.set()
        return report
    try:
        waiting = (Asking(each.context, each.candidates) for each in pairs(project.source, report))
        for part in parts(waiting):
            store.ask(part)
            says.set()
            if stop.is_set():
                return report
        if report.rows_read == sum(report.dropped.values()):
            raise InputError(f"{project.source}: none of its {report.rows_read} rows can be asked: {report}.")
    finally:
        says.set()
    return report


def parts(waiting: Iterator[Asking]) -> Iterator[list[Asking]]:
    size = FIRST
    while part := list(islice(waiting, size)):
        yield part
        size = MORE
