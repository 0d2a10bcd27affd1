"""Rows of any shape and what their columns mean -> questions (docs/data.md).

A row that contradicts its mapping stops the reading with its file and line; one that is understood and holds nothing
to learn from is dropped and counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from tutelage.data import talks
from tutelage.data.columns import Coding, Columns, Number, code
from tutelage.data.errors import InputError
from tutelage.data.files import ReadReport, Row
from tutelage.data.json_text import json_value, why_not_json
from tutelage.data.questions import Pair, Question, chosen, plain_values, ranked

if TYPE_CHECKING:
    from tutelage.data.tokens import Codec


@dataclass(frozen=True)
class Said:
    """What a row says of its responses; nothing: why it says nothing, where it does."""

    pairs: tuple[Pair, ...] = ()
    choice: int | None = None
    votes: Mapping[str, float] = field(default_factory=dict[str, float])
    nothing: str = "without a judgement"


class Reply(NamedTuple):
    """A response as it stands in the file: its words (None where it is no text), and its other fields."""

    words: str | None
    fields: Mapping[str, Any]


def asked_rows(row: Row, columns: Columns) -> Iterator[Row]:
    """A row for each question in it: the row itself, or every message of its tree that the assistant answered."""
    fields = {**row.fields, **{name: _decoded(row, name) for name in columns.json}}
    if not columns.tree:
        yield replace(row, fields=fields)
        return
    below = columns.responses[0]
    stack: list[tuple[tuple[dict[str, str], ...], Any]] = [((), _column(fields, columns.tree, row))]
    found = False
    while stack:
        before, message = stack.pop()
        talk = (*before, talks.turn(message, columns.roles, row))
        under = message.get(below) or []
        if not isinstance(under, list):
            raise InputError(f"{row.place}: {below} of a message is {under!r:.60}, expected a list of replies.")
        answers = [each for each in under if talks.turn(each, columns.roles, row)["role"] == "assistant"]
        stack.extend((talk, each) for each in reversed(under))
        if talk[-1]["role"] != "assistant" and (answers or not before):
            found = True
            about = plain_values({**fields, **message}, {*columns.used, *talks.WHO, *talks.WHAT})
            yield replace(row, fields={**about, columns.tree: list(talk), below: answers})
    if not found:
        yield replace(row, fields={**plain_values(fields, {columns.tree}), columns.tree: [], below: []})


def question(codec: Codec, columns: Columns, row: Row, report: ReadReport) -> Question | None:
    """What `asked_rows` gave, as a question; None where it was dropped."""
    replies = _replies(columns, row)
    talk = _talk(columns, row)
    ratings = _ratings(columns, replies, row)
    said = _said(columns, replies, row)
    texts = [reply.words.strip() for reply in replies if reply.words is not None]
    reasons = {
        "without replies": not replies,
        "without a prompt": not any(each["content"].strip() for each in talk),
        "with a reply that is no text": len(texts) < len(replies),
        "with an empty reply": "" in texts,
        said.nothing: not said.pairs and not ratings,
        "with equal replies": len(texts) > 1 and len(set(texts)) == 1 and not ratings,
    }
    reason = next((each for each, there in reasons.items() if there), None)
    if reason is not None:
        return report.drop(row, reason)
    prompt, responses = _written(codec, columns, talk, [reply.words or "" for reply in replies], row)
    return Question(
        prompt, responses, said.pairs, said.choice, ratings, said.votes, plain_values(row.fields, columns.used)
    )


def _written(
    codec: Codec, columns: Columns, talk: Sequence[Mapping[str, str]], words: Sequence[str], row: Row
) -> tuple[str, tuple[str, ...]]:
    """(prompt, responses) in the mapping's form."""
    if columns.form == "talk":
        return talks.asked(talk), tuple(talks.answered(each) for each in words)
    if columns.form == "template":
        prompt = talks.rendered(codec, talk, row)
        whole = [[*talk, {"role": "assistant", "content": each}] for each in words]
        return prompt, tuple(talks.reply(codec, talk, each, row) for each in whole)
    return talk[0]["content"], tuple(words)


def _talk(columns: Columns, row: Row) -> list[dict[str, str]]:
    """The turns that are answered; texts side by side are one turn of the user's."""
    talk, texts = [], []
    for name in (columns.tree,) if columns.tree else columns.prompt:
        value = _column(row.fields, name, row)
        if isinstance(value, list) and all(isinstance(each, dict) for each in value):
            talk.extend([*_user(columns, texts), *(talks.turn(each, columns.roles, row) for each in value)])
            texts = []
        else:
            texts.extend(_texts(value, name, row))
    talk.extend(_user(columns, texts))
    if columns.form == "text" and [each["role"] for each in talk] not in ([], ["user"]):
        raise InputError(f"{row.place}: the prompt is a talk, and form is text. Give form talk or template.")
    return talk


def _user(columns: Columns, texts: Sequence[str]) -> list[dict[str, str]]:
    return [{"role": "user", "content": columns.join.join(texts)}] if texts else []


def _texts(value: Any, name: str, row: Row) -> list[str]:
    """The texts of a column or of a list of lists; an empty one is left out."""
    if isinstance(value, list):
        return [text for each in value for text in _texts(each, name, row)]
    if value is not None and not isinstance(value, str):
        raise InputError(f"{row.place}: {name} is {value!r:.80}, expected text, a list of texts, or a list of turns.")
    return [value] if value and value.strip() else []


def _replies(columns: Columns, row: Row) -> list[Reply]:
    values = [_column(row.fields, name, row) for name in columns.responses]
    listed = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    return [_reply(columns, each, row) for each in listed]


def _reply(columns: Columns, value: Any, row: Row) -> Reply:
    if isinstance(value, Mapping):
        if columns.text:
            return Reply(_reply(columns, _column(value, columns.text, row), row).words, value)
        if any(each in value for each in (*talks.WHO, *talks.WHAT)):
            return Reply(talks.said(value), value)
    if isinstance(value, (list, Mapping)):
        raise InputError(
            f"{row.place}: a response is {value!r:.80}, expected text, or an object. Name the field of its words "
            "(text: answer), or the columns of JSON (json: …)."
        )
    return Reply(value if isinstance(value, str) else "" if value is None else None, {})


def _said(columns: Columns, replies: Sequence[Reply], row: Row) -> Said:
    compares = columns.preference or columns.choice
    if len(replies) == 1 and compares:
        raise InputError(f"{row.place}: one response, and {compares.column} compares. Expected at least two.")
    if len(replies) == 1:
        return Said(nothing="with a single reply")
    if not replies:
        return Said()
    if columns.choice:
        return _choice(columns, len(replies), row)
    if columns.ranking:
        return _ranking(columns, replies, row)
    return _preference(columns.preference, columns, len(replies), row) if columns.preference else Said()


def _choice(columns: Columns, width: int, row: Row) -> Said:
    picking = columns.choice
    assert picking is not None
    best = picking.always
    if best is None:
        value = _column(row.fields, picking.column, row)
        codes = picking.codes or tuple(map(str, range(width)))
        if _missing(value):
            return Said()
        if code(value) not in codes or len(codes) != width:
            raise InputError(
                f"{row.place}: {picking.column} is {value!r:.60} of {width} responses, expected one of "
                f"{', '.join(codes)}, one for each of them in their order."
            )
        best = codes.index(code(value))
    elif best >= width:
        raise InputError(f"{row.place}: {width} responses, and choice says that number {best} (from 0) is the best.")
    return Said(chosen(best, width, _margin(columns, row)), best)


def _ranking(columns: Columns, replies: Sequence[Reply], row: Row) -> Said:
    name = ", ".join(columns.ranking)
    values = _per_response(columns.ranking, replies, row)
    if any(_missing(value) for value in values):
        return Said(nothing=f"where not every reply has its {name}")
    numbers = [_number(Number((name,)), value, name, row) for value in values]
    ranks = [int(each) for each in numbers if each.is_integer()]
    if len(ranks) < len(numbers):
        raise InputError(f"{row.place}: {name} is {values!r:.80}, expected whole numbers, the lowest for the best.")
    return Said(ranked(dict(enumerate(ranks)))) if _unbroken(ranks) else Said(nothing="whose ranks leave a gap")


def _unbroken(ranks: Sequence[int]) -> bool:
    """From 0 or 1 on; behind ties either the next number (1, 1, 2) or the next place (1, 1, 3)."""
    start, order = min(ranks), sorted(ranks)
    steps = [(below, above, place) for place, (below, above) in enumerate(pairwise(order), start=1)]
    dense = all(above - below <= 1 for below, above, _ in steps)
    places = all(above in (below, start + place) for below, above, place in steps)
    return start in (0, 1) and (dense or places)


def _preference(coding: Coding, columns: Columns, width: int, row: Row) -> Said:
    values = {name: _column(row.fields, name, row) for name in coding.column}
    if width > 2:
        return _pair_labels(coding, columns, width, values, row)
    found = {name: _vote(coding, value, name, row) for name, value in values.items()}
    votes = {name: vote for name, vote in found.items() if vote is not None}
    if not votes:
        return Said()
    target = sum(target for target, _ in votes.values()) / len(votes)
    graded = sum(strength for _, strength in votes.values()) / len(votes)
    margin = _margin(columns, row) if columns.margin else abs(graded)
    pair = Pair(0, 1, target, 0.0 if target == 0.5 else margin)
    if len(coding.column) > 1:
        return Said((pair,), votes={name: vote for name, (vote, _) in votes.items()})
    return Said((pair,), {1.0: 0, 0.0: 1}.get(target))


def _pair_labels(coding: Coding, columns: Columns, width: int, values: Mapping[str, Any], row: Row) -> Said:
    """A list of codes for the pairs (1, 2), (1, 3), …, (2, 3), … of more than two responses."""
    name, labels = next(iter(values.items()))
    pairs = list(combinations(range(width), 2))
    if len(values) > 1 or columns.margin:
        raise InputError(f"{row.place}: {width} responses; their preferences are one column, without a margin column.")
    if not isinstance(labels, list) or len(labels) != len(pairs):
        raise InputError(
            f"{row.place}: {name} is {labels!r:.80}, expected {len(pairs)} values, one for each pair of {width} "
            "responses: (1, 2), (1, 3), …, (2, 3), …"
        )
    votes = [_vote(coding, label, name, row) for label in labels]
    judged = zip(pairs, votes, strict=True)
    return Said(tuple(Pair(*pair, vote[0], abs(vote[1])) for pair, vote in judged if vote is not None))


def _vote(coding: Coding, value: Any, name: str, row: Row) -> tuple[float, float] | None:
    """(P(first preferred), by how much: above 0 the first) as one person sees it; None where they did not say."""
    if _missing(value) or code(value) in coding.neither:
        return None
    if coding.scale is not None:
        surely = 1.0 - 2.0 * _number(Number((name,), coding.scale), value, name, row)
        return 0.5 + 0.5 * ((surely > 0) - (surely < 0)), surely
    meanings = {1.0: coding.first, 0.0: coding.second, 0.5: coding.tie}
    for target, codes in meanings.items():
        if code(value) in codes:
            return target, 0.0
    named = (("first", coding.first), ("second", coding.second), ("tie", coding.tie), ("neither", coding.neither))
    known = "; ".join(f"{', '.join(codes)} for {meaning}" for meaning, codes in named if codes)
    raise InputError(f"{row.place}: {name} is {value!r:.60}, expected {known}.")


def _margin(columns: Columns, row: Row) -> float:
    """How much better, 0 where nobody graded it."""
    if columns.margin is None:
        return 0.0
    name = columns.margin.column[0]
    value = _column(row.fields, name, row)
    margin = 0.0 if _missing(value) else _number(columns.margin, value, name, row)
    if margin < 0:
        raise InputError(f"{row.place}: {name} is {value!r:.60}; a margin is at least 0. Give its scale.")
    return margin


def _ratings(columns: Columns, replies: Sequence[Reply], row: Row) -> dict[str, tuple[float | None, ...]]:
    """axis -> a number for each response; an axis on which none was rated is left out."""
    found = {}
    for axis, number in columns.ratings.items():
        values = _per_response(number.column, replies, row)
        name = ", ".join(number.column)
        rated = tuple(None if _missing(value) else _number(number, value, name, row) for value in values)
        if any(each is not None for each in rated):
            found[axis] = rated
    return found


def _per_response(names: Sequence[str], replies: Sequence[Reply], row: Row) -> list[Any]:
    """What columns say of each response: one column each, one list of all, or a field of the responses themselves."""
    if any(names[0] in reply.fields for reply in replies):
        return [reply.fields.get(names[0]) for reply in replies]
    if names[0] not in row.fields and all(reply.fields for reply in replies):
        return [None] * len(replies)
    values = [_column(row.fields, name, row) for name in names]
    listed = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    if len(listed) != len(replies):
        raise InputError(f"{row.place}: {', '.join(names)} say {listed!r:.80} of {len(replies)} responses.")
    return list(listed)


def _number(number: Number, value: Any, name: str, row: Row) -> float:
    """A value as a finite number, put on its scale."""
    if number.values and code(value) not in number.values:
        raise InputError(f"{row.place}: {name} is {value!r:.60}, expected one of {', '.join(number.values)}.")
    try:
        found = float(number.values.get(code(value), value) if number.values else value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise InputError(f"{row.place}: {name} is {value!r:.60}, expected a number.")
    if number.scale is None:
        return found
    lowest, highest = number.scale
    if not min(number.scale) <= found <= max(number.scale):
        raise InputError(f"{row.place}: {name} is {value!r:.60}, outside its scale of {lowest:g} to {highest:g}.")
    return (found - lowest) / (highest - lowest)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _column(fields: Mapping[str, Any], name: str, row: Row) -> Any:
    if name not in fields:
        there = ", ".join(f"{each!s:.40}" for each in list(fields)[:20]) or "none"
        raise InputError(f"{row.place}: there is no column {name!r} (--columns). Its columns are {there}.")
    return fields[name]


def _decoded(row: Row, name: str) -> Any:
    value = _column(row.fields, name, row)
    try:
        return json_value(value) if isinstance(value, str) else value
    except ValueError as error:
        raise InputError(f"{row.place}: {name} is not JSON ({why_not_json(error)}): {value!r:.80}.") from error
