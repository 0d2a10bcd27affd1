"""`tutelage label`: a page on which a person answers, from a file, a run or a project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from tutelage.data.errors import InputError
from tutelage.feedback.store import Store
from tutelage.studio.project import Project, chosen, refuse_unreadable, with_settings
from tutelage.studio.server import only_here, serve
from tutelage.studio.settings import Kind

if TYPE_CHECKING:  # it brings torch
    from tutelage.studio.voices import Voice


@dataclass(frozen=True)
class Label:
    """Answer questions on a page in your browser; one of FILE, --from-run and --project says which questions."""

    file: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[FILE]")] = None
    """Replies to judge: JSON lines, CSV or any other kind of docs/data.md. It is only read; answers go beside it."""
    from_run: Path | None = None
    """Folder of a run that asks people."""
    project: Path | None = None
    """Folder of a project; made on first use."""
    store: str | None = None
    """Where answers are kept, if not in the project's folder: a path, or postgresql://user@host/name"""
    host: str = "127.0.0.1"
    """Address of this machine itself; others are refused."""
    port: int = 8765
    """0: any that is free."""
    no_browser: bool = False
    """Print the link and open no browser."""
    guideline: Path | None = None
    """Markdown that tells what is better; the page shows it, and every answer names its version."""
    kind: Kind | None = None
    """What is asked: which of two (pair), a ranking, good or bad, ratings by axis with flags, whether a rule is broken,
    an edit (or, of a prompt alone, a reply); by default what project.json says, or pair."""
    wanted: int | None = None
    """Answers by different people to each question; by default what project.json says, or 1."""
    scale: Literal["binary", "graded"] | None = None
    """Which of two is better, or how much better on a scale of seven; by default what project.json says, or binary."""
    name: str | None = None
    """Who answers; by default the user of this machine."""
    chat: tuple[str, ...] = ()
    """Policies (folders or hub ids) to talk with, at /talk: two answer each turn, and the preferred reply goes on."""
    chat_tokens: int = 128
    """Longest reply of theirs."""
    chat_temperature: float | None = None
    """Of their replies; by default what their generation_config.json recommends, or 0.7 (with top-p 0.9)."""


def main(arguments: list[str]) -> int:
    asked = tyro.cli(
        Label, args=arguments, prog="tutelage label", description=Label.__doc__, config=(tyro.conf.FlagCreatePairsOff,)
    )
    only_here(asked.host)
    guideline = _read(asked.guideline)
    found = chosen(asked.file, asked.from_run, asked.project, asked.store)
    project = with_settings(found, kind=asked.kind, wanted=asked.wanted, scale=asked.scale)
    refuse_unreadable(project)
    with opened(project) as store:
        if guideline is not None and guideline != store.guideline_text():
            store.guideline(guideline)
        before = store.wait(0, 0.0)
        serve(project, store, (asked.host, asked.port), not asked.no_browser, asked.name, _voices(asked))
        new = len(store.labels(after=before))
        print(f"\n{new} new answers, {len(store.labels())} in all, in {store.place}. The same command goes on.")
    return 0


def _voices(asked: Label) -> Sequence[Voice]:
    if not asked.chat:
        return ()
    from tutelage.studio.voices import voices

    return voices(asked.chat, asked.chat_tokens, asked.chat_temperature)


def _read(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--guideline {path} cannot be read: {error}.") from error


def opened(project: Project) -> Store:
    try:
        project.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{project.folder} cannot be made: {error.strerror or error}.") from error
    return Store.open(project.store)
