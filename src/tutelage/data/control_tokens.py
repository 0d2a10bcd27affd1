"""Control tokens (`</s>`, `<|im_end|>`) that a template wrote, apart from the same letters that a person wrote.

A tokenizer reads the letters of a control token as that token wherever they stand. In what people wrote they are text:
a reply that quotes `</s>` does not end there. So a text is a plain `str`, in which nothing is a control token, or a
`TemplateText`, which knows where its template wrote them, and `encode` gives the tokens of either.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, SupportsIndex, overload

from tutelage.data.errors import InputError

Span = tuple[int, int]
FILLERS = ("0", "a", "\u2060", "~", "1", "x", "\u00b7", "q", "\u4e00")
"""One of them is put within the letters of a control token to encode them; its own tokens are then left out."""
MARKS = tuple(map(chr, range(0xFDD0, 0xFDF0)))
"""Unicode noncharacters. One that the text does not have marks where letters of a control token were broken up."""


class TemplateText(str):
    """A text that a chat template wrote.

    controls: (start, end) of each control token in it, in order; everything else is read as plain text
    messages: the talk that was written, where this is the whole text of it

    It adds, slices and compares as any text does; where it is put together in another way (`join`, `format`), the
    result is a plain `str`.
    """

    controls: tuple[Span, ...]
    messages: tuple[Mapping[str, Any], ...]

    def __new__(
        cls, text: str, controls: Iterable[Span] = (), messages: Iterable[Mapping[str, Any]] = ()
    ) -> TemplateText:
        made = super().__new__(cls, text)
        made.controls, made.messages = tuple(controls), tuple(messages)
        return made

    def __add__(self, other: str) -> TemplateText:
        return TemplateText(str(self) + str(other), (*self.controls, *_moved(controls_of(other), len(self))))

    def __radd__(self, other: str) -> TemplateText:
        return TemplateText(str(other) + str(self), (*controls_of(other), *_moved(self.controls, len(other))))

    @overload
    def __getitem__(self, key: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, key: slice) -> TemplateText: ...
    def __getitem__(self, key: SupportsIndex | slice) -> str:
        part = super().__getitem__(key)
        if not isinstance(key, slice):
            return part
        if key.step not in (None, 1):
            return TemplateText(part)
        start, stop, _ = key.indices(len(self))
        inside = ((first, last) for first, last in self.controls if start <= first and last <= stop)
        return TemplateText(part, _moved(inside, -start))


def as_value(prompt: str) -> str | list[dict[str, str]]:
    """A prompt as it stands in a file: the talk that a chat template wrote, so that reading it writes it again."""
    talk = prompt.messages if isinstance(prompt, TemplateText) else ()
    return [{"role": str(each["role"]), "content": str(each["content"])} for each in talk] or str(prompt)


def controls_of(text: str) -> tuple[Span, ...]:
    """Where the control tokens of a text are; a plain `str` has none."""
    return text.controls if isinstance(text, TemplateText) else ()


def control_pattern(tokenizer: Any) -> re.Pattern[str] | None:
    """What matches the letters of any control token, the longest first; None where the tokenizer has none.

    An unknown token of one letter is none: it stands for letters, as "?" does.
    """
    unknown = tokenizer.unk_token
    names = {str(each) for each in tokenizer.added_tokens_decoder.values() if each.special}
    names |= {str(each) for each in tokenizer.all_special_tokens}
    names = {each for each in names if each and not (len(each) == 1 and each == unknown)}
    return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True)))) if names else None


def render(
    tokenizer: Any, pattern: re.Pattern[str] | None, talk: Sequence[Mapping[str, Any]], *, ended: bool = False
) -> TemplateText:
    """The messages by the tokenizer's chat template; asked for a reply unless the talk has ended.

    Letters of control tokens in the messages are broken up on their way through the template, so that what is found
    behind it are the template's own. Whatever the template raises comes through.
    """
    mark = _mark(_letters(talk))
    broken = [_each_text(message, lambda text: _broken(pattern, text, mark)) for message in talk]
    text: str = tokenizer.apply_chat_template(broken, tokenize=False, add_generation_prompt=not ended)
    marks = _places(text, mark)
    spans = (found.span() for found in pattern.finditer(text)) if pattern else ()
    controls = [(start - bisect_left(marks, start), end - bisect_left(marks, end)) for start, end in spans]
    return TemplateText(text.replace(mark, ""), controls, talk)


def encode(tokenizer: Any, pattern: re.Pattern[str] | None, text: str, *, special: bool = True) -> list[int]:
    """The tokens of a text: control tokens where its template wrote them, and nowhere else.

    special: whether the tokenizer may put its own tokens before and behind the text
    Raises InputError where the tokenizer has no other tokens for the letters of a control token.
    """
    controls, plain = controls_of(text), str(text)
    found = [match.span() for match in pattern.finditer(plain)] if pattern else []
    if set(found) <= set(controls):
        return list(tokenizer(plain, add_special_tokens=special)["input_ids"])
    if not controls:
        options = {"split_special_tokens": True}
        bare = tokenizer(plain, add_special_tokens=False, **options)["input_ids"]
        if not control_ids(tokenizer).intersection(bare):
            return list(tokenizer(plain, add_special_tokens=special, **options)["input_ids"]) if special else list(bare)
    tokens = _with_fillers(tokenizer, pattern, text, special) if tokenizer.is_fast else None
    if tokens is None:
        names = ", ".join(sorted({plain[start:end] for start, end in found if (start, end) not in controls}))
        raise InputError(
            f"the text {plain[:60]!r} holds {names}, a control token of the tokenizer, which has no other tokens for "
            "these letters. Replace them in the data."
        )
    return tokens


def control_ids(tokenizer: Any) -> set[int]:
    """Ids of the special tokens; the unknown one is among them only where it has another meaning, too."""
    names = {name: each for name, each in tokenizer.special_tokens_map.items() if name != "unk_token"}
    listed = [each for value in names.values() for each in (value if isinstance(value, list) else [value])]
    meant = {int(tokenizer.convert_tokens_to_ids(str(each))) for each in listed}
    added = {int(index) for index, each in tokenizer.added_tokens_decoder.items() if each.special}
    return meant | (added - {tokenizer.unk_token_id})


def _with_fillers(tokenizer: Any, pattern: re.Pattern[str] | None, text: str, special: bool) -> list[int] | None:
    """The tokens, by the first filler whose own tokens can be told from those around it; None where none can."""
    mark = _mark(text)
    parts, controls, length = list[str](), set[Span](), 0
    for piece, is_control in _pieces(text):
        parts.append(piece if is_control else _broken(pattern, piece, mark))
        if is_control:
            controls.add((length, length + len(piece)))
        length += len(parts[-1])
    marked = "".join(parts)
    marks, ids = _places(marked, mark), control_ids(tokenizer)
    at_marks = {(place, place + 1) for place in marks}
    for filler in FILLERS:
        read = tokenizer(marked.replace(mark, filler), add_special_tokens=special, return_offsets_mapping=True)
        tokens = list(zip(read["input_ids"], map(tuple, read["offset_mapping"]), strict=True))
        kept = [(token, span) for token, span in tokens if span not in at_marks]
        separate = at_marks <= {span for _, span in tokens}
        grown = any(bisect_left(marks, start) < bisect_left(marks, end) for _, (start, end) in kept)
        real = any(token in ids and span[1] > span[0] and span not in controls for token, span in kept)
        if separate and not grown and not real:
            return [token for token, _ in kept]
    return None


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """(piece, whether it is a control token), in order."""
    plain, last = str(text), 0
    for start, end in controls_of(text):
        yield plain[last:start], False
        yield plain[start:end], True
        last = end
    yield plain[last:], False


def _broken(pattern: re.Pattern[str] | None, text: str, mark: str) -> str:
    """The text with a mark within the letters of each control token."""
    while pattern and any(len(found[0]) > 1 for found in pattern.finditer(text)):
        text = pattern.sub(lambda found: f"{found[0][0]}{mark}{found[0][1:]}" if len(found[0]) > 1 else found[0], text)
    return text


def _mark(text: str) -> str:
    mark = next((each for each in MARKS if each not in text), None)
    if mark is None:
        raise InputError(f"the text {text[:60]!r} holds all Unicode noncharacters from U+FDD0 to U+FDEF. Remove them.")
    return mark


def _letters(value: Any) -> str:
    """All texts in a value of lists and objects."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return "".join(map(_letters, value)) if isinstance(value, (list, tuple)) else str(value)


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """The value with every text in it changed."""
    if isinstance(value, Mapping):
        return {name: _each_text(each, change) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_each_text(each, change) for each in value]
    return change(value) if isinstance(value, str) else value


def _places(text: str, mark: str) -> list[int]:
    return [place for place, letter in enumerate(text) if letter == mark] if mark in text else []


def _moved(spans: Iterable[Span], by: int) -> tuple[Span, ...]:
    return tuple((start + by, end + by) for start, end in spans)
