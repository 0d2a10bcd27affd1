"""Too long for the model's context: what goes first, and what stays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tutelage.data.errors import Unusable
from tutelage.data.letters import next_cut
from tutelage.data.questions import Question
from tutelage.data.tokens import Codec

TURN = re.compile(r"(?=\n\nHuman:)")


def fit(
    codec: Codec, prompt: str, response: str, limit: int | None, *, ended: bool = True
) -> tuple[list[int], list[int], bool]:
    """(prompt tokens, response tokens, whether anything was cut), at most `limit` together (None: as they are).
    ended: whether the end of sequence stands behind the reply

    The oldest turns of the prompt go first, then the front of what is left, up to the end of a letter; the reply's end
    always stays, since that is where a reward model reads its score.
    """
    before, after = codec.pair(prompt, response, ended=ended)
    if limit is None or len(before) + len(after) <= limit:
        return before, after, False
    before, after = _newest_turns(codec, prompt, response, limit, ended)
    if len(before) + len(after) > limit:
        before, after = _cut_front(codec, before, after, limit)
    return before, after, True


def _newest_turns(codec: Codec, prompt: str, response: str, limit: int, ended: bool) -> tuple[list[int], list[int]]:
    """Tokens of the prompt's newest turns, as many as fit, and of the response; of the last turn if not even it does.

    The turns are counted up from the end, twice as many each time, then between the last two counts: what is encoded
    does not grow with the turns that are left out.
    """
    starts = [0, *(found.start() for found in TURN.finditer(prompt) if found.start() > 0)]
    if TURN.match(prompt) is None and len(starts) == 1:
        return codec.pair(prompt, response, ended=ended)

    def newest(count: int) -> tuple[list[int], list[int]]:
        return codec.pair(prompt[starts[-count] :], response, ended=ended)

    fits, best = 1, newest(1)
    if sum(map(len, best)) > limit:
        return best
    too_many = len(starts)  # the whole prompt did not fit
    while fits + 1 < too_many:
        count = min(2 * fits, (fits + too_many) // 2)
        tried = newest(count)
        if sum(map(len, tried)) <= limit:
            fits, best = count, tried
        else:
            too_many = count
    return best


def _cut_front(codec: Codec, before: Sequence[int], after: Sequence[int], limit: int) -> tuple[list[int], list[int]]:
    whole = [*before, *after]
    place = next_cut(codec.tokenizer, whole, len(whole) - limit)
    kept = whole[place if len(whole) - place > 1 else len(whole) - limit :]
    if len(after) < len(kept):
        return kept[: -len(after)], kept[-len(after) :]
    first = next_cut(codec.tokenizer, kept, 1)  # of the reply alone: its first letter stands for the prompt
    first = first if first < len(kept) else 1
    return kept[:first], kept[first:]


def refuse_same_when_cut(codec: Codec, question: Question, limit: int | None) -> None:
    """Unusable where two different responses are the same tokens once they are cut to `limit`: whatever was said of
    them, nothing that is left could tell them apart."""
    if limit is None or len(question.responses) < 2:
        return
    by_tokens: dict[tuple[int, ...], str] = {}
    for response in question.responses:
        before, after, cut = fit(codec, question.prompt, response, limit)
        if by_tokens.setdefault((*before, *after), response) != response and cut:
            raise Unusable(f"whose replies differ only where they are cut to {limit} tokens")


def told_apart(codec: Codec, questions: Iterable[Question], limit: int | None) -> list[Question]:
    """Those that `refuse_same_when_cut` lets through."""
    kept = []
    for each in questions:
        try:
            refuse_same_when_cut(codec, each, limit)
        except Unusable:
            continue
        kept.append(each)
    return kept
