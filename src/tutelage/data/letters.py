"""Where tokens can be cut without dividing a letter.

A byte-level tokenizer may write one letter in several tokens, and a letter may be several code points: an accent that
combines, a flag, a family of emoji. Cut within one, neither side is what was written. A letter is here an extended
grapheme cluster (Unicode Standard Annex 29).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import regex

WINDOW = 64  # tokens on either side of a cut that are looked at
CLUSTER, FLAG = regex.compile(r"\X"), regex.compile(r"\p{Regional_Indicator}")
LOST = "\ufffd"
LOST_AT_START = 5  # letters: up to three bytes of one that the window divides, then two


def next_cut(tokenizer: Any, tokens: Sequence[int], place: int) -> int:
    """The first place from `place` on before which tokens can be cut, `len(tokens)` at the latest."""
    return next(
        (each for each in range(place, min(len(tokens), place + WINDOW)) if can_cut(tokenizer, tokens, each)), place
    )


def last_cut(tokenizer: Any, tokens: Sequence[int], place: int) -> int:
    """The last place up to `place` before which tokens can be cut, or the next one where there is none before it."""
    before = range(place, max(0, place - WINDOW), -1)
    found = next((each for each in before if can_cut(tokenizer, tokens, each)), None)
    return next_cut(tokenizer, tokens, place) if found is None else found


def can_cut(tokenizer: Any, tokens: Sequence[int], place: int) -> bool:
    """Whether tokens[:place] ends where a letter ends."""
    if place <= 0 or place >= len(tokens):
        return True
    start, end = _window(tokenizer, tokens, place)
    whole, left = _decode(tokenizer, tokens[start:end]), _decode(tokenizer, tokens[start:place])
    if not whole.startswith(left) or (left.endswith(LOST) and not _is_rest(tokenizer, tokens[place:end], whole, left)):
        return False
    return any(found.end() == len(left) for found in CLUSTER.finditer(whole)) or not left


def _is_rest(tokenizer: Any, tokens: Sequence[int], whole: str, left: str) -> bool:
    """Whether the tokens are what follows: a text that holds U+FFFD itself looks like one whose bytes were cut."""
    return _decode(tokenizer, tokens).lstrip() == whole[len(left) :].lstrip()


def _window(tokenizer: Any, tokens: Sequence[int], place: int) -> tuple[int, int]:
    """(start, end) around the place, themselves between letters where that can be told: the fewest bytes are lost.

    Flags are pairs of letters, so a window does not begin among them.
    """
    first, last = max(0, place - WINDOW), min(len(tokens), place + WINDOW)
    while first and FLAG.search(_decode(tokenizer, tokens[first:last])[:LOST_AT_START]):
        first = max(0, first - WINDOW)
    if LOST not in _decode(tokenizer, tokens[first:last]):
        return first, last
    pairs = product(range(first, first + 4), range(last, last - 4, -1))
    around = ((start, end) for start, end in pairs if start < place < end)
    return min(around, key=lambda pair: _decode(tokenizer, tokens[slice(*pair)]).count(LOST))


def _decode(tokenizer: Any, tokens: Sequence[int]) -> str:
    return tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False)
