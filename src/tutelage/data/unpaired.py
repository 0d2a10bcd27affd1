"""Single replies, each good or bad, of whatever people said; and replies behind prompts that they do not answer."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from tutelage.data.questions import Question
from tutelage.data.tokens import written
from tutelage.trajectory import Batch

AXIS = "good"


def split_into_replies(question: Question, axis: str = "") -> list[Question]:
    """Questions of one reply each, rated 1 or 0 on the axis "good".

    axis: of the ratings that decide, above ½ good and below bad; "": the pairs decide: good is a reply that was
        preferred to each one that it was compared with, bad one to which each was preferred

    What is in the middle is left out.
    """
    verdicts = _of_ratings(question, axis) if axis else _of_pairs(question)
    return [
        Question(question.prompt, (question.responses[place],), ratings={AXIS: (good,)}, columns=question.columns)
        for place, good in verdicts.items()
    ]


def _of_ratings(question: Question, axis: str) -> dict[int, float]:
    ratings = question.ratings.get(axis, ())
    return {place: float(each > 0.5) for place, each in enumerate(ratings) if each is not None and each != 0.5}


def _of_pairs(question: Question) -> dict[int, float]:
    """A reply in a tie, or one that won and lost, is neither."""
    sides = defaultdict[int, set[float]](set)
    for first, second, target, _ in question.pairs:
        better = 0.5 if target == 0.5 else float(target > 0.5)
        sides[first].add(better)
        sides[second].add(1.0 - better)
    return {place: min(found) for place, found in sorted(sides.items()) if found in ({0.0}, {1.0})}


def mismatch_replies(rows: Batch, seed: int) -> Batch:
    """Each row's prompt with the reply of another row, of another prompt unless one has more than half of the rows.

    Where both together are longer than the longest row, the prompt loses its beginning.
    """
    of_prompt, firsts = defaultdict[tuple[int, ...], list[int]](list), rows.mask_BT.int().argmax(dim=1).tolist()
    prompts = [tuple(rows.observations[row, : first + 1].tolist()) for row, first in enumerate(firsts)]
    for row, prompt in enumerate(prompts):
        of_prompt[prompt].append(row)
    groups = list(of_prompt.values())
    shuffled = np.random.default_rng([seed, 0x0770]).permutation(len(groups))
    order = [row for place in shuffled for row in groups[place]]
    partners = dict(zip(order, np.roll(order, -max(map(len, groups))).tolist(), strict=True))
    made, longest = [], rows.observations.shape[1]
    for row, prompt in enumerate(prompts):
        other = partners[row]
        reply = rows.actions[other, firsts[other] : int(rows.lengths_B[other])].tolist()
        made.append(written(prompt[-max(1, longest - len(reply)) :], reply, rows.keys[row]))
    return Batch.of(made).to(rows.mask_BT.device)
