"""Brings the tables of an older version up to date, within the transaction of the caller. Imports alembic, so only
when there is something to do."""

from __future__ import annotations

import os
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from tutelage.data.errors import InputError

HERE = Path(__file__).parent
VERSIONS = (HERE / "versions",)


def upgrade(connection: Connection, found: str | None, place: str) -> None:
    """From the version that was found to the newest. InputError where it is none that this tutelage knows."""
    config = configured()
    known = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()]
    if found is not None and found not in known:
        raise InputError(
            f"{place} is a store of version {found}, and this tutelage knows versions up to {known[0]}. It was written "
            "by a newer one: pip install --upgrade tutelage."
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def configured() -> Config:
    """Alembic's settings, without a file."""
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", os.pathsep.join(map(str, VERSIONS)))
    return config
