"""Rows with a prompt and any number of replies -> what people can be asked of them; `pairs.py` reads those with two.

prompt and responses (a list), prompt and completion, prompt alone (somebody writes the reply), the columns of pairs, or
comparison records. What was already said of them is read by `known`, for questions whose answer is known beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from tutelage.data.errors import InputError, Unusable
from tutelage.data.files import ReadReport, Row, read_rows, taken
from tutelage.data.pairs import TWO_COLUMNS, Asked, context_of, has, pair_of, recorded, reply_of
from tutelage.data.records import Candidate, Comparison, Context, Verdict, candidate_id, explained, of_table

MOST = 12  # replies side by side
WHY = "why"


class Known(NamedTuple):
    """A question and the answer that is right; why: told to whoever answered it."""

    asked: Asked
    verdict: dict[str, Any]
    why: str


def replies(source: str, report: ReadReport) -> Iterator[Asked]:
    """Every context with its replies, none for a prompt alone; the report counts as they are taken."""
    return taken(read_rows(source), report, _replies)


def known(source: str) -> Iterator[Known]:
    """Questions with their right answers: chosen and rejected, completion and label, or comparison records."""
    for row in read_rows(source):
        try:
            found = _replies(row)
        except Unusable as reason:
            found = str(reason)
        if isinstance(found, str):
            raise InputError(f"{row.place}: a question {found} cannot be one whose answer is known.")
        verdict = _verdict(row, found)
        yield Known(found, verdict, _why(row))


def _replies(row: Row) -> Asked | str:
    row = of_table(row)
    fields = row.fields
    if {"context", "candidates"} <= fields.keys():
        found = recorded(row)
        fits = len(found.candidates) <= MOST and all(each.text is not None for each in found.candidates)
        return found if fits else f"of something other than up to {MOST} texts"
    if any(has(fields, *names) for names in TWO_COLUMNS):
        return pair_of(row)
    if not has(fields, "prompt"):
        raise InputError(
            f"{row.place}: its columns are {', '.join(map(str, fields)) or 'none'}; expected prompt, and responses (a "
            "list), or completion, or nothing besides."
        )
    given = fields.get("responses")
    if given is None:
        given = [fields["completion"]] if has(fields, "completion") else []
    if not isinstance(given, list) or len(given) > MOST:
        raise InputError(f"{row.place}: responses is {given!r:.80}, expected a list of at most {MOST}.")
    return asked(context_of(fields["prompt"], row), [reply_of(each, row) for each in given])


def asked(context: Context, texts: list[str]) -> Asked | str:
    """The question, or why there is none."""
    if not all(each.strip() for each in texts):
        return "with an empty reply"
    if len({each.strip() for each in texts}) < len(texts):
        return "with two equal replies"
    about = context.row()
    candidates = (Candidate(id=candidate_id(about, place, text), text=text) for place, text in enumerate(texts))
    return Asked(context, tuple(candidates))


def _verdict(row: Row, found: Asked) -> dict[str, Any]:
    """What is right, by the candidates' names."""
    fields, first = of_table(row).fields, found.candidates[0].id if found.candidates else ""
    if "verdict" in fields:
        try:
            verdict = Verdict.model_validate(fields["verdict"])
            Comparison(context=found.context, candidates=found.candidates, verdict=verdict)
        except ValidationError as error:
            raise InputError(f"{row.place}: {explained(error)} (a comparison record, docs/schema.md).") from error
        said = verdict.row()
        return {name: said[name] for name in ("choice", "ranking", "no_choice", "ratings", "rules") if name in said}
    if has(fields, "chosen", "rejected"):
        return {"choice": first}
    if has(fields, "completion", "label") and isinstance(fields["label"], bool):
        return {"ratings": {"label": {first: float(fields["label"])}}}
    raise InputError(
        f"{row.place}: nothing says what is right; expected chosen and rejected, completion and label (true or false), "
        "or a comparison record with its verdict."
    )


def _why(row: Row) -> str:
    given: Mapping[str, Any] = row.fields
    why = given.get(WHY, "")
    if not isinstance(why, str) or len(why) > 2000:
        raise InputError(f"{row.place}: {WHY} is {why!r:.80}, expected a text of at most 2000 letters.")
    return why
