"""Too long for the model's context: what goes first, and what stays."""

from __future__ import annotations

import re

from tutelage.data.tokens import Codec

TURN = re.compile(r"(?=\n\nHuman:)")


def fit(codec: Codec, prompt: str, response: str, limit: int | None) -> tuple[list[int], list[int], bool]:
    """(prompt tokens, response tokens, whether anything was cut), at most `limit` together (None: as they are).

    The oldest turns of the prompt go first, then the front of what is left; the reply's end always stays, since that is
    where a reward model reads its score.
    """
    before, after = codec.pair(prompt, response)
    if limit is None or len(before) + len(after) <= limit:
        return before, after, False
    turns = [turn for turn in TURN.split(prompt) if turn]
    while len(turns) > 1 and len(before) + len(after) > limit:
        turns.pop(0)
        before, after = codec.pair("".join(turns), response)
    if len(before) + len(after) > limit:
        kept = [*before, *after][-limit:]
        replied = min(len(after), limit - 1)
        before, after = kept[: len(kept) - replied], kept[len(kept) - replied :]
    return before, after, True
