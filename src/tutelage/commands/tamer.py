"""`tutelage tamer`: teach an agent Tetris or Mountain Car with two keys, on a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tutelage.data.errors import InputError
from tutelage.feedback.store import Store
from tutelage.studio.project import Project, Settings
from tutelage.studio.server import only_here, serve

TITLES = {"tetris": "Tetris, taught by hand", "mountain-car": "Mountain Car, taught by hand"}


@dataclass(frozen=True)
class Tamer:
    """Reward and punish an agent while it plays; it learns what you want. What you say is kept with its times."""

    game: Annotated[Literal["tetris", "mountain-car"], tyro.conf.Positional] = "tetris"
    """What it plays; the page has both."""
    project: Path = Path("tamer")
    """Folder of your agents and of all that you said; made on first use, and gone on with later."""
    host: str = "127.0.0.1"
    """Address of this machine itself; others are refused."""
    port: int = 8765
    """0: any that is free."""
    no_browser: bool = False
    """Print the link and open no browser."""
    name: str | None = None
    """Who teaches; by default the user of this machine."""


def main(arguments: list[str]) -> int:
    asked = tyro.cli(
        Tamer, args=arguments, prog="tutelage tamer", description=Tamer.__doc__, config=(tyro.conf.FlagCreatePairsOff,)
    )
    only_here(asked.host)
    from tutelage.recipes.tamer_live import kind_of  # before the first page asks: loading takes a second or two

    kind_of(asked.game).make(0)  # says at once where gymnasium is missing
    try:
        asked.project.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{asked.project} cannot be made: {error.strerror or error}. Give another --project."
        ) from error
    settings = Settings(title=TITLES[asked.game])
    project = Project(asked.project, asked.project / "feedback.db", settings, opens=f"tamer/{asked.game}")
    with Store.open(project.store) as store:
        before = store.stats()["signals"]
        serve(project, store, (asked.host, asked.port), not asked.no_browser, asked.name)
        signals = store.stats()["signals"]
        print(f"\n{signals - before} signals, {signals} in all, in {store.place}. The same command goes on.")
    return 0
