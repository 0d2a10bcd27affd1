"""Files of others -> comparisons: our own records, TRL's preference and KTO columns, Argilla, Label Studio, WebGPT,
TL;DR, UltraFeedback.

A row that cannot be right is refused by file, line and reason, and nothing is written; an answer that teaches nothing
(equal replies, a draft, an annotation that was cancelled) is left out and counted, so that the answers of a file are
those of its labels and those that were dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from tutelage.data.errors import InputError
from tutelage.data.files import ReadReport, Row, read_rows
from tutelage.data.json_text import json_value
from tutelage.data.records import Candidate, Comparison, Context, Verdict, candidate_id, explained
from tutelage.feedback import import_published as published
from tutelage.feedback.foreign import Found, Naming
from tutelage.feedback.import_argilla import argilla, is_argilla
from tutelage.feedback.import_label_studio import (
    is_label_studio,
    is_label_studio_min,
    label_studio,
    label_studio_min,
)

GOOD, BAD = {"true", "1", "1.0"}, {"false", "0", "0.0"}


@dataclass(frozen=True)
class Read:
    """A comparison and where it stood. file: the one that it stood in; answers: how many of its answers it holds."""

    place: str
    comparison: Comparison
    file: str = ""
    answers: int = 1


Reader = Callable[[Row, Naming, ReadReport], Iterator[Found]]


def read(source: str, naming: Naming, report: ReadReport) -> Iterator[Read]:
    """The comparisons of a file, a folder, or a hub id. InputError names file, line and what is wrong with it."""
    group: list[Row] = []
    texts: set[str] = set()
    for row in read_rows(source):
        report.rows_read += 1
        completions = _is_completion(row.fields)
        text = repr(row.fields["completion"]) if completions else ""
        if group and not (completions and text not in texts and _is_same_question(group[0], row)):
            yield from _explained(group[0], partial(_together, group))
            group, texts = [], set()
        if completions:
            group.append(row)
            texts.add(text)
            continue
        yield from _explained(row, partial(reader_of(row.fields), row, naming, report))
    if group:
        yield from _explained(group[0], partial(_together, group))


def _explained(row: Row, reading: Callable[[], Iterator[Found]]) -> Iterator[Read]:
    try:
        yield from [Read(row.place, each.comparison, row.file, each.answers) for each in reading()]
    except ValidationError as error:
        raise InputError(f"{row.place}: {explained(error)} (a comparison record, docs/schema.md).") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        told = str(error).splitlines()[0] if str(error) else ""
        raise InputError(
            f"{row.place}: is not what its columns promise ({type(error).__name__}: {told:.300})."
        ) from error


def reader_of(fields: Mapping[str, Any]) -> Reader:
    """By the columns."""
    if {"context", "candidates", "verdict"} <= fields.keys():
        return _record
    if fields.get("record") is not None:
        return _table
    for is_this, reader in SHAPES:
        if is_this(fields):
            return reader
    if {"chosen", "rejected"} <= fields.keys():
        return _preference
    return argilla if is_argilla(fields) else _unknown


SHAPES: tuple[tuple[Callable[[Mapping[str, Any]], bool], Reader], ...] = (
    (published.is_tldr, published.tldr),
    (published.is_webgpt, published.webgpt),
    (published.is_ultrafeedback, published.ultrafeedback),
    (is_label_studio, label_studio),
    (is_label_studio_min, label_studio_min),
)


def _unknown(row: Row, naming: Naming, report: ReadReport) -> Iterator[Found]:
    raise InputError(
        f"{row.place}: its columns are {row.columns}; expected comparison records, "
        "prompt, chosen, rejected; prompt, completion, label; an export of Argilla or Label Studio; or the columns of "
        "WebGPT, TL;DR or UltraFeedback."
    )


def _record(row: Row, naming: Naming, report: ReadReport) -> Iterator[Found]:
    yield Found(Comparison.model_validate(dict(row.fields)))


def _table(row: Row, naming: Naming, report: ReadReport) -> Iterator[Found]:
    """Our own tables: their last column is the whole record."""
    yield Found(Comparison.model_validate(json_value(row.fields["record"])))


def _preference(row: Row, naming: Naming, report: ReadReport) -> Iterator[Found]:
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
    other = next(each.id for each in candidates if each.id != choice)
    strength = row.fields.get("margin")
    verdict: dict[str, Any] = {"choice": choice, "strength": None if strength in (None, "") else float(strength)}
    scores = {name: score for name, score in zip((choice, other), published.scores_of(row.fields)) if score is not None}
    verdict |= {"ratings": {"score": scores}} if scores else {}
    verdict |= published.ULTRAFEEDBACK if published.is_ultrafeedback_pair(row.fields) else {}
    yield Found(Comparison(context=context, candidates=candidates, verdict=Verdict(**verdict)), 1 + len(scores))


def _two_sides(row: Row) -> tuple[Context, tuple[str, str]]:
    sides = [row.fields[name] for name in ("chosen", "rejected")]
    prompt = row.fields.get("prompt")
    if all(isinstance(each, list) for each in sides):
        shared = _shared(sides[0], sides[1])
        if prompt is None or (shared and all(len(each) > 1 for each in sides)):  # talks that hold their prompt
            prompt = shared
            sides = [each[len(shared) :] for each in sides]
    elif prompt is None:
        start = _shared_text(*(_text(each, row) for each in sides))
        prompt, sides = start, [each[len(start) :] for each in sides]
    context = Context(messages=tuple(prompt)) if isinstance(prompt, list) else Context(prompt=_text(prompt, row))
    better, worse = (_text(each, row) for each in sides)
    return context, (better, worse)


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


def _is_completion(fields: Mapping[str, Any]) -> bool:
    """Also where data sets of several shapes were put together, and absent columns are null."""
    return {"prompt", "completion", "label"} <= fields.keys() and None in (fields.get("chosen"), fields.get("rejected"))


def _is_same_question(first: Row, row: Row) -> bool:
    """Whether a completion answers the prompt of the one before it."""
    return row.file == first.file and row.fields["prompt"] == first.fields["prompt"]


def _together(group: Sequence[Row]) -> Iterator[Found]:
    """TRL's unpaired rows that follow each other: good or bad is a rating on the axis `label`."""
    first = group[0]
    prompt = first.fields["prompt"]
    context = Context(messages=tuple(prompt)) if isinstance(prompt, list) else Context(prompt=_text(prompt, first))
    texts = [_text(row.fields["completion"], row) for row in group]
    candidates = tuple(Candidate(id=candidate_id(context.row(), text), text=text) for text in texts)
    good = {each.id: _good(row) for each, row in zip(candidates, group)}
    verdict = Verdict(ratings={"label": good})
    yield Found(Comparison(context=context, candidates=candidates, verdict=verdict), len(group))


def _good(row: Row) -> float:
    told = str(row.fields["label"]).strip().casefold()
    if told not in GOOD | BAD:
        raise InputError(f"{row.place}: label is {row.fields['label']!r:.60}, expected true or false (or 1 or 0).")
    return float(told in GOOD)
