"""A stage that ended at an earlier checkpoint than it reached: which one, why, and what was recorded after it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tutelage.runs.checkpoints import Checkpoints
from tutelage.runs.files import cannot_write, entry, read_json, write_json

WENT_BACK, ASIDE = "went-back.json", "-before-going-back.jsonl"
RECORDS = ("events.jsonl", "samples.jsonl")


def go_back(folder: Path, step: int, told: Mapping[str, Any]) -> None:
    """From now on the stage ends after so many steps. Its records are kept beside it as they were.

    Safe to be killed in: the copies are made first, and `last_step` counts once the file that says so is there.
    """
    try:
        for name in RECORDS:
            if (folder / name).exists():
                shutil.copyfile(folder / name, folder / name.replace(".jsonl", ASIDE))
    except OSError as error:
        raise cannot_write(folder, error) from error
    write_json(folder / WENT_BACK, {"step": step, **told})
    Checkpoints(folder / "checkpoints").remove_after(step)


def last_step(folder: Path, count: int) -> int:
    """How many steps the stage has: `count`, or as many as it went back to."""
    path = folder / WENT_BACK
    return min(count, entry(path, read_json(path), "step", int)) if path.exists() else count
