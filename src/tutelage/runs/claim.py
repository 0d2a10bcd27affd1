"""The folder of a run before the run has any result: a command that refuses its input leaves the disk as it was."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tutelage.runs.files import cannot_write


@dataclass
class Claim:
    """What a new run put in the place of what stood there. Make it with `claim_folder`.

    made: folders that did not exist, the outermost first
    replaced: where the run waits that --overwrite replaces, until the new one has a result
    remains: files that a run killed before its first state had left, by name
    """

    path: Path
    made: list[Path] = field(default_factory=list[Path])
    replaced: Path | None = None
    remains: dict[str, bytes] = field(default_factory=dict[str, bytes])
    settled: bool = False

    def settle(self) -> None:
        """The run has a result, or ended: the folder is its own from now on, and what it replaced is deleted."""
        if self.settled:
            return
        self.settled = True
        if self.replaced is not None and self.replaced.exists():
            doomed = self.replaced.with_suffix(".deleted")
            shutil.rmtree(doomed, ignore_errors=True)
            self.replaced.rename(doomed)  # first, so that a kill in between leaves no half of a run that looks whole
            shutil.rmtree(doomed, ignore_errors=True)

    def withdraw(self) -> None:
        """Puts back what stood here before the run was begun. Nothing happens once the run is settled."""
        if self.settled:
            return
        self.settled = True
        for each in self.path.iterdir() if self.path.is_dir() else ():
            shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
        for name, content in self.remains.items():
            (self.path / name).write_bytes(content)
        if self.replaced is not None and self.replaced.exists():
            if self.path.is_dir():
                self.path.rmdir()
            self.replaced.rename(self.path)
        for each in reversed(self.made):
            if each.is_dir() and not any(each.iterdir()):
                each.rmdir()


def claim_folder(path: Path, *, replaces: bool) -> Claim:
    """Makes the folder, with its parents. replaces: the run that stands there is moved aside first.

    The caller has made sure that the folder holds nothing but a run that may be replaced, or files that may be written
    again. Raises InputError where it cannot be made.
    """
    target = path.resolve()
    claim = Claim(target)
    try:
        if replaces:
            claim.replaced = _move_aside(target)
        elif target.is_dir():
            claim.remains = {each.name: each.read_bytes() for each in target.iterdir()}
        else:
            claim.made = [each for each in reversed((target, *target.parents)) if not each.exists()]
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        claim.withdraw()
        raise cannot_write(path, error) from error
    return claim


def put_back(path: Path) -> None:
    """A run that a killed command had moved aside and not replaced yet stands in its place again."""
    target = path.resolve()
    aside = _aside(target)
    if aside.exists() and not target.exists():
        aside.rename(target)


def _move_aside(target: Path) -> Path:
    """Where the run now waits. One that waits there already stays: what stands in its place has no result yet."""
    aside = _aside(target)
    if aside.exists():
        shutil.rmtree(target)
    else:
        target.rename(aside)
    return aside


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.replaced")
