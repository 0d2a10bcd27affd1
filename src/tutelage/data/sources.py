"""Rows of any known shape -> demonstrations, prompts, comparisons; what is dropped is counted, with a reason.

The shapes are TRL's column names and the text of HH-RLHF (docs/data.md). A row that cannot be understood stops the
reading; a row that is understood and holds nothing to learn from (two equal replies, an empty one) is dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from tutelage.data.errors import InputError
from tutelage.data.files import TEXT, Row, read_rows
from tutelage.data.records import Comparison, explained
from tutelage.data.tokens import Codec

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"


@dataclass(frozen=True)
class Question:
    """K replies to a prompt. target: P(first preferred) for pairs, the index of the best for more; best: its index."""

    prompt: str
    responses: tuple[str, ...]
    target: float
    best: int


@dataclass
class ReadReport:
    """How many rows were read, and how many dropped, why, and where first."""

    rows_read: int = 0
    dropped: Counter[str] = field(default_factory=Counter[str])
    first_place: dict[str, str] = field(default_factory=dict[str, str])

    def drop(self, row: Row, reason: str) -> None:
        self.dropped[reason] += 1
        self.first_place.setdefault(reason, row.place)

    def counts(self) -> dict[str, Any]:
        return {
            "rows_read": self.rows_read,
            "rows_dropped": sum(self.dropped.values()),
            "dropped_why": dict(self.dropped),
        }

    def __str__(self) -> str:
        reasons = "; ".join(f"{n} {reason} (first: {self.first_place[reason]})" for reason, n in self.dropped.items())
        return f"{self.rows_read} rows read, {sum(self.dropped.values())} dropped{': ' + reasons if reasons else ''}"


def demonstrations(source: str, codec: Codec) -> tuple[list[tuple[str, str]], ReadReport]:
    """(prompt, completion) texts from prompt/completion, messages, or plain text (its opening and the rest)."""

    def understand(row: Row, report: ReadReport) -> tuple[str, str] | None:
        fields = row.fields
        if {"prompt", "completion"} <= fields.keys():
            prompt, completion = _two_sided(codec, fields["prompt"], fields["completion"], row)
        elif "messages" in fields:
            messages = _messages(fields["messages"], row)
            prompt = _rendered(codec, messages[:-1], row)
            completion = _rendered(codec, messages, row, ended=True)[len(prompt) :]
        elif TEXT in fields:
            split = _opening(codec, _string(fields, TEXT, row), OPENING_TOKENS)
            if split is None or not split[1].strip():
                return report.drop(row, f"shorter than {OPENING_TOKENS} tokens")
            prompt, completion = split
        else:
            raise _wrong_columns(row, "prompt and completion, or messages, or text")
        return (prompt, completion) if completion.strip() else report.drop(row, "with an empty completion")

    return _all(source, understand)


def prompts(source: str, codec: Codec) -> tuple[list[str], ReadReport]:
    """Prompts from a prompt column, messages (their last turn, if the assistant's, is left out), or plain text."""

    def understand(row: Row, report: ReadReport) -> str | None:
        fields = row.fields
        if "prompt" in fields:
            return _prompt_text(codec, fields["prompt"], row)
        if "messages" in fields:
            messages = _messages(fields["messages"], row)
            asked = messages[:-1] if messages[-1]["role"] == "assistant" else messages
            return _rendered(codec, asked, row)
        if TEXT in fields:
            split = _opening(codec, _string(fields, TEXT, row), OPENING_TOKENS)
            return split[0] if split else report.drop(row, f"shorter than {OPENING_TOKENS} tokens")
        if {"chosen", "rejected"} <= fields.keys():
            question = _comparison(codec, row, report)
            return question.prompt if question else None
        raise _wrong_columns(row, "prompt, or messages, or text, or chosen and rejected")

    return _all(source, understand)


def comparisons(source: str, codec: Codec) -> tuple[list[Question], ReadReport]:
    """Questions from prompt/chosen/rejected, chosen/rejected, HH-RLHF text, prompt/responses/choice, or our records."""

    def understand(row: Row, report: ReadReport) -> Question | None:
        if {"context", "candidates", "verdict"} <= row.fields.keys():
            return _record(codec, row, report)
        if {"prompt", "responses", "choice"} <= row.fields.keys():
            return _choice(row)
        if {"chosen", "rejected"} <= row.fields.keys():
            return _comparison(codec, row, report)
        raise _wrong_columns(row, "chosen and rejected (with or without prompt), or prompt, responses and choice")

    found, report = _all(source, understand)
    widths = {len(each.responses) for each in found}
    if len(widths) > 1:
        raise InputError(f"{source}: rows compare {sorted(widths)} responses; give one number of them in a file.")
    return found, report


OPENING_TOKENS = 32


def _all(source: str, understand: Callable[[Row, ReadReport], Any]) -> tuple[list[Any], ReadReport]:
    report, found = ReadReport(), []
    for row in read_rows(source):
        report.rows_read += 1
        each = understand(row, report)
        if each is not None:
            found.append(each)
    print(f"{source}: {report}")
    if not found:
        raise InputError(f"{source}: none of its {report.rows_read} rows can be used: {report}.")
    return found, report


def _comparison(codec: Codec, row: Row, report: ReadReport) -> Question | None:
    chosen, rejected = row.fields["chosen"], row.fields["rejected"]
    if "prompt" in row.fields:
        prompt, first = _two_sided(codec, row.fields["prompt"], chosen, row)
        second = _two_sided(codec, row.fields["prompt"], rejected, row)[1]
    elif isinstance(chosen, list):
        texts = [_rendered(codec, _messages(each, row), row, ended=True) for each in (chosen, rejected)]
        prompt = _rendered(codec, _messages(chosen, row)[:-1], row)
        first, second = (text[len(prompt) :] for text in texts)
    else:
        first, second = _string(row.fields, "chosen", row), _string(row.fields, "rejected", row)
        if HUMAN in first and ASSISTANT in first:
            return _dialogue_pair(first, second, row, report)
        prompt = _common_prefix(first, second)
        first, second = first[len(prompt) :], second[len(prompt) :]
    return _pair(prompt, first, second, row, report)


def _pair(prompt: str, chosen: str, rejected: str, row: Row, report: ReadReport) -> Question | None:
    if chosen.strip() == rejected.strip():
        return report.drop(row, "with chosen equal to rejected")
    if not chosen.strip() or not rejected.strip():
        return report.drop(row, "with an empty reply")
    if not prompt:
        return report.drop(row, "without a common prompt")
    return Question(prompt, (chosen, rejected), 1.0, 0)


def _dialogue_pair(chosen: str, rejected: str, row: Row, report: ReadReport) -> Question | None:
    """HH-RLHF: split at the LAST Assistant turn; some pairs share only their first turns (Bai et al. 2022, data)."""
    sides = [text.rpartition(ASSISTANT) for text in (chosen, rejected)]
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
    target = float(choice) if len(responses) > 2 else 1.0 - choice
    return Question(_string(row.fields, "prompt", row), tuple(responses), target, choice)


def _record(codec: Codec, row: Row, report: ReadReport) -> Question | None:
    """A `Comparison` as this project writes them; without a winner only two that tie teach anything here."""
    try:
        record = Comparison.model_validate(row.fields)
    except ValidationError as error:
        raise InputError(f"{row.place}: {explained(error)} (a comparison record, docs/schema.md).") from error
    messages: list[Mapping[str, str]] = [*record.context.messages]
    prompt = _rendered(codec, messages, row) if messages else record.context.prompt
    if prompt is None or not all(each.text for each in record.candidates):
        return report.drop(row, "of something other than texts")
    if record.best is not None:
        return Question(
            prompt, record.texts, float(record.best) if len(record.texts) > 2 else 1.0 - record.best, record.best
        )
    tied = len(record.texts) == 2 and [len(place) for place in record.verdict.ranking] == [2]
    return Question(prompt, record.texts, 0.5, 0) if tied else report.drop(row, "without a winner")


def _two_sided(codec: Codec, prompt: Any, completion: Any, row: Row) -> tuple[str, str]:
    if isinstance(prompt, list):
        asked, said = _messages(prompt, row), _messages(completion, row)
        before = _rendered(codec, asked, row)
        return before, _rendered(codec, [*asked, *said], row, ended=True)[len(before) :]
    if not isinstance(prompt, str) or not isinstance(completion, str):
        raise InputError(
            f"{row.place}: prompt and reply must both be text or both lists of messages, got {prompt!r:.60}."
        )
    return prompt, completion


def _prompt_text(codec: Codec, prompt: Any, row: Row) -> str:
    text = _rendered(codec, _messages(prompt, row), row) if isinstance(prompt, list) else prompt
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{row.place}: prompt is {prompt!r:.80}, expected text or a list of messages.")
    return text


def _messages(value: Any, row: Row) -> list[Mapping[str, str]]:
    whole = isinstance(value, list) and bool(value)
    if not whole or not all(isinstance(each, dict) and {"role", "content"} <= each.keys() for each in value):
        raise InputError(f"{row.place}: expected a list of messages with role and content, got {value!r:.80}.")
    return value


def _rendered(codec: Codec, messages: list[Mapping[str, str]], row: Row, *, ended: bool = False) -> str:
    """Messages by the tokenizer's chat template; asked for a reply unless the talk has ended."""
    tokenizer: Any = codec.tokenizer
    if not tokenizer.chat_template:
        raise InputError(
            f"{row.place} holds messages, but the model's tokenizer has no chat template. Give prompt and "
            "completion as text, or a model whose tokenizer has one."
        )
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=not ended)
    end = tokenizer.eos_token
    return text.rstrip().removesuffix(end) if ended else text


def _opening(codec: Codec, text: str, tokens: int) -> tuple[str, str] | None:
    """(the text of the first tokens, the rest), or None where the text has fewer."""
    encoded = codec.prompt(text)
    if len(encoded) < tokens:
        return None
    opening = codec.text(encoded[:tokens])
    return opening, codec.text(encoded)[len(opening) :]


def _string(fields: Mapping[str, Any], name: str, row: Row) -> str:
    if not isinstance(fields[name], str):
        raise InputError(f"{row.place}: {name} is {fields[name]!r:.80}, expected text.")
    return fields[name]


def _common_prefix(first: str, second: str) -> str:
    """What both begin with, up to a blank: an implicit prompt does not end within a word."""
    length = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    cut = max(first.rfind(" ", 0, length), first.rfind("\n", 0, length))
    return first[: cut + 1]


def _wrong_columns(row: Row, expected: str) -> InputError:
    return InputError(f"{row.place}: its columns are {', '.join(map(str, row.fields)) or 'none'}; expected {expected}.")
