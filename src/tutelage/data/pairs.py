"""Rows with a prompt and two replies -> what people can be asked. What somebody already said of them is not looked at.

The shapes are those of docs/data.md. A talk stays a talk (its messages are shown as such), so no tokenizer is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from tutelage.data import talks
from tutelage.data.errors import InputError, Unusable
from tutelage.data.files import ReadReport, Row, read_rows, taken
from tutelage.data.records import Candidate, Context, candidate_id, explained, of_table
from tutelage.data.sources import common_prefix
from tutelage.data.talks import ASSISTANT, HUMAN

TWO_COLUMNS = (
    ("chosen", "rejected"),
    ("response_a", "response_b"),
    ("completion_a", "completion_b"),
    ("response1", "response2"),
)

OTHER_PROMPTS = "whose two sides answer different prompts"


class Asked(NamedTuple):
    """A context and the two replies that answer it, in the order of the file."""

    context: Context
    candidates: tuple[Candidate, ...]


def pairs(source: str, report: ReadReport) -> Iterator[Asked]:
    """Every pair of a file, folder or hub id; the report counts as they are taken."""
    return taken(read_rows(source), report, pair_of)


def pair_of(row: Row) -> Asked | str:
    """The pair of a row, or why it holds none."""
    row = of_table(row)
    fields = row.fields
    if {"context", "candidates"} <= fields.keys():
        found = recorded(row)
        fits = len(found.candidates) == 2 and all(each.text for each in found.candidates)
        return found if fits else "of something other than two texts"
    if has(fields, "prompt", "responses"):
        return _asked(context_of(fields["prompt"], row), _two(fields["responses"], row))
    for names in TWO_COLUMNS:
        if has(fields, *names):
            return _columns([fields[name] for name in names], row)
    two = ", or ".join(" and ".join(names) for names in TWO_COLUMNS)
    raise InputError(
        f"{row.place}: its columns are {row.columns}; expected prompt, and responses (a list of two), or {two}."
    )


def _columns(sides: list[Any], row: Row) -> Asked | str:
    """Two columns with a reply each, or with a whole talk each that differs in its last turn."""
    if has(row.fields, "prompt"):
        return _asked(*_of_prompt(row.fields["prompt"], sides, row))
    if all(isinstance(each, list) for each in sides):
        split = [talks.split_reply(talks.messages(each, row)) for each in sides]
        if split[0][0] != split[1][0]:
            return OTHER_PROMPTS
        return _asked(_context(split[0][0]), [said["content"] for _, said in split])
    first, second = (_text(each, row) for each in sides)
    if HUMAN in first and ASSISTANT in first:
        parts = [each.rpartition(ASSISTANT) for each in (first, second)]
        if parts[0][0] != parts[1][0]:
            return OTHER_PROMPTS
        return _asked(Context(prompt=parts[0][0] + ASSISTANT), [each[2] for each in parts])
    prompt = common_prefix(first, second)
    if not prompt:
        return "without a common prompt"
    return _asked(Context(prompt=prompt), [each[len(prompt) :] for each in (first, second)])


def _of_prompt(prompt: Any, sides: list[Any], row: Row) -> tuple[Context, list[str]]:
    """Of a prompt and replies of which some are messages: they may repeat the talk that they answer."""
    if isinstance(prompt, list) or not any(isinstance(each, list) for each in sides):
        return context_of(prompt, row), [reply_of(each, row) for each in sides]
    split = [talks.split_sides(prompt, each, row) for each in sides]
    if split[0][0] != split[1][0]:
        raise Unusable(OTHER_PROMPTS)
    return _context(split[0][0]), [_words(said) for _, said in split]


def _asked(context: Context, replies: list[str]) -> Asked | str:
    if replies[0].strip() == replies[1].strip():
        return "with two equal replies"
    if not all(each.strip() for each in replies):
        return "with an empty reply"
    about = context.row()
    candidates = tuple(Candidate(id=candidate_id(about, place, text), text=text) for place, text in enumerate(replies))
    return Asked(context, candidates)


def recorded(row: Row) -> Asked:
    """A comparison record (docs/schema.md); its verdict, if it has one, is not looked at."""
    try:
        context = Context.model_validate(row.fields["context"])
        candidates = tuple(Candidate.model_validate(each) for each in row.fields["candidates"])
    except (ValidationError, TypeError) as error:
        why = explained(error) if isinstance(error, ValidationError) else "candidates is no list"
        raise InputError(f"{row.place}: {why} (a comparison record, docs/schema.md).") from error
    return Asked(context, candidates)


def context_of(prompt: Any, row: Row) -> Context:
    if isinstance(prompt, list):
        return _context(talks.to_answer(talks.messages(prompt, row)))
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError(f"{row.place}: prompt is {prompt!r:.80}, expected text or a list of messages.")
    return Context(prompt=prompt)


def _two(responses: Any, row: Row) -> list[str]:
    if not isinstance(responses, list) or len(responses) != 2:
        raise InputError(f"{row.place}: responses is {responses!r:.80}, expected a list of two texts.")
    return [reply_of(each, row) for each in responses]


def _context(talk: Sequence[Mapping[str, Any]]) -> Context:
    return Context(messages=tuple({"role": each["role"], "content": each["content"]} for each in talk))


def reply_of(value: Any, row: Row) -> str:
    """A reply as text; of a reply in messages, their words. Unusable where they are not the assistant's."""
    if not isinstance(value, list):
        return _text(value, row)
    said = talks.messages(value, row)
    if any(each["role"] != "assistant" for each in said):
        raise Unusable(talks.OTHER_SPEAKER)
    return _words(said)


def _words(said: Sequence[Mapping[str, Any]]) -> str:
    return "\n\n".join(each["content"] for each in said)


def has(fields: Mapping[str, Any], *names: str) -> bool:
    """Whether all of these columns are there and not null."""
    return all(fields.get(name) is not None for name in names)


def _text(value: Any, row: Row) -> str:
    if not isinstance(value, str):
        raise InputError(f"{row.place}: a reply is {value!r:.80}, expected text.")
    return value
