"""`tutelage resume` continues a run from its last checkpoint; `tutelage verify-resume` replays it and compares."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tutelage.commands.verbs import VERBS
from tutelage.data.errors import InputError
from tutelage.data.secrets import MASK
from tutelage.runs.files import entry, read_json, write_json
from tutelage.runs.settings import overridden, unset
from tutelage.runs.terminal import hush

CarryOut = Callable[[str, Any, Path], int]
"""(verb, its settings, the run's folder) -> exit code: the run goes on there."""


def stored(path: Path) -> tuple[str, Any]:
    """(verb, job) of a run, from its config.json."""
    config = read_json(path / "config.json")
    name = config.get("verb")
    if not isinstance(name, str) or name not in VERBS:
        raise InputError(f"{path} was not begun by a verb of tutelage, so it cannot be resumed from here.")
    job_class, _ = VERBS[name].load()
    settings = entry(path / "config.json", config, "settings", dict)
    return name, overridden(unset(job_class), settings, str(path / "config.json"))


@contextmanager
def where_begun(path: Path) -> Iterator[Path]:
    """In the folder that the run's command was given in, where it still exists: its settings hold paths and modules
    that are relative to it. Gives the path of the run from there."""
    here = Path.cwd()
    before = read_json(path / "config.json").get("working_directory")
    if not isinstance(before, str) or not Path(before).is_dir() or Path(before) == here:
        yield path
        return
    whole = path.resolve()
    os.chdir(before)
    try:
        yield whole
    finally:
        os.chdir(here)


def resume(path: Path, carry_out: CarryOut) -> int:
    """Continues a run where its last checkpoint left it."""
    with where_begun(path.expanduser()) as found:
        return resume_here(found, carry_out)


def resume_here(path: Path, carry_out: CarryOut) -> int:
    name, job = stored(path)
    if MASK in (path / "config.json").read_text(encoding="utf-8"):
        raise InputError(
            f"{path / 'config.json'} keeps no passwords and keys, and one of its settings had one ({MASK}): give the "
            "same command again with --resume."
        )
    return carry_out(name, job, path)


def verify_resume(path: Path) -> int:
    """Replays every stage from its last checkpoint but one, on a copy, and compares the states that it arrives at."""
    with where_begun(path.expanduser()) as found:
        return verify_resume_here(found)


def verify_resume_here(path: Path) -> int:
    from tutelage.runs.checkpoints import Checkpoints

    name, job = stored(path)
    hush()
    stages = [each for each in (path, *sorted(path.iterdir())) if Checkpoints(each / "checkpoints").steps()]
    if not stages:
        raise InputError(f"{path} has no checkpoint yet, so there is nothing to replay.")
    same = [replayed(name, job, path, stage) for stage in stages]
    return 0 if all(same) else 1


def replayed(name: str, job: Any, path: Path, stage: Path) -> bool:
    """Whether this stage, resumed one checkpoint earlier, arrives at the same bits."""
    from tutelage.runs.checkpoints import Checkpoints
    from tutelage.runs.run import Reached, Run

    *_, last = Checkpoints(stage / "checkpoints").steps()
    expected = Checkpoints(stage / "checkpoints").load(last).content
    inside = stage.relative_to(path)
    with tempfile.TemporaryDirectory(prefix="tutelage-replay-") as folder:
        copy = Path(folder) / "run"
        shutil.copytree(path, copy)
        shutil.rmtree(Checkpoints(copy / inside / "checkpoints").path(last))
        for each in {copy, copy / inside}:
            (each / "state.json").unlink()
            write_json(each / "state.json", {"status": "interrupted", "name": each.name, "tutelage": "run"})
        before = Checkpoints(copy / inside / "checkpoints").steps()
        run = Run.create(copy, job, resume=True, verb=name)
        run.until = (inside.name or copy.name, last)
        try:
            VERBS[name].load()[1](job, run)
            found = ""
        except Reached as reached:
            found = reached.content
    says = "the same to the bit" if found == expected else f"DIFFERENT: {found[:12]} is not {expected[:12]}"
    print(f"{stage}: step {before[-1] if before else 0} to {last}: {says}")
    return found == expected
