"""What every token of a reply was worth, as samples.jsonl keeps it beside the reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.data.tokens import Codec
from tutelage.trajectory import Batch

MOST_TOKENS = 512  # of one reply; a longer one is kept without the numbers of the rest
WINDOW = 4  # tokens before one, which decide how it is written
COLUMNS = {"log_ratio_nats": "log_ratios", "value": "old_values", "advantage": "advantages", "reward": "rewards"}
"""Column of a sample -> the batch's extra that it is read from."""


def with_tokens(codec: Codec, targets: Batch, samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Samples of the first episodes of a batch, in their order, each with the columns of its tokens."""
    return [{**row, **token_columns(codec, targets, place)} for place, row in enumerate(samples[: len(targets)])]


def token_columns(codec: Codec, targets: Batch, place: int) -> dict[str, list[Any]]:
    """tokens, and a number for each of them; None where the other side of a talk wrote it."""
    mask_T = targets.mask_BT[place, : int(targets.lengths_B[place])].tolist()
    first = mask_T.index(True)
    steps = range(first, min(len(mask_T), first + MOST_TOKENS))
    columns: dict[str, list[Any]] = {"tokens": pieces(codec, targets.actions[place].tolist(), steps)}
    for name, extra in COLUMNS.items():
        if extra not in targets.extras:
            continue  # nothing learns from a probe: it has no advantages
        values_T = targets.extras[extra][place].tolist()
        columns[name] = [float(f"{values_T[t]:.4g}") if mask_T[t] else None for t in steps]
    return columns


def pieces(codec: Codec, tokens: Sequence[int], steps: range) -> list[str]:
    """What each of these tokens adds to the text; special ones by their names."""
    return [_added(codec, tokens[max(steps.start, t - WINDOW) : t], tokens[t]) for t in steps]


def _added(codec: Codec, before: Sequence[int], token: int) -> str:
    shorter, longer = (str(codec.tokenizer.decode(list(each))) for each in (before, [*before, token]))
    same = next((place for place, (one, other) in enumerate(zip(shorter, longer)) if one != other), len(shorter))
    return longer[same:]
