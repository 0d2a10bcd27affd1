"""Rows of any known shape -> demonstrations, prompts, comparisons; what is dropped is counted, with a reason.

The shapes are TRL's column names and the text of HH-RLHF (docs/data.md). A row that cannot be understood stops the
reading; a row that is understood and holds nothing to learn from (two equal replies, an empty one) is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tutelage.data import mapped, talks
from tutelage.data.columns import Columns, code
from tutelage.data.errors import InputError
from tutelage.data.files import TEXT, ReadReport, Row, read_rows
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
        if {"prompt", "completion"} <= fields.keys():
            prompt, completion = _two_sided(codec, fields["prompt"], fields["completion"], row)
        elif {"context", "candidates", "verdict"} <= fields.keys():
            written = _written(codec, row)
            if written is None:
                return report.drop(row, "in which nobody wrote or edited a reply")
            prompt, completion = written
        elif "messages" in fields:
            messages = talks.messages(fields["messages"], row)
            prompt = talks.rendered(codec, messages[:-1], row)
            completion = talks.reply(codec, messages[:-1], messages, row)
        elif TEXT in fields:
            split = _opening(codec, _string(fields, TEXT, row), OPENING_TOKENS)
            if split is None or not split[1].strip():
                return report.drop(row, f"shorter than {OPENING_TOKENS} tokens")
            prompt, completion = split
        else:
            raise _wrong_columns(row, "prompt and completion, or messages, or text")
        return (prompt, completion) if completion.strip() else report.drop(row, "with an empty completion")

    return _all(source, understand)


def _written(codec: Codec, row: Row) -> tuple[str, str] | None:
    """What a person wrote or edited, of a comparison record."""
    record = _valid(row)
    prompt = _asked(codec, record, row)
    return next(((prompt, text) for text in record.verdict.edits.values() if prompt is not None), None)


def prompts(source: str, codec: Codec) -> tuple[list[str], ReadReport]:
    """Prompts from a prompt column, messages (their last turn, if the assistant's, is left out), or plain text."""

    def understand(row: Row, report: ReadReport) -> str | None:
        fields = row.fields
        if "prompt" in fields:
            return _prompt_text(codec, fields["prompt"], row)
        if "messages" in fields:
            messages = talks.messages(fields["messages"], row)
            asked = messages[:-1] if messages[-1]["role"] == "assistant" else messages
            return talks.rendered(codec, asked, row)
        if TEXT in fields:
            split = _opening(codec, _string(fields, TEXT, row), OPENING_TOKENS)
            return split[0] if split else report.drop(row, f"shorter than {OPENING_TOKENS} tokens")
        if {"chosen", "rejected"} <= fields.keys():
            question = _comparison(codec, row, report)
            return question.prompt if question else None
        raise _wrong_columns(row, "prompt, or messages, or text, or chosen and rejected")

    return _all(source, understand)


def comparisons(source: str, codec: Codec, columns: Columns | None = None) -> tuple[list[Question], ReadReport]:
    """Questions of whatever shape `columns` describes; without it, of one of the shapes that are known by name.

    Those are prompt/chosen/rejected, chosen/rejected, HH-RLHF text, prompt/responses/choice, prompt/completion/label
    and our records. A row of a tree is one question for each of its messages that was answered.
    """
    if columns is not None:
        return _all(source, partial(mapped.question, codec, columns), partial(mapped.asked_rows, columns=columns))

    def understand(row: Row, report: ReadReport) -> Question | None:
        if {"context", "candidates", "verdict"} <= row.fields.keys():
            return _record(codec, row, report)
        if {"prompt", "responses", "choice"} <= row.fields.keys():
            return _choice(row)
        if {"prompt", "completion", "label"} <= row.fields.keys():
            return _labelled(codec, row, report)
        if {"chosen", "rejected"} <= row.fields.keys():
            return _comparison(codec, row, report)
        expected = "chosen and rejected (with or without prompt), or prompt, responses and choice"
        raise _wrong_columns(row, f"{expected}; or say with --columns what they mean")

    return _all(source, understand)


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

    return _all(source, understand, partial(_by_rule, codec))


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
KNOWN = {"prompt", "completion", "label", "chosen", "rejected", "responses", "choice"}
LABELS = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}


def _as_it_is(row: Row) -> Iterable[Row]:
    return (of_table(row),)


def _all(
    source: str,
    understand: Callable[[Row, ReadReport], Any],
    parts: Callable[[Row], Iterable[Row]] = _as_it_is,
) -> tuple[list[Any], ReadReport]:
    """What is understood of every row, or of every part of every row; each counts as read."""
    report, found = ReadReport(), []
    for row in (part for whole in read_rows(source) for part in parts(whole)):
        report.rows_read += 1
        each = understand(row, report)
        if each is not None:
            found.append(each)
    print(f"{source}: {report}")
    if not found:
        raise InputError(f"{source}: none of its {report.rows_read} rows can be used: {report}.")
    return found, report


def _comparison(codec: Codec, row: Row, report: ReadReport) -> Question | None:
    better, worse = row.fields["chosen"], row.fields["rejected"]
    if "prompt" in row.fields:
        prompt, first = _two_sided(codec, row.fields["prompt"], better, row)
        second = _two_sided(codec, row.fields["prompt"], worse, row)[1]
    elif isinstance(better, list):
        asked, *others = (talks.messages(each, row)[:-1] for each in (better, worse))
        if [asked] != others:
            return report.drop(row, "whose two sides answer different prompts")
        prompt = talks.rendered(codec, asked, row)
        first, second = (talks.reply(codec, asked, each, row) for each in (better, worse))
    else:
        first, second = _string(row.fields, "chosen", row), _string(row.fields, "rejected", row)
        if HUMAN in first and ASSISTANT in first:
            return _dialogue_pair(first, second, row, report)
        prompt = common_prefix(first, second)
        first, second = first[len(prompt) :], second[len(prompt) :]
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


def _choice(row: Row) -> Question:
    responses, choice = row.fields["responses"], row.fields["choice"]
    if not isinstance(responses, list) or len(responses) < 2 or not all(isinstance(each, str) for each in responses):
        raise InputError(f"{row.place}: responses is {responses!r:.80}, expected a list of at least two texts.")
    if isinstance(choice, bool) or not isinstance(choice, int) or not 0 <= choice < len(responses):
        raise InputError(f"{row.place}: choice is {choice!r}, expected an index from 0 to {len(responses) - 1}.")
    pairs = chosen(choice, len(responses))
    return Question(_string(row.fields, "prompt", row), tuple(responses), pairs, choice, columns=_others(row))


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
        return Comparison.model_validate(row.fields)
    except ValidationError as error:
        raise InputError(f"{row.place}: {explained(error)} (a comparison record, docs/schema.md).") from error


def _asked(codec: Codec, record: Comparison, row: Row) -> str | None:
    messages: list[Mapping[str, str]] = [*record.context.messages]
    return talks.rendered(codec, messages, row) if messages else record.context.prompt


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
    if isinstance(prompt, list):
        asked, said = talks.messages(prompt, row), talks.messages(completion, row)
        return talks.rendered(codec, asked, row), talks.reply(codec, asked, [*asked, *said], row)
    if not isinstance(prompt, str) or not isinstance(completion, str):
        raise InputError(
            f"{row.place}: prompt and reply must both be text or both lists of messages, got {prompt!r:.60}."
        )
    return prompt, completion


def _prompt_text(codec: Codec, prompt: Any, row: Row) -> str:
    text = talks.rendered(codec, talks.messages(prompt, row), row) if isinstance(prompt, list) else prompt
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{row.place}: prompt is {prompt!r:.80}, expected text or a list of messages.")
    return text


def _opening(codec: Codec, text: str, tokens: int) -> tuple[str, str] | None:
    """(the text of the first tokens, the rest), or None where the text has fewer."""
    encoded = codec.prompt(text) if text else []
    if len(encoded) < tokens:
        return None
    opening = codec.text(encoded[:tokens])
    return opening, codec.text(encoded)[len(opening) :]


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
