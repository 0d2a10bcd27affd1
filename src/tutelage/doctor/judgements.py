"""What people said, as the doctor reads it: from comparisons.jsonl, or from a feedback store that is not changed."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tutelage.data.errors import InputError
from tutelage.data.records import Comparison, explained
from tutelage.feedback.store import Store
from tutelage.runs.files import read_lines


@dataclass(frozen=True)
class Judgement:
    """Replies to a prompt, of clips their names. best: index of the preferred one; shown: their order on the screen,
    where it is known.

    told: whether anybody said anything at all (the laboratory's pool holds pairs that nobody judged)
    """

    prompt: str
    texts: tuple[str, ...]
    best: int | None
    shown: tuple[int, ...]
    rater: str
    policies: tuple[str | None, ...] = ()
    told: bool = True

    @property
    def question(self) -> tuple[str, tuple[str, ...]]:
        """What was asked, whatever the order, capitals and blanks."""
        return plain(self.prompt), tuple(sorted(map(plain, self.texts)))


def plain(text: str) -> str:
    return " ".join(text.casefold().split())


def judgements_of(path: Path) -> tuple[Judgement, ...]:
    """Of a file of comparisons; InputError with the line that is none."""
    return tuple(_read(path, number, row) for number, row in enumerate(read_lines(path), start=1))


def judgements_in(path: Path) -> tuple[Judgement, ...]:
    """Of a SQLite store, read from a copy so that a newer tutelage does not bring it up to date by looking at it."""
    if not path.exists():
        return ()
    with tempfile.TemporaryDirectory(prefix="tutelage-doctor-") as folder:
        copy = Path(folder) / "feedback.db"
        try:
            with (
                closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as theirs,
                closing(sqlite3.connect(copy)) as mine,
            ):
                theirs.backup(mine)
        except sqlite3.Error as error:
            raise InputError(f"{path} could not be read as a feedback store: {error}.") from error
        with Store.open(copy) as store:
            return tuple(judgement(each.comparison) for each in store.labels())


def judgement(row: Comparison) -> Judgement:
    places = {each.id: place for place, each in enumerate(row.candidates)}
    return Judgement(
        prompt=row.context.prompt or str(row.context.messages),
        texts=tuple(each.media or words for each, words in zip(row.candidates, row.texts, strict=True)),
        best=row.best if row.verdict.strength != 0.0 else None,
        shown=tuple(places[name] for name in row.verdict.shown),
        rater=row.verdict.rater or "",
        policies=tuple(each.policy for each in row.candidates),
    )


def _read(path: Path, number: int, row: Mapping[str, Any]) -> Judgement:
    if "context" not in row:
        return _unjudged(path, number, row)
    try:
        return judgement(Comparison.model_validate(row))
    except ValidationError as error:
        raise InputError(f"{path}, line {number} is no comparison: {explained(error)}.") from error


def _unjudged(path: Path, number: int, row: Mapping[str, Any]) -> Judgement:
    """A pair of a pool: prompt and responses."""
    prompt, responses = row.get("prompt"), row.get("responses")
    if not isinstance(prompt, str) or not isinstance(responses, list) or not all(isinstance(r, str) for r in responses):
        raise InputError(f"{path}, line {number} is no comparison: expected context, candidates and verdict.")
    return Judgement(prompt, tuple(responses), None, (), "", told=False)
