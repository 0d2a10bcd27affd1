"""Files, folders and hub ids -> rows, each with the file and line it came from.

JSON lines, JSON, CSV, TSV, Parquet and plain text, as they are or compressed (.gz, .bz2, .xz).
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tutelage.data.csv_cells import read_cell
from tutelage.data.errors import InputError, Unusable
from tutelage.data.json_text import json_value, why_not_json

T = TypeVar("T")
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
TEXT = "text"  # the column of a plain text's rows


@dataclass(frozen=True)
class Row:
    """One record. fields: column -> value; line counts from 1 (for Parquet and JSON it is the row)."""

    file: str
    line: int
    fields: Mapping[str, Any]

    @property
    def place(self) -> str:
        return f"{self.file}, line {self.line}"

    @property
    def is_table(self) -> bool:
        """Whether it came from a format without nulls, where an absent value is an empty text."""
        return _kind(Path(self.file)) in (".csv", ".tsv")

    @property
    def columns(self) -> str:
        """Their names, for a message: the first of them, and not all of a long one."""
        return ", ".join(f"{name:.40}" for name in list(self.fields)[:20]) or "none"


@dataclass
class ReadReport:
    """How many rows were read, and how many dropped, why, and where first."""

    rows_read: int = 0
    dropped: Counter[str] = field(default_factory=Counter[str])
    first_place: dict[str, str] = field(default_factory=dict[str, str])
    controls: Counter[str] = field(default_factory=Counter[str])

    def drop(self, row: Row, reason: str) -> None:
        self.dropped[reason] += 1
        self.first_place.setdefault(reason, row.place)

    def note_controls(self, row: Row, pattern: re.Pattern[str] | None) -> None:
        """Notes a row that holds the letters of control tokens: they are read as text, which a person should know."""
        self.controls.update(set(_controls(row.fields, pattern)) if pattern else ())

    def counts(self) -> dict[str, Any]:
        return {
            "rows_read": self.rows_read,
            "rows_dropped": sum(self.dropped.values()),
            "dropped_why": dict(self.dropped),
        }

    def __str__(self) -> str:
        reasons = "; ".join(f"{n} {reason} (first: {self.first_place[reason]})" for reason, n in self.dropped.items())
        counts = f"{self.rows_read} rows read, {sum(self.dropped.values())} dropped{': ' + reasons if reasons else ''}"
        names = ", ".join(f"{name} in {n}" for name, n in self.controls.most_common(5))
        return counts + (f"; read as text, not as control tokens: {names}" if names else "")


def _controls(value: Any, pattern: re.Pattern[str]) -> Iterator[str]:
    """The letters of control tokens in the texts of a value."""
    if isinstance(value, str):
        yield from pattern.findall(value)
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _controls(each, pattern)


def taken(rows: Iterable[Row], report: ReadReport, of: Callable[[Row], T | str]) -> Iterator[T]:
    """What `of` makes of every row; where it gives words instead (or raises them as Unusable), the row is dropped for
    them. Counts as they go."""
    for row in rows:
        report.rows_read += 1
        try:
            found = of(row)
        except Unusable as reason:
            found = str(reason)
        if isinstance(found, str):
            report.drop(row, found)
        else:
            yield found


def read_rows(source: str) -> Iterator[Row]:
    """All rows of a file, of the data files of a folder in their order, or of a hub data set's training split."""
    try:
        path = Path(source).expanduser()
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{source!r:.120} is no name of a file or folder: {error}") from error
    if is_file:
        yield from _file_rows(path)
    elif is_folder:
        files = sorted(each for each in path.iterdir() if _kind(each) in READERS)
        if not files:
            raise InputError(f"{source} is a folder without data files. Expected {', '.join(READERS)}, or compressed.")
        for each in files:
            yield from _file_rows(each)
    elif source.count("/") == 1 and not source.startswith((".", "/", "~")) and not _kind(path):
        yield from _hub_rows(source)
    else:
        raise InputError(f"{source} does not exist. Give a file, a folder, or a hub id (owner/name).")


def _kind(path: Path) -> str:
    """The suffix that says how to read it, behind that of the compression."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() in OPENERS else path.suffix.lower()


def _file_rows(path: Path) -> Iterator[Row]:
    kind = _kind(path)
    if kind not in READERS:
        raise InputError(f"{path}: files ending in {kind or 'nothing'} are not read. Expected {', '.join(READERS)}.")
    found = False
    for line, fields in READERS[kind](path):
        found = True
        yield Row(str(path), line, fields)
    if not found:
        raise InputError(f"{path} is empty. Expected at least one row.")


DAMAGED = (OSError, EOFError, lzma.LZMAError, zlib.error)  # what decompressing may end in


def _opened(path: Path) -> Any:
    """The file for reading bytes, decompressed."""
    opener: Callable[..., Any] = OPENERS.get(path.suffix.lower(), open)
    return opener(path, "rb")


def _text(path: Path) -> str:
    """The whole file, decompressed and decoded."""
    try:
        with _opened(path) as file:
            return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text (byte {error.start}). Convert it, or check that it is text."
        ) from error
    except DAMAGED as error:
        raise InputError(f"{path} could not be read: {error}. Is it whole, and what its name says?") from error


def _json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, text in enumerate(_text(path).split("\n"), start=1):
        if text.strip():
            yield line, _object(text, path, line)


def _object(text: str, path: Path, line: int) -> Mapping[str, Any]:
    try:
        row = json_value(text)
    except ValueError as error:
        raise InputError(
            f"{path}, line {line} is not JSON ({why_not_json(error)}): {text.strip()[:80]!r}. One object a line."
        ) from error
    if not isinstance(row, dict):
        raise InputError(f"{path}, line {line}: expected a JSON object with named columns, got {text.strip()[:80]!r}.")
    return row


def _json(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """A list of objects, or an object of columns."""
    text = _text(path)
    if not text.strip():
        return
    try:
        content = json_value(text)
    except ValueError as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(
            f"{path}{line} is not JSON ({why_not_json(error)}). JSON lines should be named .jsonl."
        ) from error
    if isinstance(content, dict) and content and all(isinstance(column, list) for column in content.values()):
        content = _rows_of(content)
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise InputError(f"{path}: expected a list of objects, or an object of equally long columns.")
    yield from enumerate(content, start=1)


def _rows_of(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]] | None:
    """The rows of columns, or None where they are not equally long."""
    if len({len(values) for values in columns.values()}) > 1:
        return None
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _separated(
    delimiter: str, value_of: Callable[[str], Any] = str
) -> Callable[[Path], Iterator[tuple[int, Mapping[str, Any]]]]:
    def read(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
        # strict: else a quote that is never closed swallows the rest of the file without a word
        reader = csv.DictReader(io.StringIO(_text(path), newline=""), delimiter=delimiter, strict=True)
        csv.field_size_limit(LONGEST_FIELD)
        try:
            _refuse_twice(reader.fieldnames or (), path)
            for row in reader:
                if None in row or None in row.values():
                    raise InputError(
                        f"{path}, line {reader.line_num}: the row has not as many fields as the header "
                        f"({', '.join(reader.fieldnames or [])}). Quote fields that hold {delimiter!r} or a new line."
                    )
                yield reader.line_num, {name: value_of(cell) for name, cell in row.items()}
        except csv.Error as error:
            raise InputError(
                f"{path}, line {reader.line_num} is not separated as a table ({error}). Is a quote never closed?"
            ) from error

    return read


LONGEST_FIELD = 2**31 - 1  # letters of a CSV field; Python's own limit of 131,072 is shorter than some talks


def _refuse_twice(names: Sequence[str], path: Path) -> None:
    """Of two columns of one name a row could keep only one."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{path} has the column {twice[0]!r:.60} twice. Rename or drop one of them.")


def _parquet(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with _opened(path) as file:
            table = pyarrow.parquet.read_table(io.BytesIO(file.read()))
        _refuse_twice(table.column_names, path)
        rows = table.to_pylist()
    except (pyarrow.ArrowException, ValueError, OverflowError, MemoryError, *DAMAGED) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is not Parquet, or damaged: {told:.200}") from error
    yield from enumerate(rows, start=1)


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Every line of a plain text that is not blank; <|endoftext|> separates as a new line does."""
    for line, text in enumerate(_text(path).splitlines(), start=1):
        for piece in text.split("<|endoftext|>"):
            if piece.strip():
                yield line, {TEXT: piece.strip()}


READERS: dict[str, Callable[[Path], Iterator[tuple[int, Mapping[str, Any]]]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _separated(",", read_cell),
    ".tsv": _separated("\t"),
    ".parquet": _parquet,
    ".txt": _lines,
}


def _hub_rows(name: str) -> Iterator[Row]:
    """Through `datasets`; its errors are many, its message is what helps."""
    import datasets

    try:
        found = datasets.load_dataset(name, split="train")
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{name} is no local file or folder, and the hub gave no data set: {reason}") from error
    for line, fields in enumerate(found, start=1):
        yield Row(name, line, dict(fields))
