"""How often the longer reply was preferred."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.doctor.judgements import Judgement


def longer_preferred(rows: Sequence[Judgement]) -> tuple[float, int]:
    """(share, pairs) of judged pairs of different length in which the longer one won."""
    wins = [_longer_won(row) for row in rows if row.best is not None and len(row.texts) == 2]
    told = [won for won in wins if won is not None]
    return (sum(told) / len(told) if told else 0.5), len(told)


def _longer_won(row: Judgement) -> bool | None:
    first, second = (len(text) for text in row.texts)
    return None if first == second else (row.best == 0) == (first > second)
