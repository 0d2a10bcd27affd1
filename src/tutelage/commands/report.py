"""`tutelage report RUN`: writes the report of a run again, also of one that was interrupted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from tutelage.report.page import write


@dataclass(frozen=True)
class Report:
    """Write the report of a run again."""

    run: tyro.conf.Positional[Path]
    """Folder of a run."""


def main(arguments: list[str]) -> int:
    asked = tyro.cli(Report, args=arguments, prog="tutelage report", description=Report.__doc__)
    print(f"report: {write(asked.run)}")
    return 0
