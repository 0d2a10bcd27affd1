"""Rows of any known shape -> demonstrations, prompts, comparisons; what is dropped is counted, with a reason.

The shapes are TRL's column names and the text of HH-RLHF (docs/data.md). A row that cannot be understood stops the
reading; a row that is understood and holds nothing to learn from (two equal replies, an empty one) is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tutelage.data import mapped, published, talks
from tutelage.data.columns import Columns, code
from tutelage.data.errors import InputError, Unusable
from tutelage.data.files import TEXT, ReadReport, Row, read_rows
from tutelage.data.letters import last_cut
from tutelage.data.questions import Pair, Question, Scalar, chosen, ranked
from tutelage.data.records import Comparison, explained, of_table
from tutelage.data.talks import ASSISTANT, HUMAN

if TYPE_CHECKING:  # it brings torch; a page that only asks about pairs does without
    from tutelage.data.tokens import Codec


def demonstrations(source: str, codec: Codec) -> tuple[list[tuple[str, str]], ReadReport]:
    """(prompt, completion) texts from prompt/completion, messages, plain text (its opening and the rest), or what
    people wrote in comparison records."""

    def understand(row: Row, report: ReadReport) -> tuple[str, str] | None:
        fields = row.fields
        shape = _shape(row, DEMONSTRATIONS, "prompt and completion, or messages, or text")
        if shape == SIDES:
            prompt, completion = _two_sided(codec, fields["prompt"], fields["completion"], row)
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
            split = _opening(codec, _string(fields, TEXT, row), OPENING_TOKENS)
            if split is None or not split[1].strip():
                return report.drop(row, f"shorter than {OPENING_TOKENS} tokens")
            prompt, completion = split
        else:
            return published.demonstration(codec, row)
        if not completion.strip():
            return report.drop(row, talks.EMPTY_REPLY)
        return (prompt, completion) if _has_state(codec, prompt) else report.drop(row, "with an empty prompt")

    return _all(source, codec, understand)


def _has_state(codec: Codec, prompt: str) -> bool:
    """Whether there is a token before the first one that is learned; some tokenizers begin every text with one."""
    return bool(prompt) or codec.tokenizer.bos_token_id in codec.tokenizer("")["input_ids"]


def _written(codec: Codec, row: Row) -> tuple[str, str] | None:
    """What a person wrote or edited, of a comparison record."""
    record = _valid(row)
    prompt = _asked(codec, record, row)
    return next(((prompt, text) for text in record.verdict.edits.values() if prompt is not None), None)


def prompts(source: str, codec: Codec) -> tuple[list[str], ReadReport]:
    """Prompts from a prompt column, messages (their last turn, if the assistant's, is left out), or plain text."""

    def understand(row: Row, report: ReadReport) -> str | None:
        fields = row.fields
        shape = _shape(row, PROMPTS, "prompt, or messages, or text, or chosen and rejected")
        if shape == ONE_PROMPT:
            return _prompt_text(codec, fields["prompt"], row)
        if shape == MESSAGES:
            talk = talks.messages(fields["messages"], row)
            return talks.rendered(codec, talks.to_answer(talk, answered=True), row)
        if shape == PLAIN:
            split = _opening(codec, _string(fields, TEXT, row), OPENING_TOKENS)
            return split[0] if split else report.drop(row, f"shorter than {OPENING_TOKENS} tokens")
        if shape == PAIR_OF_TALKS:
            if isinstance(fields["prompt"], str) and isinstance(fields["chosen"], list):
                talks.need_template(codec, row)
                return talks.rendered(codec, talks.split_sides(fields["prompt"], fields["chosen"], row)[0], row)
            return _prompt_text(codec, fields["prompt"], row)
        if shape == PAIR:
            question = _comparison(codec, row, report)
            return question.prompt if question else None
        return published.prompt(codec, row)

    return _all(source, codec, understand)


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
        return _all(source, codec, _apart(codec, partial(mapped.question, codec, columns), limit), parts)

    def understand(row: Row, report: ReadReport) -> Question | None:
        expected = "chosen and rejected (with or without prompt), or prompt, responses and choice"
        shape = _shape(row, COMPARISONS, f"{expected}; or say with --columns what they mean")
        if shape == RECORD:
            return _record(codec, row, report)
        if shape == CHOICE:
            return _choice(codec, row)
        if shape == LABELLED:
            return _labelled(codec, row, report)
        if shape == PAIR:
            return _comparison(codec, row, report)
        return published.question(codec, row)

    return _all(source, codec, _apart(codec, understand, limit))


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
            raise _wrong_columns(row, f"{', '.join(sorted(RULED))}, or comparison records")
        broken = LABELS.get(code(row.fields["broken"]), row.fields["broken"])
        if isinstance(broken, bool) or not isinstance(broken, (int, float)) or not 0 <= broken <= 1:
            raise InputError(f"{row.place}: broken is {broken!r:.60}, expected true or false, or a number from 0 to 1.")
        prompt, reply = _two_sided(codec, row.fields["prompt"], row.fields["completion"], row)
        rule = _string(row.fields, "rule", row)
        if not rule.strip() or not (prompt + reply).strip():
            return report.drop(row, "with an empty rule or dialogue")
        rated = {"broken": (float(broken),)}
        return Question(prompt + reply, (talks.about_rule(rule),), ratings=rated, columns={"rule": rule.strip()})

    return _all(source, codec, understand, partial(_by_rule, codec))


RULED = {"prompt", "completion", "rule", "broken"}


def _by_rule(codec: Codec, row: Row) -> Iterable[Row]:
    """A record's rule verdicts as a row for each rule and candidate; any other row as it is."""
    row = of_table(row)
    if not {"context", "candidates", "verdict"} <= row.fields.keys():
        yield row
        return
    record = _valid(row)
    texts, prompt = {each.id: each.text for each in record.candidates}, _asked(codec, record, row)
    for rule, broken_by_id in record.verdict.rules.items():
        for each, broken in broken_by_id.items():
            if broken is None:  # whoever judged it was unsure
                continue
            about = {"prompt": prompt or "", "completion": texts[each] or "", "rule": rule, "broken": broken}
            yield Row(row.file, row.line, about)


OPENING_TOKENS = 32
KNOWN = {"prompt", "completion", "label", "chosen", "rejected", "responses", "choice", "messages"}
LABELS = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}

# The columns that say what a row is, the first that fits; null ones do not count.
SIDES, MESSAGES, PLAIN, ONE_PROMPT = ("prompt", "completion"), ("messages",), (TEXT,), ("prompt",)
RECORD, CHOICE = ("context", "candidates", "verdict"), ("prompt", "responses", "choice")
LABELLED, PAIR = ("prompt", "completion", "label"), ("chosen", "rejected")
PAIR_OF_TALKS = ("prompt", *PAIR)
DEMONSTRATIONS = (SIDES, RECORD, MESSAGES, PLAIN, *published.SHAPES)
PROMPTS = (PAIR_OF_TALKS, ONE_PROMPT, MESSAGES, PLAIN, PAIR, *published.SHAPES)
COMPARISONS = (RECORD, CHOICE, LABELLED, PAIR, *published.SHAPES)


def _shape(row: Row, shapes: Sequence[tuple[str, ...]], expected: str) -> tuple[str, ...]:
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
    raise _wrong_columns(row, expected)


def _as_it_is(row: Row) -> Iterable[Row]:
    return (of_table(row),)


def _all(
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


def _comparison(codec: Codec, row: Row, report: ReadReport) -> Question | None:
    better, worse, prompt = row.fields["chosen"], row.fields["rejected"], row.fields.get("prompt")
    if prompt is None and isinstance(better, list):
        asked, said = talks.split_reply(talks.messages(better, row))
        others, other = talks.split_reply(talks.messages(worse, row))
        return _pair_of_talks(codec, (asked, others), ([said], [other]), row, report)
    if prompt is not None and any(isinstance(each, list) for each in (prompt, better, worse)):
        asked, others = (talks.split_sides(prompt, each, row) for each in (better, worse))
        return _pair_of_talks(codec, (asked[0], others[0]), (asked[1], others[1]), row, report)
    first, second = _string(row.fields, "chosen", row), _string(row.fields, "rejected", row)
    if prompt is not None:
        return _pair(_string(row.fields, "prompt", row), first, second, row, report)
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
    return Question(prompt, (better, worse), chosen(0, 2), 0, columns=_others(row))


def _dialogue_pair(better: str, worse: str, row: Row, report: ReadReport) -> Question | None:
    """HH-RLHF: split at the LAST Assistant turn; some pairs share only their first turns (Bai et al. 2022, data)."""
    sides = [text.rpartition(ASSISTANT) for text in (better, worse)]
    prompts = [before + ASSISTANT for before, _, _ in sides]
    if prompts[0] != prompts[1]:
        return report.drop(row, "whose two sides answer different prompts")
    return _pair(prompts[0], sides[0][2], sides[1][2], row, report)


def _choice(codec: Codec, row: Row) -> Question:
    responses, choice = row.fields["responses"], row.fields["choice"]
    if not isinstance(responses, list) or len(responses) < 2 or not all(isinstance(each, str) for each in responses):
        raise InputError(f"{row.place}: responses is {responses!r:.80}, expected a list of at least two texts.")
    if isinstance(choice, bool) or not isinstance(choice, int) or not 0 <= choice < len(responses):
        raise InputError(f"{row.place}: choice is {choice!r}, expected an index from 0 to {len(responses) - 1}.")
    if not all(each.strip() for each in responses):
        raise Unusable(talks.EMPTY_REPLY)
    prompt, pairs = _prompt_text(codec, row.fields["prompt"], row), chosen(choice, len(responses))
    return Question(prompt, tuple(responses), pairs, choice, columns=_others(row))


def _labelled(codec: Codec, row: Row, report: ReadReport) -> Question | None:
    """TRL's unpaired preference: a reply that was good or bad, rated 1 or 0 on the axis "label"."""
    label = LABELS.get(code(row.fields["label"]))
    if label is None:
        raise InputError(f"{row.place}: label is {row.fields['label']!r:.60}, expected true or false (or 1 or 0).")
    prompt, reply = _two_sided(codec, row.fields["prompt"], row.fields["completion"], row)
    if not reply.strip():
        return report.drop(row, "with an empty reply")
    return Question(prompt, (reply,), ratings={"label": (label,)}, columns=_others(row))


def _record(codec: Codec, row: Row, report: ReadReport) -> Question | None:
    """A `Comparison` as this project writes them; without a winner only ties and ratings teach anything here.

    An edit is a comparison: what somebody wrote instead is preferred to what they found.
    """
    record = _valid(row)
    if record.verdict.edits:
        return _edited(codec, record, row, report)
    prompt = _asked(codec, record, row)
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
    prompt, found = _asked(codec, record, row), record.candidates[0].text or ""
    written = record.verdict.edits.get(record.candidates[0].id, "")
    if prompt is None or not written.strip():
        return report.drop(row, "of something other than texts")
    if not found.strip():
        return report.drop(row, "of a reply written by a person, to nothing (a demonstration)")
    if written.strip() == found.strip():
        return report.drop(row, "of a reply that was left as it is")
    return Question(prompt, (written, found), chosen(0, 2), 0)


def _valid(row: Row) -> Comparison:
    try:
        return Comparison.model_validate(_without_nulls(row.fields))
    except ValidationError as error:
        raise InputError(f"{row.place}: {explained(error)} (a comparison record, docs/schema.md).") from error


def _without_nulls(value: Any) -> Any:
    """Where records of several kinds are concatenated, a field that is absent is null; an unsure rule is, too."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _asked(codec: Codec, record: Comparison, row: Row) -> str | None:
    talk = record.context.messages
    return talks.rendered(codec, talks.to_answer(talk), row) if talk else record.context.prompt


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


def _others(row: Row) -> dict[str, Scalar]:
    return mapped.others(row.fields, KNOWN)


def _two_sided(codec: Codec, prompt: Any, completion: Any, row: Row) -> tuple[str, str]:
    if isinstance(prompt, list) or isinstance(completion, list):
        talks.need_template(codec, row)
        asked, said = talks.split_sides(prompt, completion, row)
        return talks.rendered(codec, asked, row), talks.reply(codec, asked, [*asked, *said], row)
    if not isinstance(prompt, str) or not isinstance(completion, str):
        raise InputError(
            f"{row.place}: prompt and reply must both be text or both lists of messages, got {prompt!r:.60}."
        )
    return prompt, completion


def _prompt_text(codec: Codec, prompt: Any, row: Row) -> str:
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


def _string(fields: Mapping[str, Any], name: str, row: Row) -> str:
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


def _wrong_columns(row: Row, expected: str) -> InputError:
    return InputError(f"{row.place}: its columns are {row.columns}; expected {expected}.")
