"""What a reward model learns from: the flags that name a loss, and the loss that fits the data where none is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

from torch import Tensor

from tutelage.algorithms import reward_losses as losses
from tutelage.algorithms.reward_losses import Objective, Ordinal, Terms
from tutelage.data.errors import InputError
from tutelage.data.questions import Question
from tutelage.formulas.preference import MOST_RANKED

MOST_GRADES = 20
Loss = Literal["auto", "pairs", "floored", "choice", "plackett-luce", "squared", "ordinal", "binary"]
RATED = ("squared", "ordinal", "binary")


@dataclass(frozen=True)
class Labels:
    """Which labels are learned from, and how."""

    loss: Loss = "auto"
    """auto: choice where every label is a best of K > 2, else pairs where anything was compared, else binary where all
    ratings are 0 or 1, else squared."""
    axis: str | None = None
    """Which ratings squared, ordinal and binary learn from; needed where there are several axes."""
    auxiliary_axis: str | None = None
    """Ratings (0 to 1) for a second, binary head: half preference, half this (GopherCite's "supported")."""
    by_rule: bool = False
    """Learn P(rule broken | dialogue, rule text) from rows of prompt, completion, rule and broken, or from records."""
    label_smoothing: float = 0.0
    """Fraction of answers taken to be the wrong way round (pairs, choice, binary)."""
    error_fraction: float = 0.1
    """Of floored: the fraction of answers taken to be random, so that P stays within half of it from 0 and 1."""
    margin_scale: float = 0.0
    """Of pairs: how many units of score an answer's margin asks for; 0 leaves margins aside."""
    also: str | None = None
    """A second source of labels that the same loss reads, as for --data."""
    also_columns: tuple[str, ...] = ()
    """What its columns mean, as for --columns."""
    also_weight: float = 1.0
    """What one of its questions counts beside one of --data."""


class Asked(NamedTuple):
    """A question, and whether it is of the second source."""

    question: Question
    also: bool = False


@dataclass(frozen=True)
class Reading:
    """A loss that fits the data. reads: whether it learns anything from a question; axes: the ratings it needs."""

    name: str
    reads: Callable[[Question], bool]
    axes: tuple[str, ...]
    labels: Labels

    @property
    def rated(self) -> bool:
        return self.name in RATED

    @property
    def right(self) -> Terms | None:
        """How often scores [N, K] are right, where that can be counted."""
        return RIGHT[self.name]

    def objective(self, ratings: Tensor, heads: int = 1) -> Objective:
        """A fresh one. ratings: all there are of the axis, for the grades of ordinal; heads: of an ensemble's trunk."""
        learns = _ordinal(ratings, self.axes[0]) if self.name == "ordinal" else None
        loss, right = learns or _loss(self.name, self.labels), self.right
        if self.labels.auxiliary_axis:
            second = partial(losses.binary, axis=len(self.axes) - 1)
            loss, right = partial(losses.with_second_head, loss, second), right and partial(losses.first_head, right)
        elif heads > 1:
            loss, right = partial(losses.of_heads, loss), right and partial(losses.mean_head, right)
        return Objective(loss, right, learns)


def reading(labels: Labels, questions: Sequence[Question]) -> Reading:
    """The loss that was named, or the one that fits; InputError where data, loss and flags do not go together."""
    _refuse_wrong_numbers(labels)
    name = fitting(questions) if labels.loss == "auto" else labels.loss
    axis = _axis(labels.axis, name, questions) if name in RATED else ""
    _refuse_unused(labels, name)
    if labels.auxiliary_axis:
        _refuse_unknown_axis("--auxiliary-axis", labels.auxiliary_axis, questions)
        _refuse_beyond_one(labels.auxiliary_axis, questions)
    if name == "binary":
        _refuse_beyond_one(axis, questions)
    reads = partial(_reads, name, axis)
    if not any(map(reads, questions)):
        raise InputError(
            f"--loss {name} learns from {NEEDS[name]}, and none of the {len(questions)} questions has any. "
            f"They have: {said(questions)}."
        )
    return Reading(name, reads, tuple(each for each in (axis, labels.auxiliary_axis) if each), labels)


NEEDS = {
    "pairs": "comparisons",
    "floored": "comparisons",
    "choice": "a best of all K",
    "plackett-luce": f"rankings of up to {MOST_RANKED} responses, every pair of them judged",
    **dict.fromkeys(RATED, "ratings"),
}


def fitting(questions: Sequence[Question]) -> str:
    """The loss for these labels where nobody named one."""
    compared = [each for each in questions if each.pairs]
    picked = [each.choice is not None and len(each.pairs) == len(each.responses) - 1 for each in compared]
    if compared:
        return "choice" if all(picked) and any(len(each.responses) > 2 for each in compared) else "pairs"
    numbers = {value for each in questions for row in each.ratings.values() for value in row if value is not None}
    return "binary" if numbers <= {0.0, 1.0} else "squared"


def said(questions: Sequence[Question]) -> str:
    """What the labels are, in words."""
    axes = sorted({axis for each in questions for axis in each.ratings})
    counts = {
        "pairs": sum(bool(each.pairs) for each in questions),
        "a best of all K": sum(each.choice is not None for each in questions),
        "a whole ranking": sum(each.places is not None for each in questions),
        f"ratings ({', '.join(axes)})": sum(bool(each.ratings) for each in questions),
    }
    return "; ".join(f"{name}: {count}" for name, count in counts.items() if count)


def _loss(name: str, labels: Labels) -> Terms:
    smoothing = labels.label_smoothing
    return {
        "pairs": partial(losses.pairs, smoothing=smoothing, margin_scale=labels.margin_scale),
        "floored": partial(losses.floored, error_fraction=labels.error_fraction),
        "choice": partial(losses.choice, smoothing=smoothing),
        "plackett-luce": losses.plackett_luce,
        "squared": losses.squared,
        "binary": partial(losses.binary, smoothing=smoothing),
    }[name]


RIGHT: dict[str, Terms | None] = {
    **dict.fromkeys(("pairs", "floored", "plackett-luce"), losses.agreement),
    "choice": losses.best_agreement,
    "squared": None,
    "ordinal": None,
    "binary": losses.side_agreement,
}


def _ordinal(ratings: Tensor, axis: str) -> Ordinal:
    grades = ratings[~ratings.isnan()].unique()
    if not 2 <= len(grades) <= MOST_GRADES:
        raise InputError(
            f"--loss ordinal needs 2 to {MOST_GRADES} different grades, and {axis} has {len(grades)}. "
            f"{'There is nothing to order.' if len(grades) < 2 else 'Use --loss squared.'}"
        )
    return Ordinal(ratings)


def _reads(name: str, axis: str, question: Question) -> bool:
    if name in ("pairs", "floored"):
        return bool(question.pairs)
    if name == "choice":
        return question.choice is not None
    if name == "plackett-luce":
        return question.places is not None and len(question.responses) <= MOST_RANKED
    return any(value is not None for value in question.ratings.get(axis, ()))


def _axis(axis: str | None, name: str, questions: Sequence[Question]) -> str:
    axes = sorted({each for question in questions for each in question.ratings})
    if axis:
        _refuse_unknown_axis("--axis", axis, questions)
        return axis
    if not axes:
        raise InputError(f"--loss {name} learns from ratings, and the data has none. It has: {said(questions)}.")
    if len(axes) > 1:
        raise InputError(f"the data has ratings on {', '.join(axes)}. Say with --axis which of them to learn from.")
    return axes[0]


def _refuse_unknown_axis(flag: str, axis: str, questions: Sequence[Question]) -> None:
    axes = sorted({each for question in questions for each in question.ratings})
    if axis not in axes:
        raise InputError(f"{flag} {axis}: the data has no such ratings. It has: {', '.join(axes) or 'none at all'}.")


def _refuse_beyond_one(axis: str, questions: Sequence[Question]) -> None:
    beyond = [v for each in questions for v in each.ratings.get(axis, ()) if v is not None and not 0 <= v <= 1]
    if beyond:
        raise InputError(
            f"a binary loss takes ratings from 0 (bad) to 1 (good), and {axis} has {beyond[0]:g}. Give its scale "
            "(--columns ratings.…), or learn it with --loss squared or ordinal."
        )


def _refuse_unused(labels: Labels, name: str) -> None:
    """A flag that the loss does not read would be believed to do something."""
    unused: dict[str, Any] = {
        "--label-smoothing": labels.label_smoothing and name not in ("pairs", "choice", "binary"),
        "--margin-scale": labels.margin_scale and name != "pairs",
        "--axis": labels.axis and name not in RATED,
        "--also-columns": labels.also_columns and not labels.also,
        "--auxiliary-axis": labels.auxiliary_axis and name in RATED,
    }
    for flag, wrong in unused.items():
        if wrong:
            raise InputError(f"{flag} is not read by --loss {name}{' without --also' if 'also' in flag else ''}.")


def _refuse_wrong_numbers(labels: Labels) -> None:
    wrong = {
        f"--label-smoothing is {labels.label_smoothing}, expected 0 to below 0.5": not 0
        <= labels.label_smoothing
        < 0.5,
        f"--error-fraction is {labels.error_fraction}, expected above 0 and below 1": not 0 < labels.error_fraction < 1,
        f"--margin-scale is {labels.margin_scale}, expected 0 or more": labels.margin_scale < 0,
        f"--also-weight is {labels.also_weight}, expected above 0": not labels.also_weight > 0,
    }
    for fault, there in wrong.items():
        if there:
            raise InputError(f"{fault}.")
