"""What was asked and what was answered: one record for every system that learns from people.

A comparison is a context, its candidates and a verdict. The fields are those of all the systems that this project
rebuilds (pairs, best of K, rankings with ties, graded strength, ratings by axis, rules, evidence, edits, signals in
real time), so that none of them needs a second format; what was not asked is None or empty and is not written out.
Candidates are named by opaque ids: neither their order nor their names say which policy they came from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tutelage.data.errors import InputError
from tutelage.data.files import Row
from tutelage.data.json_text import json_value, why_not_json

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Record(BaseModel):
    """Frozen, and without fields that nobody knows: a misspelt one is an error, not lost."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def row(self) -> dict[str, Any]:
        """Plain JSON values, without what was not asked."""
        return self.model_dump(mode="json", exclude_defaults=True)


class Context(Record):
    """What the candidates answer: a text, or the messages of a talk; or the start of a clip, by its name."""

    prompt: str | None = None
    messages: tuple[dict[str, str], ...] = ()
    media: str | None = None


class Candidate(Record):
    """One answer. text: the reply; media: the name of a clip where it is one.

    policy: version of what produced it, and sampler: its settings (temperature, seed); score: what the reward model
    gave it when the question was asked; evidence: quotes that it brings for what it says.
    """

    id: str
    text: str | None = None
    media: str | None = None
    policy: str | None = None
    sampler: dict[str, float | int | str] = Field(default_factory=dict)
    score: float | None = None
    evidence: tuple[str, ...] = ()


class Signal(Record):
    """A person's reaction while watching. seconds: since the clip began; value: good above 0, bad below."""

    seconds: float
    value: float


class Verdict(Record):
    """What one person (or model) said. Candidates are named by id.

    choice: the best one          strength: how much better, 0 (a tie) to 1 (certain); None where it was not graded
    ranking: places from the best on, each a set of ids that tie
    no_choice: why there is none, if none is: the candidates are incomparable, or all of them are bad
    ratings: axis -> id -> number                rules: rule -> id -> whether it was broken, None: unsure
    edits: id -> the text as it should have been  notes: why, in words       signals: id -> reactions in time
    rater, rater_kind: who                        shown: ids in the order on the screen
    shown_at, answered_at: seconds since 1970     guideline: version of the instructions read
    """

    choice: str | None = None
    strength: Fraction | None = None
    ranking: tuple[tuple[str, ...], ...] = ()
    no_choice: Literal["incomparable", "all bad"] | None = None
    ratings: dict[str, dict[str, float]] = Field(default_factory=dict)
    rules: dict[str, dict[str, bool | None]] = Field(default_factory=dict)
    edits: dict[str, str] = Field(default_factory=dict)
    signals: dict[str, tuple[Signal, ...]] = Field(default_factory=dict)
    notes: str | None = None
    rater: str | None = None
    rater_kind: Literal["human", "synthetic", "model"] = "human"
    shown: tuple[str, ...] = ()
    shown_at: float | None = None
    answered_at: float | None = None
    guideline: str | None = None


class Comparison(Record):
    """A question and its answer.

    asked_with: the probability with which this question was chosen among those that could have been asked
    criterion: by what the candidates are compared (the name of the question in the file that it was imported from)
    """

    context: Context
    candidates: tuple[Candidate, ...] = Field(min_length=1)
    verdict: Verdict
    asked_with: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    criterion: Annotated[str | None, Field(min_length=1, max_length=2000)] = None

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        ids = [each.id for each in self.candidates]
        if len(set(ids)) != len(ids):
            raise ValueError(f"two candidates have the same id: {', '.join(sorted(ids))}")
        verdict = self.verdict
        if len(ids) == 1 and (verdict.choice is not None or verdict.ranking):
            raise ValueError("candidates: one alone is neither chosen nor ranked; expected two or more")
        ranked = [each for place in verdict.ranking for each in place]
        by_axis = [*verdict.ratings.values(), *verdict.rules.values(), verdict.edits, verdict.signals]
        named = {*ranked, *verdict.shown, *(name for each in by_axis for name in each)}
        named |= {verdict.choice} if verdict.choice is not None else set()
        if named - set(ids):
            raise ValueError(f"the verdict names {', '.join(sorted(named - set(ids)))}, which is no candidate")
        if len(ranked) != len(set(ranked)):
            raise ValueError("a candidate stands twice in the ranking")
        if verdict.choice is not None and verdict.no_choice is not None:
            raise ValueError(f"the verdict both chooses and says {verdict.no_choice!r}")
        if verdict.choice is not None and verdict.ranking and verdict.choice not in verdict.ranking[0]:
            raise ValueError(f"the verdict chooses {verdict.choice}, which does not lead its ranking")
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """Replies in the order of the candidates."""
        return tuple(each.text or "" for each in self.candidates)

    @property
    def best(self) -> int | None:
        """Index of the chosen candidate, or of the one that alone leads the ranking; None where nobody won."""
        leaders = self.verdict.ranking[0] if self.verdict.ranking else ()
        name = self.verdict.choice or (leaders[0] if len(leaders) == 1 else None)
        return next((i for i, each in enumerate(self.candidates) if each.id == name), None)

    def chosen(self) -> int:
        """`best`, where there must be one."""
        if self.best is None:
            raise ValueError(f"nobody won: {self.verdict.row()}")
        return self.best


TABLE = {"label", "seq", "question", "record"}  # columns of a table as `tutelage feedback export` writes it


def of_table(row: Row) -> Row:
    """A row of our own table as the record that its last column holds; any other row as it is."""
    record = row.fields.get("record")
    if not isinstance(record, str) or not row.fields.keys() >= TABLE:
        return row
    try:
        fields = json_value(record)
    except ValueError as error:
        raise InputError(f"{row.place}: record is not JSON ({why_not_json(error)}): {record!r:.80}.") from error
    if not isinstance(fields, dict):
        raise InputError(f"{row.place}: record is {record!r:.80}, expected a comparison record (docs/schema.md).")
    return Row(row.file, row.line, fields)


def candidate_id(*parts: object) -> str:
    """An opaque name from whatever makes a candidate unique; it does not tell where the candidate came from."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:12]


def explained(error: ValidationError) -> str:
    """The first fault of a record: the field and what was expected."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the record"
    return f"{place:.120}: {first['msg'].removeprefix('Value error, '):.300}"


def compared(
    prompt: str, texts: Sequence[str], chosen: int, shown: Sequence[int] | None = None, **verdict: Any
) -> Comparison:
    """A choice among replies to a prompt as a record. shown: their places in the order on the screen."""
    candidates = tuple(Candidate(id=candidate_id(prompt, i, text), text=text) for i, text in enumerate(texts))
    order = range(len(candidates)) if shown is None else shown
    said = Verdict(choice=candidates[chosen].id, shown=tuple(candidates[i].id for i in order), **verdict)
    return Comparison(context=Context(prompt=prompt), candidates=candidates, verdict=said)
