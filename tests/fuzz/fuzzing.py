"""Reading what `mutations` made: a clear refusal or the right answer, in time. Anything else is an `AssertionError`."""

from __future__ import annotations

import csv
import io
import json
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from tests.fuzz.mutations import COMPRESSED, Mutated, Row, as_lines, damaged, mutated
from tests.fuzz.readers import Reader

from tutelage.data.errors import InputError
from tutelage.data.files import read_rows
from tutelage.data.json_text import json_value

CPU_SECONDS = 5.0  # of one file of a few hundred bytes
LONGEST = 1500  # letters of a message


class Hung(BaseException):
    """It took longer than anybody waits; no Exception, so that no reader can swallow it."""


@contextmanager
def in_time(seconds: float = CPU_SECONDS) -> Iterator[None]:
    """CPU time, so that a busy machine fails nothing."""

    def stop(*_: object) -> None:
        raise Hung(f"more than {seconds:g} s of CPU")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def outcome(act: Callable[[], Any], named: Sequence[str]) -> tuple[Any, str]:
    """(what came of it, ""), or (None, the message) where it was refused clearly: one paragraph that names the file."""
    try:
        with in_time(), redirect_stdout(io.StringIO()):
            return act(), ""
    except InputError as error:
        told = str(error)
        assert any(name in told for name in named), f"the message names no file: {told}"
        assert 20 < len(told) < LONGEST, f"{len(told)} letters: {told[:300]}"
        assert "Traceback" not in told
        return None, told


def fuzz(readers: Sequence[Reader], count: int, seed: int, folder: Path) -> Counter[tuple[str, str]]:
    """`count` files, the readers in turn; (reader, "read" or "refused") -> how often."""
    told: Counter[tuple[str, str]] = Counter()
    pristine = {reader.name: alone(reader, folder) for reader in readers}
    for number in range(count):
        reader = readers[number % len(readers)]
        rng = random.Random(f"{seed} {number} {reader.name}")
        found = mutated(rng, reader.rows, ordered=reader.ordered)
        path = written(rng, found, folder)
        try:
            refused = checked(reader, found, path, pristine[reader.name])
        except (Exception, Hung) as error:
            raise AssertionError(
                f"{reader.name}, file {number} of seed {seed} ({found.did}), {path.name}: {type(error).__name__}: "
                f"{error}"
                f"\n{path.read_bytes()[:1500]!r}"
            ) from error
        told[reader.name, "refused" if refused else "read"] += 1
        path.unlink()
    return told


def alone(reader: Reader, folder: Path) -> list[list[Any]]:
    """What is understood of each row of the valid file, read by itself."""
    if not reader.each:
        return []
    path, found = folder / "alone.jsonl", []
    for rows in (*([row] for row in reader.rows), reader.rows):
        path.write_bytes(as_lines(random.Random(0), rows))
        found.append(outcome(lambda: reader.read(path), [])[0][0])
    *found, whole = found
    assert whole == [each for row in found for each in row]
    return found


def checked(reader: Reader, found: Mutated, path: Path, pristine: list[list[Any]]) -> bool:
    """Whether the file was refused; AssertionError where it was neither refused clearly nor read right."""
    if found.whole:
        rows_are_kept(found.rows, path)
    answer, refused = outcome(lambda: reader.read(path), [str(path)])
    untouched = found.whole and bool(found.rows) and all(origin is not None for origin in found.origin)
    if refused:
        assert not untouched, f"a valid file was refused: {refused}"
        return True
    items, report = answer
    if found.whole and reader.counted:
        assert report.rows_read == len(found.rows), f"{report.rows_read} of {len(found.rows)} rows read"
        assert len(items) + report.dropped.total() == len(found.rows), f"{len(items)} understood, {report}"
    if found.whole and reader.each:
        left = iter(items)
        for origin in found.origin:
            for each in pristine[origin] if origin is not None else []:
                assert any(item == each for item in left), f"row {origin} reads otherwise, or is lost: {each}"
    return False


def rows_are_kept(rows: Sequence[Row], path: Path) -> None:
    """The file's own layer gives back exactly the rows, or refuses one that could not be written again."""
    read, refused = outcome(lambda: [dict(row.fields) for row in read_rows(str(path))], [str(path)])
    if refused:
        assert not rows or not all(map(plain, rows)), f"rows that JSON holds were refused: {refused}"
        return
    assert [canonical(row) for row in read] == [canonical(row) for row in rows]


def canonical(row: Row) -> str:
    return json.dumps(row, sort_keys=True)


def plain(row: Row) -> bool:
    try:
        json_value(json.dumps(row))
    except (ValueError, RecursionError):
        return False
    return True


# --- into a file


def written(rng: random.Random, found: Mutated, folder: Path) -> Path:
    """In one of the notations that can hold these rows, compressed now and then; a fifth of the files damaged after."""
    kind, data = rng.choice(notations(rng, found.rows))
    packed = rng.choice(list(COMPRESSED)) if rng.random() < 0.1 else ""
    early, late = rng.random() < 0.18, packed and rng.random() < 0.2
    if early:
        data, did = damaged(rng, data)
        found.did.append(did)
    data = COMPRESSED[packed](data)
    if late:
        data, did = damaged(rng, data)
        found.did.append(f"{did}, packed")
    found.whole = not early and not late
    path = folder / f"file{kind}{packed}"
    path.write_bytes(data)
    return path


def notations(rng: random.Random, rows: Sequence[Row]) -> list[tuple[str, bytes]]:
    found = [(".jsonl", as_lines(rng, rows))] * 4 + [(".json", json.dumps(list(rows)).encode())]
    names = list(rows[0]) if rows else []
    if not names or any(list(row) != names for row in rows):
        return found
    found.append((".json", json.dumps({name: [row[name] for row in rows] for name in names}).encode()))
    texts = all(isinstance(value, str) and plain(row) for row in rows for value in row.values())
    if texts and len(names) > 1 and all(names):
        found += [(".csv", separated(rows, names, ",")), (".tsv", separated(rows, names, "\t"))]
    if texts:
        found.append((".parquet", as_parquet(rows)))
    return found


def separated(rows: Sequence[Row], names: Sequence[str], delimiter: str) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, names, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def as_parquet(rows: Sequence[Row]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), file)
    return file.getvalue()
