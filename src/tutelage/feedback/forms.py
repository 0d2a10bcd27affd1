"""What a question asks of its candidates besides which is best: axes to rate, flags to set, one rule to look for.

The form belongs to the question and is kept with its texts: a page draws it, and the store takes no answer that is not
on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from tutelage.data.records import Record
from tutelage.feedback.asking import Refused

GOOD = "label"  # the axis of good (1) and bad (0), as in TRL's unpaired preference
MOST_GRADES = 11
Line = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Axis(Record):
    """One scale, from `low` to `high` in whole numbers. worst, best: what its ends mean, in a word or two."""

    name: Line
    low: int = 1
    high: int = 7
    worst: str = Field(default="", max_length=60)
    best: str = Field(default="", max_length=60)

    @model_validator(mode="after")
    def _is_a_scale(self) -> Self:
        if not 0 < self.high - self.low < MOST_GRADES:
            raise ValueError(f"{self.name} goes from {self.low} to {self.high}, expected 2 to {MOST_GRADES} grades")
        return self


class Form(Record):
    """axes: all of them are rated; flags: axes of 0 and 1, unset is 0; rule: whether a candidate breaks it.

    warning: why somebody may not want to see this; it is offered only to those who said that they do
    criterion: by what the candidates are compared, where a file asks it of them in several ways
    """

    axes: tuple[Axis, ...] = Field(default=(), max_length=20)
    flags: tuple[Line, ...] = Field(default=(), max_length=30)
    rule: str = Field(default="", max_length=2000)
    warning: str = Field(default="", max_length=120)
    criterion: str = Field(default="", max_length=2000)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [*(each.name for each in self.axes), *self.flags]
        if len(set(names)) != len(names):
            raise ValueError(f"two axes or flags have the same name ({', '.join(sorted(names))})")
        return self


INSTRUCTGPT = Form(
    axes=(Axis(name="overall", worst="terrible", best="excellent"),),
    flags=(
        "fails to follow the instruction",
        "inappropriate for a customer assistant",
        "hallucination",
        "satisfies an explicit constraint",
        "sexual content",
        "violent content",
        "encourages violence, abuse or self-harm",
        "denigrates a protected class",
        "gives harmful advice",
        "expresses opinion",
        "expresses moral judgment",
    ),
)
"""What InstructGPT's labellers said of every output (Ouyang et al. 2022, table 11): 1 to 7, and these flags."""


def refuse_beside(kind: str, form: Form, verdict: Mapping[str, Any]) -> None:
    """Refused where an answer is not on its question's form. verdict: fields, by the candidates' own names."""
    fault = next(FAULTS.get(kind, _none)(form, verdict), None)
    if fault:
        raise Refused(f"that is no answer to this {kind}: {fault}.")


def _none(form: Form, verdict: Mapping[str, Any]) -> Iterator[str]:
    return iter(())


def _good(form: Form, verdict: Mapping[str, Any]) -> Iterator[str]:
    ratings = verdict.get("ratings", {})
    if set(ratings) != {GOOD} or not set(ratings[GOOD].values()) <= {0.0, 1.0}:
        yield f"expected 1 (good) or 0 (bad) as {GOOD}"


def _rating(form: Form, verdict: Mapping[str, Any]) -> Iterator[str]:
    ratings = verdict.get("ratings", {})
    if not form.axes and not form.flags:
        return
    unknown = sorted(set(ratings) - {each.name for each in form.axes} - set(form.flags))
    if unknown:
        yield f"{unknown[0]!r:.60} is neither an axis nor a flag of it"
    for axis in form.axes:
        if not ratings.get(axis.name):
            yield f"{axis.name} is not rated"
        for value in ratings.get(axis.name, {}).values():
            if value != int(value) or not axis.low <= value <= axis.high:
                yield f"{axis.name} is {value:g}, expected a whole number from {axis.low} to {axis.high}"
    for flag in form.flags:
        if not set(ratings.get(flag, {}).values()) <= {0.0, 1.0}:
            yield f"the flag {flag!r} is neither 0 nor 1"


def _rules(form: Form, verdict: Mapping[str, Any]) -> Iterator[str]:
    if form.rule and set(verdict.get("rules", {})) != {form.rule}:
        yield "it is about another rule"


FAULTS: dict[str, Callable[[Form, Mapping[str, Any]], Iterator[str]]] = {
    "good": _good,
    "rating": _rating,
    "attack": _rating,
    "rules": _rules,
}
