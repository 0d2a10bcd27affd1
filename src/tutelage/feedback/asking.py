"""What passes between those who ask and those who answer: plain frozen records, no database.

A trainer hands over an `Asking`, the page gets an `Assignment` whose candidates go by names that mean nothing
elsewhere, and what was answered comes back as a `Label`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tutelage.data.errors import InputError
from tutelage.data.records import Candidate, Comparison, Context

LabelState = Literal["counted", "surplus", "late", "withdrawn"]
ActState = Literal["counted", "surplus", "late", "withdrawn", "skipped", "flagged"]
LabellerKind = Literal["human", "synthetic", "model"]
NAME_LENGTH = 200  # letters of a name, a reason, a key


class Refused(InputError):
    """The store will not do that: what was given, what was expected, what to do. Nothing was changed."""


class UnknownAssignment(Refused):
    """There is no assignment, labeller or event of that name."""


class NotYours(Refused):
    """The assignment belongs to somebody else."""


class LeaseLost(Refused):
    """The lease is not the assignment's present one: it was answered, skipped, or leased again after an undo."""


OF_SEVERAL, OF_ONE = ("pair", "ranking", "turn"), ("good", "attack")


@dataclass(frozen=True)
class Check:
    """Why a question is asked besides its answer.

    purpose: gold, qualification (both wait until a copy of them is asked of somebody), repeat, swap, adjudication, talk
    of: the question that this one repeats or decides      person: the only labeller who is asked
    right: of gold and qualification, the verdict that is right (in candidates' own names); says: why, told afterwards
    """

    purpose: str
    of: str | None = None
    person: str | None = None
    right: Mapping[str, Any] = field(default_factory=dict[str, Any])
    says: str = ""


@dataclass(frozen=True)
class Asking:
    """A question put to people.

    candidates: in an order that is never the one on the screen; their policy, sampler and score are kept, not shown
    kind: which page asks it; its answers are checked by that kind (saying.KINDS)
    name: its own, unique in the store; None: a hash of what is asked. Asking the same twice adds nothing
    wanted: answers by different people          priority: the higher, the sooner
    asked_with: the probability with which it was chosen among those that could have been asked
    policy: version of the policy that it is about, so that a trainer finds again what is out of date
    form: axes, flags, rule and warning as plain JSON (forms.Form.row()), where it has any
    check: what is known of its answer beforehand (checks.py); no page is told
    """

    context: Context
    candidates: tuple[Candidate, ...]
    kind: str = "pair"
    name: str | None = None
    wanted: int = 1
    priority: float = 0.0
    asked_with: float = 1.0
    policy: str | None = None
    form: Mapping[str, Any] = field(default_factory=dict[str, Any])
    check: Check | None = None

    def __post_init__(self) -> None:
        ids = [each.id for each in self.candidates]
        least = 2 if self.kind in OF_SEVERAL else 1
        faults = {
            f"{len(ids)} candidates, expected {least} or more for a {self.kind}": len(ids) < least,
            f"{len(ids)} candidates, expected one for a {self.kind}": len(ids) > 1 and self.kind in OF_ONE,
            f"two candidates of the same id ({', '.join(sorted(ids))})": len(set(ids)) != len(ids),
            f"wanted is {self.wanted}, expected 1 or more answers": self.wanted < 1,
            f"priority is {self.priority}, expected a finite number": not math.isfinite(self.priority),
            f"asked_with is {self.asked_with}, expected a probability above 0": not 0.0 < self.asked_with <= 1.0,
        }
        for fault, there in faults.items():
            if there:
                raise Refused(f"a question cannot be asked: {fault}.")
        for given in (self.name, self.kind, self.policy):
            checked_name(given, "a question's name, kind and policy") if given is not None else None

    @property
    def called(self) -> str:
        """Its name, or what it is called where it has none: 24 hex digits of what is asked."""
        return self.name or hashlib.sha256(canonical([self.kind, asked_of(self)]).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Shown:
    """A candidate as the page has it. id: drawn for this assignment alone; it tells neither candidate nor policy."""

    id: str
    text: str | None
    media: str | None


@dataclass(frozen=True)
class Assignment:
    """A question leased to one labeller.

    lease: the token that an answer brings back       expires_at: seconds since 1970
    guideline: version of the instructions in force   shown: in the order on the screen
    returned: after an undo, what had been answered, in the words of `answer` (ids of `shown`); else None
    form: what it asks besides which is best, as plain JSON (forms.Form)
    """

    id: str
    lease: str
    expires_at: float
    kind: str
    guideline: str | None
    context: Context
    shown: tuple[Shown, ...]
    returned: dict[str, Any] | None = None
    form: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Receipt:
    """What became of an answer, a skip or a flag. seq: its place in the log; repeated: it had been there before."""

    event: str
    seq: int
    state: ActState
    repeated: bool


@dataclass(frozen=True)
class Label:
    """One person's present answer. id: of its event; at: seconds since 1970 when it was stored.

    state: counted (among those wanted), surplus (beyond them), late (its lease was over and the place taken),
    withdrawn (the question was no longer asked). All of them are honest answers.
    """

    id: str
    seq: int
    question: str
    comparison: Comparison
    state: str
    at: float


@dataclass(frozen=True)
class Snapshot:
    """Frozen labels. sha256: over their ids and contents; seq: the last event when it was taken."""

    id: str
    label_ids: tuple[str, ...]
    sha256: str
    seq: int


@dataclass(frozen=True)
class Progress:
    """answered, today: present answers of this labeller, and those since midnight UTC; left: questions open to them;
    asked: all that are not withdrawn; counted, wanted: answers that they have and want."""

    answered: int
    today: int
    left: int
    asked: int
    counted: int
    wanted: int


def canonical(value: Any) -> str:
    """JSON in one way only, in ASCII: what is hashed. ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_of(asking: Asking) -> dict[str, Any]:
    """What is kept of a question's content: context, candidates and form as plain JSON values."""
    kept: dict[str, Any] = {
        "context": asking.context.row(),
        "candidates": [each.row() for each in asking.candidates],
    }
    if asking.form:
        kept["form"] = dict(asking.form)
    if asking.check and (asking.check.right or asking.check.says):
        kept["right"] = {"verdict": dict(asking.check.right), "says": asking.check.says}
    return kept


def asked_of(asking: Asking) -> list[Any]:
    """What a person sees of it, so that two askings of one name can be compared."""
    return seen_of(content_of(asking))


def seen_of(content: Mapping[str, Any]) -> list[Any]:
    candidates: Sequence[Mapping[str, Any]] = content["candidates"]
    seen = [content["context"], [[each["id"], each.get("text"), each.get("media")] for each in candidates]]
    return [*seen, content["form"]] if content.get("form") else seen


def checked_name(given: str, what: str) -> str:
    """A short printable line, or Refused: databases differ in what else they would take."""
    if not isinstance(given, str) or not 0 < len(given) <= NAME_LENGTH or not given.isprintable():
        raise Refused(f"{what}: expected 1 to {NAME_LENGTH} printable letters on one line, got {given!r:.80}.")
    return given
