"""Files of others -> labels in the store: our own records, TRL's preference and KTO columns, Argilla, Label Studio.

A row that cannot be right is refused by file, line and reason, and nothing is written; one that teaches nothing (equal
replies, an answer that was cancelled) is left out and counted. Importing a file twice adds nothing.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, insert, select, update

from tutelage.data.errors import InputError
from tutelage.data.files import ReadReport, Row, read_rows
from tutelage.data.json_text import json_value
from tutelage.data.records import Candidate, Comparison, Context, Verdict, candidate_id, explained
from tutelage.feedback import asked, schema
from tutelage.feedback.asking import Asking, canonical
from tutelage.feedback.chain import Log
from tutelage.feedback.foreign import Naming, argilla, is_argilla, is_label_studio, label_studio
from tutelage.feedback.saying import PRIVATE

A, B, Q = schema.assignment, schema.label, schema.question
GOOD, BAD = {"true", "1", "1.0"}, {"false", "0", "0.0"}


@dataclass(frozen=True)
class Read:
    """A comparison and where it stood."""

    place: str
    comparison: Comparison


def read(source: str, naming: Naming, report: ReadReport) -> Iterator[Read]:
    """The comparisons of a file, a folder, or a hub id. InputError names file, line and what is wrong with it."""
    group: list[Row] = []
    for row in read_rows(source):
        report.rows_read += 1
        completions = {"prompt", "completion", "label"} <= row.fields.keys()
        if group and not (completions and _goes_on(group, row)):
            yield from _kept(group[0], partial(_together, group, report))
            group = []
        if completions:
            group.append(row)
            continue
        yield from _kept(row, partial(_compared, row, naming, report))
    if group:
        yield from _kept(group[0], partial(_together, group, report))


def _kept(row: Row, reading: Callable[[], Iterator[Comparison]]) -> Iterator[Read]:
    try:
        yield from [Read(row.place, each) for each in reading()]
    except ValidationError as error:
        raise InputError(f"{row.place}: {explained(error)} (a comparison record, docs/schema.md).") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        told = str(error).splitlines()[0] if str(error) else ""
        raise InputError(
            f"{row.place}: is not what its columns promise ({type(error).__name__}: {told:.300})."
        ) from error


def _compared(row: Row, naming: Naming, report: ReadReport) -> Iterator[Comparison]:
    return reader_of(row.fields)(row, naming, report)


def reader_of(fields: Mapping[str, Any]) -> Callable[[Row, Naming, ReadReport], Iterator[Comparison]]:
    """By the columns."""
    if {"context", "candidates", "verdict"} <= fields.keys():
        return _record
    if "record" in fields:
        return _table
    if {"chosen", "rejected"} <= fields.keys():
        return _preference
    if is_label_studio(fields):
        return label_studio
    if is_argilla(fields):
        return argilla
    return _unknown


def _unknown(row: Row, naming: Naming, report: ReadReport) -> Iterator[Comparison]:
    raise InputError(
        f"{row.place}: its columns are {row.columns}; expected comparison records, "
        "prompt, chosen, rejected; prompt, completion, label; or an export of Argilla or Label Studio."
    )


def _record(row: Row, naming: Naming, report: ReadReport) -> Iterator[Comparison]:
    yield Comparison.model_validate(dict(row.fields))


def _table(row: Row, naming: Naming, report: ReadReport) -> Iterator[Comparison]:
    """Our own tables: their last column is the whole record."""
    yield Comparison.model_validate(json_value(row.fields["record"]))


def _preference(row: Row, naming: Naming, report: ReadReport) -> Iterator[Comparison]:
    """prompt, chosen, rejected (texts or messages), with margin, from 0 to 1, where it is there."""
    context, (better, worse) = _two_sides(row)
    if better.strip() == worse.strip():
        return report.drop(row, "with chosen equal to rejected")
    if not better.strip() or not worse.strip():
        return report.drop(row, "with an empty reply")
    if not context.prompt and not context.messages:
        return report.drop(row, "without a common prompt")
    ids = [candidate_id(context.row(), text) for text in sorted((better, worse))]  # the order tells nothing
    candidates = tuple(Candidate(id=name, text=text) for name, text in zip(ids, sorted((better, worse))))
    choice = next(each.id for each in candidates if each.text == better)
    strength = row.fields.get("margin")
    strength = None if strength in (None, "") else float(strength)
    yield Comparison(context=context, candidates=candidates, verdict=Verdict(choice=choice, strength=strength))


def _two_sides(row: Row) -> tuple[Context, tuple[str, str]]:
    sides = [_parsed(row.fields[name]) for name in ("chosen", "rejected")]
    prompt = _parsed(row.fields.get("prompt"))
    if prompt is None and all(isinstance(each, list) for each in sides):
        prompt = _shared(sides[0], sides[1])
        sides = [each[len(prompt) :] for each in sides]
    elif prompt is None:
        start = _shared_text(*(_text(each, row) for each in sides))
        prompt, sides = start, [each[len(start) :] for each in sides]
    context = Context(messages=tuple(prompt)) if isinstance(prompt, list) else Context(prompt=_text(prompt, row))
    better, worse = (_text(each, row) for each in sides)
    return context, (better, worse)


def _parsed(value: Any) -> Any:
    """Messages that a table holds as JSON are messages again."""
    if isinstance(value, str) and value.startswith('[{"'):
        try:
            return json_value(value)
        except ValueError:
            return value
    return value


def _text(value: Any, row: Row) -> str:
    """A text, or the content of the one message that a reply is."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0].get("content")
    if not isinstance(value, str):
        raise InputError(f"{row.place}: {value!r:.80} is no reply; expected a text or one message.")
    return value


def _shared(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    count = next((i for i, (a, b) in enumerate(zip(first, second)) if a != b), min(len(first), len(second)))
    return list(first[:count])


def _shared_text(first: str, second: str) -> str:
    """What both begin with, up to a blank."""
    count = next((i for i, (a, b) in enumerate(zip(first, second)) if a != b), min(len(first), len(second)))
    return first[: max(first.rfind(" ", 0, count), first.rfind("\n", 0, count)) + 1]


def _goes_on(group: Sequence[Row], row: Row) -> bool:
    """Whether a completion belongs to the question of those before it: the same prompt, another text."""
    same = row.file == group[0].file and row.fields["prompt"] == group[0].fields["prompt"]
    return same and all(row.fields["completion"] != each.fields["completion"] for each in group)


def _together(group: Sequence[Row], report: ReadReport) -> Iterator[Comparison]:
    """TRL's unpaired rows that follow each other: good or bad is a rating on the axis `label`."""
    first = group[0]
    if len(group) < 2:
        return report.drop(first, "with one completion only: nothing to compare it with")
    prompt = _parsed(first.fields["prompt"])
    context = Context(messages=tuple(prompt)) if isinstance(prompt, list) else Context(prompt=_text(prompt, first))
    texts = [_text(_parsed(row.fields["completion"]), row) for row in group]
    candidates = tuple(Candidate(id=candidate_id(context.row(), text), text=text) for text in texts)
    good = {each.id: _good(row) for each, row in zip(candidates, group)}
    yield Comparison(context=context, candidates=candidates, verdict=Verdict(ratings={"label": good}))


def _good(row: Row) -> float:
    told = str(row.fields["label"]).strip().casefold()
    if told not in GOOD | BAD:
        raise InputError(f"{row.place}: label is {row.fields['label']!r:.60}, expected true or false (or 1 or 0).")
    return float(told in GOOD)


# --- into the store


def take_in(connection: Connection, at: float, found: Sequence[Read], anonymous: str) -> tuple[int, int]:
    """Adds the labels that are not there; (added, already there). anonymous: who said what nobody is named for."""
    names = [name_of(each.comparison) for each in found]
    wanted = Counter(names)
    askings = {name: _asking(name, each, wanted[name]) for name, each in zip(names, found)}
    asked.ask(connection, at, list(askings.values()))
    unnamed: Counter[str] = Counter()
    added = 0
    log = Log.of(connection, at)
    for name, each in zip(names, found):
        verdict = each.comparison.verdict
        unnamed[name] += verdict.rater is None
        who = verdict.rater or f"{anonymous} {unnamed[name]}"
        labeller = asked.labeller(connection, at, who, verdict.rater_kind)
        log = Log.of(connection, at)
        mine = select(A.c.id).where(A.c.question == name, A.c.labeller == labeller)
        if connection.execute(mine).scalar_one_or_none() is None:
            _add(log, name, labeller, each)
            added += 1
    return added, len(found) - added


def name_of(comparison: Comparison) -> str:
    """Of the whole question, also what was not shown: only the same question twice is the same."""
    asked_about = comparison.model_copy(update={"verdict": Verdict()}).row()
    return hashlib.sha256(canonical(["imported", kind_of(comparison.verdict), asked_about]).encode()).hexdigest()[:24]


def kind_of(verdict: Verdict) -> str:
    """The kind of question that such a verdict answers."""
    kinds = {"clip": verdict.signals, "edit": verdict.edits, "rules": verdict.rules, "rating": verdict.ratings}
    found = next((kind for kind, said in kinds.items() if said), "pair")
    return "ranking" if found == "pair" and len(verdict.ranking) > 1 else found


def _asking(name: str, each: Read, wanted: int) -> Asking:
    comparison = each.comparison
    about = {"kind": kind_of(comparison.verdict), "asked_with": comparison.asked_with}
    return Asking(comparison.context, comparison.candidates, name=name, wanted=wanted, **about)


def _add(log: Log, name: str, labeller: str, each: Read) -> None:
    verdict = each.comparison.verdict.row()
    private = {field: verdict.pop(field) for field in PRIVATE if field in verdict}
    about = {field: verdict.pop(field, None) for field in ("shown", "shown_at", "answered_at", "guideline")}
    for field in ("rater", "rater_kind"):
        verdict.pop(field, None)
    wanted, counted, withdrawn = log.connection.execute(
        select(Q.c.wanted, Q.c.counted, Q.c.withdrawn).where(Q.c.name == name)
    ).one()
    state = "withdrawn" if withdrawn is not None else "counted" if counted < wanted else "surplus"
    assignment = secrets.token_urlsafe(9)
    body = {
        "assignment": assignment,
        "question": name,
        "shown": [[secrets.token_urlsafe(9), own] for own in about["shown"] or ()],
        "guideline": about["guideline"],
        "verdict": verdict,
        "times": {"shown_at": about["shown_at"], "answered_at": about["answered_at"]},
        "state": state,
        "private": log.keep(private) if private else None,
        "from": each.place,
    }
    event = log.add("imported", body, actor=labeller)
    row = {
        "id": assignment,
        "question": name,
        "labeller": labeller,
        "state": "answered",
        "lease": "",
        "expires_at": 0.0,
    }
    row |= {"shown": json.dumps(body["shown"]), "guideline": about["guideline"], "seq": event.seq}
    log.connection.execute(insert(A).values(**row))
    label = {"seq": event.seq, "id": event.id, "question": name, "labeller": labeller, "state": state}
    log.connection.execute(insert(B).values(**label, excluded=False))
    if state == "counted":
        log.connection.execute(update(Q).where(Q.c.name == name).values(counted=Q.c.counted + 1))
