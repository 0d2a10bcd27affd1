"""The one place that writes a run's files, so that a full disk or a kill leaves whole ones.

Ranks other than 0 write nothing. Whatever must survive goes through four operations: write, stream, sync, rename.
Tests put their faults there.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from safetensors import SafetensorError

from tutelage.data.errors import InputError
from tutelage.execution.ranks import is_main_rank

T = TypeVar("T")

CHECKPOINT_SECONDS = 15.0  # between checkpoints; longer where one takes more than 3 % of that


class Disk:
    """The operations that make something durable."""

    def write(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)

    def stream(self, path: Path, pour: Callable[[BinaryIO], object]) -> None:
        """Writes a file without holding its content: `pour` writes to the open file piece by piece."""
        with path.open("wb") as file:
            pour(file)

    def sync(self, path: Path) -> None:
        """Flushes a file, or the names in a folder, to the disk."""
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def rename(self, before: Path, after: Path) -> None:
        before.replace(after)


DISK = Disk()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Written aside, flushed to the disk, renamed: a reader sees the old file or the new one, never half of one."""
    _write(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """JSON lines in place of whatever was there: a stage that is done again leaves them once."""
    _write(path, _lines(rows))


def append_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """JSON lines added to the end in one write."""
    if not is_main_rank():
        return
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(_lines(rows))
    except OSError as error:
        raise cannot_write(path, error) from error


def _write(path: Path, text: str) -> None:
    if not is_main_rank():
        return
    aside = path.with_name(path.name + ".part")
    try:
        DISK.write(aside, text.encode())
        DISK.sync(aside)
        DISK.rename(aside, path)
    except OSError as error:
        raise cannot_write(path, error) from error


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def write_folder(path: Path, fill: Callable[[Path], object]) -> None:
    """A folder that is filled aside, flushed and then renamed: it is there whole, or not at all."""
    if not is_main_rank():
        return
    aside = path.with_name(path.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        fill(aside)
        for each in (*sorted(aside.rglob("*")), aside):
            DISK.sync(each)
        shutil.rmtree(path, ignore_errors=True)
        DISK.rename(aside, path)
        DISK.sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    except SafetensorError as error:  # the weights' own writer has its own error for a full disk
        full = "No space left" in str(error)
        raise cannot_write(path, OSError(errno.ENOSPC if full else errno.EIO, str(error))) from error


def cut_back(path: Path, size: int) -> None:
    """The file as it was when it had so many bytes; what was added since is done again."""
    if not is_main_rank():
        return
    if size == 0:
        path.unlink(missing_ok=True)
    elif path.exists() and path.stat().st_size > size:
        os.truncate(path, size)


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{path.parent} has no {path.name}: it is no run folder, or its run did not get so far."
        ) from error
    except OSError as error:
        raise InputError(f"{path} could not be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}). Was it edited by hand, or damaged?") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no JSON object. Was it edited by hand, or damaged?")
    return cast("dict[str, Any]", content)


def entry(path: Path, content: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """What a file of ours holds under a name; InputError where it is not there, or something else is."""
    value = content.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        said = f"{name} is {value!r:.80}" if name in content else f"it has no {name}"
        raise InputError(f"{path} is not what tutelage wrote: {said}. Was it edited by hand, or damaged?")
    return value


def cannot_write(path: Path, error: OSError) -> InputError:
    """One clear message for a disk that is full, a folder that may not be written, a path that is none."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(
            f"no space left on the disk while writing {path}. What was written before is whole: free some space and "
            "run the same command with --resume."
        )
    return InputError(f"{path} could not be written: {error.strerror or error}. Give another folder with --out.")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file. A last line without its end is being written, or was: no row."""
    try:
        *lines, _ = path.read_text(encoding="utf-8").split("\n")
        return [_row(path, number, line) for number, line in enumerate(lines, start=1)]
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: it is no run folder, or its run did not get so far.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error.reason}): the file was changed or damaged.") from error
    except OSError as error:
        raise InputError(f"{path} could not be read: {error.strerror or error}.") from error


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise InputError(f"{path}, line {number} is not JSON ({why}): the file was changed or damaged.") from error
    if not isinstance(row, dict):
        raise InputError(f"{path}, line {number} is no JSON object: the file was changed or damaged.")
    return cast("dict[str, Any]", row)
