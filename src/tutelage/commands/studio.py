"""`tutelage studio RUNS`: pages on which a person looks at runs and plays with their models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from tutelage.commands.label import opened
from tutelage.data.errors import InputError
from tutelage.studio.look.routes import Looking
from tutelage.studio.play.routes import Playing
from tutelage.studio.project import Project, settings
from tutelage.studio.server import only_here, serve


@dataclass(frozen=True)
class Studio:
    """Look at runs in your browser: curves, samples, the doctor's findings, frontier, lineage; talk to their models."""

    runs: Annotated[Path, tyro.conf.Positional] = Path("runs")
    """Folder that holds run folders, or one run folder. It is only read; it may lie on another machine."""
    keep: Path | None = None
    """Folder for sessions and for what you say in the arena; by default RUNS.studio beside RUNS."""
    store: str | None = None
    """Where the arena's answers are kept, if not in that folder: a path, or postgresql://user@host/name"""
    device: str = "auto"
    """Where models run that you talk to."""
    host: str = "127.0.0.1"
    """Address of this machine itself; others are refused."""
    port: int = 8766
    """0: any that is free."""
    no_browser: bool = False
    """Print the link and open no browser."""
    name: str | None = None
    """Who looks and answers; by default the user of this machine."""


def main(arguments: list[str]) -> int:
    asked = tyro.cli(
        Studio,
        args=arguments,
        prog="tutelage studio",
        description=Studio.__doc__,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    only_here(asked.host)
    root = asked.runs.expanduser()
    if not root.is_dir():
        raise InputError(f"there is no folder {root}. Give the one that holds your runs: tutelage studio runs")
    keep = asked.keep or root.resolve().with_name(f"{root.resolve().name}.studio")
    own = settings(keep)
    chosen = replace(own, title=own.title or root.resolve().name)
    project = Project(keep, asked.store or keep / "feedback.db", chosen, opens="look/runs")
    with opened(project) as store:
        looking = Looking(root, {keep.name: keep / "feedback.db"} if asked.store is None else {})
        playing = Playing(looking, store, asked.device)
        served = replace(project, also=playing.add)
        serve(served, store, (asked.host, asked.port), not asked.no_browser, asked.name)
    return 0
