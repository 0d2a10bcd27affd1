"""Questions that tell of the labeller: asked again as they were, asked the other way round, with a known answer.

A check is a question of its own, for one person alone, with the texts of the one that it copies. So it is leased,
answered, taken back and verified like any other, nothing on the page tells it apart, and what is said in it is never
learned from. Gold and qualification questions wait in the store until they are copied for somebody.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, select

from tutelage.feedback import schema
from tutelage.feedback.asked import add_rows, contents, known_labeller
from tutelage.feedback.asking import Refused, UnknownAssignment
from tutelage.feedback.chain import Log

A, Q, B, E = schema.assignment, schema.question, schema.label, schema.event
TEMPLATES = ("gold", "qualification")
NEXT = 1e6  # priority of a check: the next question that its person gets
GAP = 5  # answers between a question and its repetition, at least
SAID = ("choice", "ranking", "no_choice", "ratings", "rules")


@dataclass(frozen=True)
class Shares:
    """Checks for every ordinary answer of a person. qualification: whether the questions of that kind come first."""

    repeat: float = 0.0
    swap: float = 0.0
    gold: float = 0.0
    qualification: bool = False

    def __post_init__(self) -> None:
        if not all(0.0 <= each <= 0.5 for each in (self.repeat, self.swap, self.gold)):
            raise Refused("shares of checks: expected 0 to 0.5 each.")


@dataclass(frozen=True)
class Standing:
    """Of the qualification's questions: how many there are, how many this person answered, how many rightly."""

    total: int
    answered: int
    right: int


@dataclass(frozen=True)
class Checked:
    """An answer to a check. agrees: with the known answer, or with what the same person had said before; about: the
    question that it copies."""

    purpose: str
    labeller: str
    about: str
    kind: str
    agrees: bool


def mix(connection: Connection, at: float, labeller: str, shares: Shares, chance: random.Random) -> None:
    """Asks the checks that are due of this person, so that the next claim finds them."""
    log = Log.of(connection, at)  # first: nobody else writes from here on
    known_labeller(connection, labeller)
    if shares.qualification:
        for name in _uncopied(connection, labeller, "qualification"):
            _copy(log, name, "qualification", labeller)
        now = standing(connection, labeller)
        if now.answered < now.total:
            return
    answered = connection.execute(
        select(func.count())
        .select_from(B)
        .join(Q, Q.c.name == B.c.question)
        .where(B.c.labeller == labeller, B.c.retracted.is_(None), Q.c.purpose.is_(None))
    ).scalar_one()
    for purpose, share in (("gold", shares.gold), ("repeat", shares.repeat), ("swap", shares.swap)):
        due = share * answered - _asked(connection, labeller, purpose) if share else 0.0
        if due > 0.0 and chance.random() < due:
            found = _sources(connection, labeller, purpose)
            if found:
                _copy(log, chance.choice(found), purpose, labeller)


def _asked(connection: Connection, labeller: str, purpose: str) -> int:
    mine = (Q.c.person == labeller, Q.c.purpose == purpose)
    return connection.execute(select(func.count()).where(*mine)).scalar_one()


def _sources(connection: Connection, labeller: str, purpose: str) -> list[str]:
    """What can be asked of this person for this purpose and was not yet, in the order asked."""
    if purpose == "gold":
        return _uncopied(connection, labeller, purpose)
    copied = select(Q.c.about).where(Q.c.person == labeller, Q.c.purpose.in_(("repeat", "swap")))
    query = (
        select(Q.c.name, Q.c.kind)
        .join(B, B.c.question == Q.c.name)
        .where(B.c.labeller == labeller, B.c.retracted.is_(None), Q.c.purpose.is_(None), Q.c.withdrawn.is_(None))
        .where(Q.c.name.not_in(copied))
        .order_by(B.c.seq)
    )
    rows = connection.execute(query).all()[:-GAP]
    return [row.name for row in rows if purpose == "repeat" or row.kind in ("pair", "ranking")]


def _uncopied(connection: Connection, labeller: str, purpose: str) -> list[str]:
    copied = select(Q.c.about).where(Q.c.person == labeller, Q.c.purpose == purpose)
    templates = (Q.c.purpose == purpose, Q.c.person.is_(None), Q.c.withdrawn.is_(None), Q.c.name.not_in(copied))
    return list(connection.execute(select(Q.c.name).where(*templates).order_by(Q.c.asked)).scalars())


def _copy(log: Log, name: str, purpose: str, person: str) -> str:
    """A question with the same texts for this person; its name."""
    row = log.connection.execute(select(Q).where(Q.c.name == name)).one()
    content = contents(log.connection, [name])[name]
    if content is None:
        raise Refused(f"the text of the question {name!r} was erased, so it cannot be asked again.")
    made = {
        "name": f"{purpose}-{secrets.token_hex(8)}",
        "kind": row.kind,
        "wanted": 1,
        "priority": NEXT,
        "asked_with": 1.0,
        "policy": row.policy,
        "digest": row.digest,
        "purpose": purpose,
        "about": name,
        "person": person,
        "warning": row.warning,
    }
    add_rows(log, [made], [[each["id"] for each in content["candidates"]]])
    return made["name"]


def adjudicate(connection: Connection, at: float, names: Sequence[str], lead: str) -> list[str]:
    """A copy of each question for the lead alone; one that the lead was asked before is not asked twice."""
    log = Log.of(connection, at)
    known_labeller(connection, lead)
    there = contents(connection, names)
    missing = [each for each in names if each not in there]
    if missing:
        raise UnknownAssignment(f"there is no question {missing[0]!r:.60} to decide.")
    mine = (Q.c.person == lead, Q.c.purpose == "adjudication", Q.c.about.in_(list(names)))
    before = {row.about: row.name for row in connection.execute(select(Q.c.about, Q.c.name).where(*mine))}
    return [before.get(name) or _copy(log, name, "adjudication", lead) for name in names]


def decided(connection: Connection) -> set[str]:
    """Questions that a lead was asked to decide, answered or not."""
    return set(connection.execute(select(Q.c.about).where(Q.c.purpose == "adjudication")).scalars())


def standing(connection: Connection, labeller: str) -> Standing:
    templates = (Q.c.purpose == "qualification", Q.c.person.is_(None), Q.c.withdrawn.is_(None))
    total = connection.execute(select(func.count()).where(*templates)).scalar_one()
    mine = [each for each in answered(connection, labeller) if each.purpose == "qualification"]
    return Standing(total, len(mine), sum(each.agrees for each in mine))


def answered(connection: Connection, labeller: str | None = None) -> list[Checked]:
    """Present answers to checks, of all or of this labeller, in order; without those that have nothing beside them."""
    query = (
        select(B.c.labeller, Q.c.name, Q.c.purpose, Q.c.about, Q.c.kind, E.c.body)
        .join(Q, Q.c.name == B.c.question)
        .join(E, E.c.seq == B.c.seq)
        .where(B.c.retracted.is_(None), Q.c.purpose.in_(("gold", "qualification", "repeat", "swap")))
        .order_by(B.c.seq)
    )
    if labeller is not None:
        query = query.where(B.c.labeller == labeller)
    rows = connection.execute(query).all()
    known = contents(connection, [row.name for row in rows])
    before = _before(connection, labeller)
    found = []
    for row in rows:
        content = known[row.name] or {}
        beside = before.get((row.about, row.labeller)) if row.purpose in ("repeat", "swap") else _right(content)
        if beside is not None:
            same = agrees(json.loads(row.body)["verdict"], beside)
            found.append(Checked(row.purpose, row.labeller, row.about, row.kind, same))
    return found


def _before(connection: Connection, labeller: str | None) -> dict[tuple[str, str], dict[str, Any]]:
    """(question, labeller) -> what was said the first time, of all questions that were asked again."""
    again = Q.alias("again")
    same = and_(again.c.about == B.c.question, again.c.person == B.c.labeller)
    query = (
        select(B.c.question, B.c.labeller, E.c.body)
        .join(again, same)
        .join(E, E.c.seq == B.c.seq)
        .where(again.c.purpose.in_(("repeat", "swap")), B.c.retracted.is_(None))
    )
    if labeller is not None:
        query = query.where(B.c.labeller == labeller)
    return {(row.question, row.labeller): json.loads(row.body)["verdict"] for row in connection.execute(query)}


def _right(content: Mapping[str, Any]) -> dict[str, Any] | None:
    return content.get("right", {}).get("verdict") or None


def agrees(said: Mapping[str, Any], beside: Mapping[str, Any]) -> bool:
    """Whether both say the same of the candidates; how much better, and why, is not looked at."""
    return _answer(said) == _answer(beside)


def _answer(verdict: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: verdict[name] for name in SAID if verdict.get(name)}
    if "ranking" in told:
        told["ranking"] = [sorted(place) for place in told["ranking"]]
    return told


def told(connection: Connection, labeller: str, assignment: str) -> dict[str, Any] | None:
    """What a person learns of an answer in the qualification: whether it was right, and why. None for all others."""
    row = connection.execute(
        select(Q.c.name, E.c.body)
        .join(A, A.c.question == Q.c.name)
        .join(E, E.c.seq == A.c.seq)
        .where(A.c.id == assignment, A.c.labeller == labeller, A.c.state == "answered")
        .where(Q.c.purpose == "qualification")
    ).one_or_none()
    if row is None:
        return None
    content = contents(connection, [row.name])[row.name] or {}
    right = _right(content)
    same = right is not None and agrees(json.loads(row.body)["verdict"], right)
    return {"right": same, "says": content.get("right", {}).get("says", "")}
