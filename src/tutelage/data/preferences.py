"""Rows of any known shape -> comparisons, rankings, ratings and rule verdicts: what people said of replies.

The shapes are TRL's column names, the text of HH-RLHF, comparison records (docs/data.md), or what `columns` describes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from tutelage.data import mapped, published, talks
from tutelage.data.columns import Columns, code
from tutelage.data.errors import InputError, Unusable
from tutelage.data.files import ReadReport, Row
from tutelage.data.questions import Pair, Question, chosen, ranked
from tutelage.data.records import Comparison, of_table
from tutelage.data.sources import (
    PAIR,
    RECORD,
    match_shape,
    other_columns,
    prompt_of_record,
    read_all,
    read_pair,
    read_prompt,
    read_record,
    read_sides,
    read_string,
    wrong_columns,
)

if TYPE_CHECKING:  # it brings torch; a page that only asks about pairs does without
    from tutelage.data.tokens import Codec

CHOICE, LABELLED = ("prompt", "responses", "choice"), ("prompt", "completion", "label")
COMPARISONS = (RECORD, CHOICE, LABELLED, PAIR, *published.SHAPES)
LABELS = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}


def comparisons(
    source: str, codec: Codec, columns: Columns | None = None, limit: int | None = None
) -> tuple[list[Question], ReadReport]:
    """Questions of whatever shape `columns` describes; without it, of one of the shapes that are known by name.

    Those are prompt/chosen/rejected, chosen/rejected, HH-RLHF text, prompt/responses/choice, prompt/completion/label
    and our records. A row of a tree is one question for each of its messages that was answered.

    limit: the tokens that a model will read of a prompt and a reply; a question whose replies differ only in what is
    cut off is dropped and counted
    """
    if columns is not None:
        parts = partial(mapped.asked_rows, columns=columns)
        return read_all(source, codec, _apart(codec, partial(mapped.question, codec, columns), limit), parts)

    def understand(row: Row, report: ReadReport) -> Question | None:
        expected = "chosen and rejected (with or without prompt), or prompt, responses and choice"
        shape = match_shape(row, COMPARISONS, f"{expected}; or say with --columns what they mean")
        if shape == RECORD:
            return _record(codec, row, report)
        if shape == CHOICE:
            return _choice(codec, row)
        if shape == LABELLED:
            return _labelled(codec, row, report)
        if shape == PAIR:
            return read_pair(codec, row, report)
        return published.question(codec, row)

    return read_all(source, codec, _apart(codec, understand, limit))


Understand = Callable[[Row, ReadReport], Question | None]


def _apart(codec: Codec, understand: Understand, limit: int | None) -> Understand:
    """The same, and Unusable for a question whose replies are the same once they are cut to `limit` tokens."""
    from tutelage.data.truncate import refuse_same_when_cut  # it brings torch

    def read(row: Row, report: ReadReport) -> Question | None:
        found = understand(row, report)
        if found is not None:
            refuse_same_when_cut(codec, found, limit)
        return found

    return read


def rule_verdicts(source: str, codec: Codec) -> tuple[list[Question], ReadReport]:
    """Whether rules were broken: from prompt, completion, rule and broken, or the rule verdicts of our records.

    A question is one dialogue with its reply and one rule; its one "response" is the rule, rated on the axis "broken".
    """

    def understand(row: Row, report: ReadReport) -> Question | None:
        if RULED - row.fields.keys():
            raise wrong_columns(row, f"{', '.join(sorted(RULED))}, or comparison records")
        broken = LABELS.get(code(row.fields["broken"]), row.fields["broken"])
        if isinstance(broken, bool) or not isinstance(broken, (int, float)) or not 0 <= broken <= 1:
            raise InputError(f"{row.place}: broken is {broken!r:.60}, expected true or false, or a number from 0 to 1.")
        prompt, reply = read_sides(codec, row.fields["prompt"], row.fields["completion"], row)
        rule = read_string(row.fields, "rule", row)
        if not rule.strip() or not (prompt + reply).strip():
            return report.drop(row, "with an empty rule or dialogue")
        rated = {"broken": (float(broken),)}
        return Question(prompt + reply, (talks.about_rule(rule),), ratings=rated, columns={"rule": rule.strip()})

    return read_all(source, codec, understand, partial(_by_rule, codec))


RULED = {"prompt", "completion", "rule", "broken"}


def _by_rule(codec: Codec, row: Row) -> Iterable[Row]:
    """A record's rule verdicts as a row for each rule and candidate; any other row as it is."""
    row = of_table(row)
    if not {"context", "candidates", "verdict"} <= row.fields.keys():
        yield row
        return
    record = read_record(row)
    texts, prompt = {each.id: each.text for each in record.candidates}, prompt_of_record(codec, record, row)
    for rule, broken_by_id in record.verdict.rules.items():
        for each, broken in broken_by_id.items():
            if broken is None:  # whoever judged it was unsure
                continue
            about = {"prompt": prompt or "", "completion": texts[each] or "", "rule": rule, "broken": broken}
            yield Row(row.file, row.line, about)


def _choice(codec: Codec, row: Row) -> Question:
    responses, choice = row.fields["responses"], row.fields["choice"]
    if not isinstance(responses, list) or len(responses) < 2 or not all(isinstance(each, str) for each in responses):
        raise InputError(f"{row.place}: responses is {responses!r:.80}, expected a list of at least two texts.")
    if isinstance(choice, bool) or not isinstance(choice, int) or not 0 <= choice < len(responses):
        raise InputError(f"{row.place}: choice is {choice!r}, expected an index from 0 to {len(responses) - 1}.")
    if not all(each.strip() for each in responses):
        raise Unusable(talks.EMPTY_REPLY)
    prompt, pairs = read_prompt(codec, row.fields["prompt"], row), chosen(choice, len(responses))
    return Question(prompt, tuple(responses), pairs, choice, columns=other_columns(row))


def _labelled(codec: Codec, row: Row, report: ReadReport) -> Question | None:
    """TRL's unpaired preference: a reply that was good or bad, rated 1 or 0 on the axis "label"."""
    label = LABELS.get(code(row.fields["label"]))
    if label is None:
        raise InputError(f"{row.place}: label is {row.fields['label']!r:.60}, expected true or false (or 1 or 0).")
    prompt, reply = read_sides(codec, row.fields["prompt"], row.fields["completion"], row)
    if not reply.strip():
        return report.drop(row, "with an empty reply")
    return Question(prompt, (reply,), ratings={"label": (label,)}, columns=other_columns(row))


def _record(codec: Codec, row: Row, report: ReadReport) -> Question | None:
    """A `Comparison` as this project writes them; without a winner only ties and ratings teach anything here.

    An edit is a comparison: what somebody wrote instead is preferred to what they found.
    """
    record = read_record(row)
    if record.verdict.edits:
        return _edited(codec, record, row, report)
    prompt = prompt_of_record(codec, record, row)
    if prompt is None or not all(each.text for each in record.candidates):
        return report.drop(row, "of something other than texts")
    pairs, choice = _judged(record)
    ids = [each.id for each in record.candidates]
    rated = {axis: tuple(by_id.get(each) for each in ids) for axis, by_id in record.verdict.ratings.items() if by_id}
    if not pairs and not rated:
        return report.drop(row, "without a winner")
    about = {name: getattr(record.verdict, name) for name in ("rater", "rater_kind", "guideline")}
    known = {name: value for name, value in about.items() if value is not None}
    return Question(prompt, record.texts, pairs, choice, rated, columns=known)


def _edited(codec: Codec, record: Comparison, row: Row, report: ReadReport) -> Question | None:
    prompt, found = prompt_of_record(codec, record, row), record.candidates[0].text or ""
    written = record.verdict.edits.get(record.candidates[0].id, "")
    if prompt is None or not written.strip():
        return report.drop(row, "of something other than texts")
    if not found.strip():
        return report.drop(row, "of a reply written by a person, to nothing (a demonstration)")
    if written.strip() == found.strip():
        return report.drop(row, "of a reply that was left as it is")
    return Question(prompt, (written, found), chosen(0, 2), 0)


def _judged(record: Comparison) -> tuple[tuple[Pair, ...], int | None]:
    """(pairs, the chosen one): of the choice and of the ranking, which knows more; a strength of 0 is a tie."""
    verdict, width = record.verdict, len(record.candidates)
    index = {each.id: i for i, each in enumerate(record.candidates)}
    choice = index.get(verdict.choice) if verdict.choice is not None else None
    picked = chosen(choice, width) if choice is not None else ()
    places = ranked({index[each]: rank for rank, place in enumerate(verdict.ranking) for each in place})
    pairs = tuple({(each.first, each.second): each for each in (*picked, *places)}.values())
    choice = choice if set(picked) <= set(pairs) else None  # where it ties with another in the ranking
    if verdict.strength is None or len(pairs) > len(picked or pairs[:1]):  # of which pair of a ranking, nobody knows
        return pairs, choice
    if not verdict.strength:
        return tuple(each._replace(target=0.5) for each in pairs), None
    graded = (each._replace(margin=verdict.strength if each.target != 0.5 else 0.0) for each in pairs)
    return tuple(graded), choice
