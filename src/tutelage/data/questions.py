"""One question, whatever was asked about it: the replies, the pairs that were judged, the ratings, the votes.

A pair, a graded pair, a tie, a best of K, a ranking of K, three people's votes, a rating: all of them are a `Question`,
and a loss reads the part it learns from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

Scalar = str | int | float | bool


class Pair(NamedTuple):
    """Responses `first` < `second` (indices). target: P(first preferred), 0.5 a tie; margin: how much better, 0 if
    nobody graded it."""

    first: int
    second: int
    target: float
    margin: float = 0.0


@dataclass(frozen=True)
class Question:
    """K responses to a prompt and what was said of them. ValueError where the parts contradict each other.

    pairs: exactly those that were judged: all C(K, 2) of a ranking; the winner with each other one of a best of K
    choice: index of the one taken as the best of all K, None where nobody chose so: what a softmax over K reads
    ratings: axis -> K numbers, None where a response was not rated on it; a K of 1 is only rated
    votes: rater -> P(first preferred), where several judged the one pair; its target is their mean
    columns: what else the row said of itself, to group by
    """

    prompt: str
    responses: tuple[str, ...]
    pairs: tuple[Pair, ...] = ()
    choice: int | None = None
    ratings: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict[str, tuple[float | None, ...]])
    votes: Mapping[str, float] = field(default_factory=dict[str, float])
    columns: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])

    def __post_init__(self) -> None:
        fault = next(_faults(self), None)
        if fault:
            raise ValueError(f"a question about {self.prompt[-40:]!r}: {fault}")

    @property
    def best(self) -> int | None:
        """Index of the one response that is preferred to each of the others, None where there is none."""
        wins = [sum(sign > 0 for sign in row.values()) for row in self._signs()]
        leader = wins.index(max(wins))
        return leader if wins[leader] == len(wins) - 1 > 0 else None

    @property
    def places(self) -> tuple[tuple[int, ...], ...] | None:
        """The ranking: indices from the best on, side by side where they tie.

        None where some pair was not judged, or where the judgements go round in a circle.
        """
        signs_K = self._signs()
        if not self.pairs or len(self.pairs) < math.comb(len(signs_K), 2):
            return None
        # in a ranking, whoever stands higher has more wins less losses, and whoever ties has as many
        points_K = [sum(row.values()) for row in signs_K]
        if any(sign != _sign(points_K[i] - points_K[j]) for i, row in enumerate(signs_K) for j, sign in row.items()):
            return None
        levels = sorted(set(points_K), reverse=True)
        return tuple(tuple(i for i, points in enumerate(points_K) if points == level) for level in levels)

    def _signs(self) -> list[dict[int, int]]:
        """For each response: another one -> 1 where it is preferred to that, -1 where that is, 0 where they tie."""
        signs_K: list[dict[int, int]] = [{} for _ in self.responses]
        for first, second, target, _ in self.pairs:
            signs_K[first][second] = _sign(target - 0.5)
            signs_K[second][first] = -signs_K[first][second]
        return signs_K


def chosen(best: int, width: int, margin: float = 0.0) -> tuple[Pair, ...]:
    """Pairs of a best of K = width: the winner with each of the others."""
    pairs = [(min(best, other), max(best, other)) for other in range(width) if other != best]
    return tuple(Pair(first, second, float(first == best), margin) for first, second in pairs)


def ranked(ranks: Mapping[int, int]) -> tuple[Pair, ...]:
    """Pairs of a ranking, response -> rank: the lower rank is the better, the same is a tie."""
    return tuple(Pair(i, j, 0.5 + 0.5 * _sign(ranks[j] - ranks[i])) for i, j in combinations(sorted(ranks), 2))


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _faults(question: Question) -> Iterator[str]:
    width, judged = len(question.responses), [(pair.first, pair.second) for pair in question.pairs]
    if not width:
        yield "it has no response"
    if not judged and not question.ratings:
        yield "nothing is said of its responses"
    if any(not 0 <= first < second < width for first, second in judged) or len(set(judged)) < len(judged):
        yield f"its pairs are {judged}, expected each once, lower index first, below {width}"
    if any(not 0 <= pair.target <= 1 or not 0 <= pair.margin < math.inf for pair in question.pairs):
        yield "a target lies outside 0 to 1, or a margin is negative or infinite"
    judgements = {pair[:3] for pair in question.pairs}
    if question.choice is not None and not {pair[:3] for pair in chosen(question.choice, width)} <= judgements:
        yield f"{question.choice} was chosen, and its pairs do not say so"
    for axis, rating_K in question.ratings.items():
        if len(rating_K) != width or not all(each is None or math.isfinite(each) for each in rating_K):
            yield f"{axis} is {rating_K}, expected {width} finite numbers"
    mean = sum(question.votes.values()) / len(question.votes) if question.votes else 0.0
    if question.votes and (len(judged) != 1 or abs(question.pairs[0].target - mean) > 1e-6):
        yield f"its votes have mean {mean:.3f}, expected one pair with that target"


def plain_values(fields: Mapping[str, Any], used: set[str]) -> dict[str, Scalar]:
    """The plain values among the other columns, to group by."""
    plain = {name: value for name, value in fields.items() if isinstance(value, (str, int, float)) and name not in used}
    return {name: value for name, value in plain.items() if not isinstance(value, float) or math.isfinite(value)}
