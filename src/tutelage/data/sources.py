"""Rows of any known shape -> demonstrations and prompts; what is dropped is counted, with a reason.

Comparisons are read by `preferences`, from the same rows.

The shapes are TRL's column names and the text of HH-RLHF (docs/data.md). A row that cannot be understood stops the
reading; a row that is understood and holds nothing to learn from (two equal replies, an empty one) is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tutelage.data import published, talks
from tutelage.data.errors import InputError, Unusable
from tutelage.data.files import TEXT, ReadReport, Row, read_rows
from tutelage.data.letters import last_cut
from tutelage.data.questions import Question, Scalar, chosen, plain_values
from tutelage.data.records import Comparison, explained, of_table
from tutelage.data.talks import ASSISTANT, HUMAN

if TYPE_CHECKING:  # it brings torch; a page that only asks about pairs does without
    from tutelage.data.tokens import Codec


def demonstrations(source: str, codec: Codec) -> tuple[list[tuple[str, str]], ReadReport]:
    """(prompt, completion) texts from prompt/completion, messages, plain text (its opening and the rest), or what
    people wrote in comparison records."""

    def understand(row: Row, report: ReadReport) -> tuple[str, str] | None:
        fields = row.fields
        shape = match_shape(row, DEMONSTRATIONS, "prompt and completion, or messages, or text")
        if shape == SIDES:
            prompt, completion = read_sides(codec, fields["prompt"], fields["completion"], row)
        elif shape == RECORD:
            written = _written(codec, row)
            if written is None:
                return report.drop(row, "in which nobody wrote or edited a reply")
            prompt, completion = written
        elif shape == MESSAGES:
            talks.need_template(codec, row)
            asked, said = talks.split_reply(talks.messages(fields["messages"], row))
            prompt, completion = talks.rendered(codec, asked, row), talks.reply(codec, asked, [*asked, said], row)
        elif shape == PLAIN:
            split = _opening(codec, read_string(fields, TEXT, row), OPENING_TOKENS)
            if split is None or not split[1].strip():
                return report.drop(row, f"shorter than {OPENING_TOKENS} tokens")
            prompt, completion = split
        else:
            return published.demonstration(codec, row)
        if not completion.strip():
            return report.drop(row, talks.EMPTY_REPLY)
        return (prompt, completion) if _has_state(codec, prompt) else report.drop(row, "with an empty prompt")

    return read_all(source, codec, understand)


def _has_state(codec: Codec, prompt: str) -> bool:
    """Whether there is a token before the first one that is learned; some tokenizers begin every text with one."""
    return bool(prompt) or codec.tokenizer.bos_token_id in codec.tokenizer("")["input_ids"]


def _written(codec: Codec, row: Row) -> tuple[str, str] | None:
    """What a person wrote or edited, of a comparison record."""
    record = read_record(row)
    prompt = prompt_of_record(codec, record, row)
    return next(((prompt, text) for text in record.verdict.edits.values() if prompt is not None), None)


def prompts(source: str, codec: Codec) -> tuple[list[str], ReadReport]:
    """Prompts from a prompt column, messages (their last turn, if the assistant's, is left out), or plain text."""

    def understand(row: Row, report: ReadReport) -> str | None:
        fields = row.fields
        shape = match_shape(row, PROMPTS, "prompt, or messages, or text, or chosen and rejected")
        if shape == ONE_PROMPT:
            return read_prompt(codec, fields["prompt"], row)
        if shape == MESSAGES:
            talk = talks.messages(fields["messages"], row)
            return talks.rendered(codec, talks.to_answer(talk, answered=True), row)
        if shape == PLAIN:
            split = _opening(codec, read_string(fields, TEXT, row), OPENING_TOKENS)
            return split[0] if split else report.drop(row, f"shorter than {OPENING_TOKENS} tokens")
        if shape == PAIR_OF_TALKS:
            if isinstance(fields["prompt"], str) and isinstance(fields["chosen"], list):
                talks.need_template(codec, row)
                return talks.rendered(codec, talks.split_sides(fields["prompt"], fields["chosen"], row)[0], row)
            return read_prompt(codec, fields["prompt"], row)
        if shape == PAIR:
            question = read_pair(codec, row, report)
            return question.prompt if question else None
        return published.prompt(codec, row)

    return read_all(source, codec, understand)


OPENING_TOKENS = 32
KNOWN = {"prompt", "completion", "label", "chosen", "rejected", "responses", "choice", "messages"}

# The columns that say what a row is, the first that fits; null ones do not count.
SIDES, MESSAGES, PLAIN, ONE_PROMPT = ("prompt", "completion"), ("messages",), (TEXT,), ("prompt",)
RECORD = ("context", "candidates", "verdict")
PAIR = ("chosen", "rejected")
PAIR_OF_TALKS = ("prompt", *PAIR)
DEMONSTRATIONS = (SIDES, RECORD, MESSAGES, PLAIN, *published.SHAPES)
PROMPTS = (PAIR_OF_TALKS, ONE_PROMPT, MESSAGES, PLAIN, PAIR, *published.SHAPES)


def match_shape(row: Row, shapes: Sequence[tuple[str, ...]], expected: str) -> tuple[str, ...]:
    """The first shape whose columns all hold something; in CSV an absent column is empty.

    Unusable where only nulls stand in the columns of a shape, InputError where there is none.
    """
    given = {name for name, value in row.fields.items() if value is not None}
    filled = {name for name in given if row.fields[name] != ""}
    for there in (filled, given) if row.is_table else (given,):
        for shape in shapes:
            if there.issuperset(shape):
                return shape
    for shape in shapes:
        if row.fields.keys() >= set(shape):
            raise Unusable(f"whose {next(name for name in shape if name not in given)} is null")
    raise wrong_columns(row, expected)


def _as_it_is(row: Row) -> Iterable[Row]:
    return (of_table(row),)


def read_all(
    source: str,
    codec: Codec,
    understand: Callable[[Row, ReadReport], Any],
    parts: Callable[[Row], Iterable[Row]] = _as_it_is,
) -> tuple[list[Any], ReadReport]:
    """What is understood of every row, or of every part of every row; each counts as read."""
    report, found = ReadReport(), []
    for row in _parts(source, parts, report):
        report.rows_read += 1
        try:
            each = understand(row, report)
        except Unusable as reason:
            each = report.drop(row, str(reason))
        if each is not None:
            found.append(each)
            report.note_controls(row, codec.controls)
    print(f"{source}: {report}")
    if not found:
        raise InputError(f"{source}: none of its {report.rows_read} rows can be used: {report}.")
    return found, report


def _parts(source: str, parts: Callable[[Row], Iterable[Row]], report: ReadReport) -> Iterator[Row]:
    """The parts of every row; one that has none to give for a reason is read and dropped."""
    for whole in read_rows(source):
        try:
            yield from parts(whole)
        except Unusable as reason:
            report.rows_read += 1
            report.drop(whole, str(reason))


def read_pair(codec: Codec, row: Row, report: ReadReport) -> Question | None:
    better, worse, prompt = row.fields["chosen"], row.fields["rejected"], row.fields.get("prompt")
    if prompt is None and isinstance(better, list):
        asked, said = talks.split_reply(talks.messages(better, row))
        others, other = talks.split_reply(talks.messages(worse, row))
        return _pair_of_talks(codec, (asked, others), ([said], [other]), row, report)
    if prompt is not None and any(isinstance(each, list) for each in (prompt, better, worse)):
        asked, others = (talks.split_sides(prompt, each, row) for each in (better, worse))
        return _pair_of_talks(codec, (asked[0], others[0]), (asked[1], others[1]), row, report)
    first, second = read_string(row.fields, "chosen", row), read_string(row.fields, "rejected", row)
    if prompt is not None:
        return _pair(read_string(row.fields, "prompt", row), first, second, row, report)
    if HUMAN in first and ASSISTANT in first:
        return _dialogue_pair(first, second, row, report)
    shared = common_prefix(first, second)
    return _pair(shared, first[len(shared) :], second[len(shared) :], row, report)


Turns = Sequence[Mapping[str, Any]]


def _pair_of_talks(
    codec: Codec, asked: tuple[Turns, Turns], said: tuple[Turns, Turns], row: Row, report: ReadReport
) -> Question | None:
    if asked[0] != asked[1]:
        return report.drop(row, "whose two sides answer different prompts")
    prompt = talks.rendered(codec, asked[0], row)
    first, second = (talks.reply(codec, asked[0], [*asked[0], *each], row) for each in said)
    return _pair(prompt, first, second, row, report)


def _pair(prompt: str, better: str, worse: str, row: Row, report: ReadReport) -> Question | None:
    if better.strip() == worse.strip():
        return report.drop(row, "with chosen equal to rejected")
    if not better.strip() or not worse.strip():
        return report.drop(row, "with an empty reply")
    if not prompt:
        return report.drop(row, "without a common prompt")
    return Question(prompt, (better, worse), chosen(0, 2), 0, columns=other_columns(row))


def _dialogue_pair(better: str, worse: str, row: Row, report: ReadReport) -> Question | None:
    """HH-RLHF: split at the LAST Assistant turn; some pairs share only their first turns (Bai et al. 2022, data)."""
    sides = [text.rpartition(ASSISTANT) for text in (better, worse)]
    prompts = [before + ASSISTANT for before, _, _ in sides]
    if prompts[0] != prompts[1]:
        return report.drop(row, "whose two sides answer different prompts")
    return _pair(prompts[0], sides[0][2], sides[1][2], row, report)


def read_record(row: Row) -> Comparison:
    try:
        return Comparison.model_validate(_without_nulls(row.fields))
    except ValidationError as error:
        raise InputError(f"{row.place}: {explained(error)} (a comparison record, docs/schema.md).") from error


def _without_nulls(value: Any) -> Any:
    """Where records of several kinds are concatenated, a field that is absent is null; an unsure rule is, too."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def prompt_of_record(codec: Codec, record: Comparison, row: Row) -> str | None:
    talk = record.context.messages
    return talks.rendered(codec, talks.to_answer(talk), row) if talk else record.context.prompt


def other_columns(row: Row) -> dict[str, Scalar]:
    return plain_values(row.fields, KNOWN)


def read_sides(codec: Codec, prompt: Any, completion: Any, row: Row) -> tuple[str, str]:
    if isinstance(prompt, list) or isinstance(completion, list):
        talks.need_template(codec, row)
        asked, said = talks.split_sides(prompt, completion, row)
        return talks.rendered(codec, asked, row), talks.reply(codec, asked, [*asked, *said], row)
    if not isinstance(prompt, str) or not isinstance(completion, str):
        raise InputError(
            f"{row.place}: prompt and reply must both be text or both lists of messages, got {prompt!r:.60}."
        )
    return prompt, completion


def read_prompt(codec: Codec, prompt: Any, row: Row) -> str:
    if isinstance(prompt, list):
        return talks.rendered(codec, talks.to_answer(talks.messages(prompt, row)), row)
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError(f"{row.place}: prompt is {prompt!r:.80}, expected text or a list of messages.")
    return prompt


def _opening(codec: Codec, text: str, tokens: int) -> tuple[str, str] | None:
    """(the text of about the first tokens, the rest), cut behind a letter; None where the text has fewer tokens."""
    encoded = codec.prompt(text) if text else []
    if len(encoded) < tokens:
        return None
    opening = codec.text(encoded[: last_cut(codec.tokenizer, encoded, tokens)])
    whole = text if text.startswith(opening) else codec.text(encoded)  # a tokenizer may lose capitals or blanks
    return opening, whole[len(opening) :]


def read_string(fields: Mapping[str, Any], name: str, row: Row) -> str:
    if not isinstance(fields[name], str):
        raise InputError(f"{row.place}: {name} is {fields[name]!r:.80}, expected text.")
    return fields[name]


def common_prefix(first: str, second: str) -> str:
    """What both begin with, up to a blank: an implicit prompt does not end within a word."""
    length = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    cut = max(first.rfind(" ", 0, length), first.rfind("\n", 0, length))
    return first[: cut + 1]


def wrong_columns(row: Row, expected: str) -> InputError:
    return InputError(f"{row.place}: its columns are {row.columns}; expected {expected}.")
