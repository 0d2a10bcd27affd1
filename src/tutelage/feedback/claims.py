"""Leasing questions to people: nobody gets one twice, and no more people than wanted are busy with one.

A lease holds a place. A question is offered while its counted answers and its live leases together are fewer than the
answers it wants, so an answer within its lease always counts (but for a question that was withdrawn, or undone late).
"""

from __future__ import annotations

import json
import random
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update

from tutelage.data.records import Context
from tutelage.feedback import schema
from tutelage.feedback.asked import contents, guideline_version, known_labeller
from tutelage.feedback.asking import Assignment, LeaseLost, NotYours, Refused, Shown, UnknownAssignment
from tutelage.feedback.chain import Log

A, Q = schema.assignment, schema.question
MOST = 100  # questions claimed at once
LONGEST_LEASE = 7 * 86_400.0
FIRST_PAGE, LAST_PAGE = 64, 1_000  # questions looked at in one go


@dataclass(frozen=True)
class Claim:
    """Who wants how many, of which kinds, for how long (seconds).

    names: only some of these questions; purpose: only those that are asked of this labeller for this (Check);
    warned: also those that warn before they are shown
    """

    labeller: str
    count: int
    kinds: Sequence[str] | None
    lease_s: float
    names: Sequence[str] | None = None
    purpose: str | None = None
    warned: bool = True

    @property
    def among(self) -> list[Any]:
        """What a question must be, as conditions."""
        wanted = ((Q.c.kind, self.kinds), (Q.c.name, self.names))
        found: list[Any] = [column.in_(list(values)) for column, values in wanted if values is not None]
        found.append(or_(Q.c.purpose.is_(None), Q.c.person == self.labeller))
        if self.purpose is not None:
            found.append(Q.c.purpose == self.purpose)
        return found if self.warned else [*found, Q.c.warning.is_(None)]

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST:
            raise Refused(f"{self.count} questions were claimed at once, expected 1 to {MOST}.")
        checked_lease(self.lease_s)


def checked_lease(lease_s: float) -> float:
    if not 0.0 < lease_s <= LONGEST_LEASE:
        raise Refused(f"a lease of {lease_s} s was asked for, expected more than 0 and at most {LONGEST_LEASE:.0f}.")
    return lease_s


def claim(connection: Connection, at: float, wish: Claim, chance: random.Random) -> list[Assignment]:
    """The labeller's own live leases first, renewed (a second tab, a reload), then new ones; at most `count`."""
    known_labeller(connection, wish.labeller)
    log = Log.of(connection, at)  # first: from here on nobody else writes
    expires_at = at + wish.lease_s
    own = connection.execute(_own(wish, at)).all()
    for row in own:
        connection.execute(update(A).where(A.c.id == row.id).values(expires_at=max(row.expires_at, expires_at)))
    new = list(islice(_offered(connection, wish, at), wish.count - len(own)))
    if new:
        _lease(log, wish.labeller, expires_at, new, chance)
    return held(connection, wish.labeller, [*(row.question for row in own), *new])


def _own(wish: Claim, at: float) -> Any:
    query = select(A.c.id, A.c.question, A.c.expires_at).join(Q, Q.c.name == A.c.question)
    live = (A.c.labeller == wish.labeller, A.c.state == "leased", A.c.expires_at > at, Q.c.withdrawn.is_(None))
    query = query.where(*live, *wish.among)
    return query.order_by(A.c.seq, Q.c.priority.desc(), Q.c.asked).limit(wish.count)


def _offered(connection: Connection, wish: Claim, at: float) -> Iterator[str]:
    """Names of open questions with a free place that this labeller neither has nor had, the next to be asked first.

    In pages, so that the time does not depend on what a database guesses of a query over both tables.
    """
    query = select(Q.c.name, Q.c.wanted, Q.c.counted).where(Q.c.withdrawn.is_(None), Q.c.counted < Q.c.wanted)
    query = query.where(*wish.among).order_by(Q.c.priority.desc(), Q.c.asked)
    start, page = 0, FIRST_PAGE
    while True:
        rows = connection.execute(query.offset(start).limit(page)).all()
        busy, mine = _busy(connection, wish.labeller, at, [row.name for row in rows])
        yield from (row.name for row in rows if row.name not in mine and row.counted + busy[row.name] < row.wanted)
        if len(rows) < page:
            return
        start, page = start + page, min(4 * page, LAST_PAGE)


def _busy(connection: Connection, labeller: str, at: float, names: list[str]) -> tuple[Counter[str], set[str]]:
    """(live leases of each question, those that this labeller has, has answered or has skipped)."""
    columns = (A.c.question, A.c.labeller, A.c.state, A.c.expires_at)
    rows = connection.execute(select(*columns).where(A.c.question.in_(names))).all()
    live = [row.state == "leased" and row.expires_at > at for row in rows]
    mine = {
        row.question
        for row, is_live in zip(rows, live)
        if row.labeller == labeller and (is_live or row.state != "leased")
    }
    return Counter(row.question for row, is_live in zip(rows, live) if is_live), mine


def free_places(connection: Connection, at: float, name: str, besides: str) -> int:
    """Answers that the question still wants, less the live leases of others than assignment `besides`."""
    row = connection.execute(select(Q.c.wanted, Q.c.counted).where(Q.c.name == name)).one()
    others = (A.c.question == name, A.c.state == "leased", A.c.expires_at > at, A.c.id != besides)
    return row.wanted - row.counted - connection.execute(select(func.count()).where(*others)).scalar_one()


def _lease(log: Log, labeller: str, expires_at: float, names: Sequence[str], chance: random.Random) -> None:
    """Writes the leases. One that had run out is taken up again as it was: same names on the screen, same order."""
    connection = log.connection
    before = select(A).where(A.c.labeller == labeller, A.c.question.in_(list(names)))
    old = {row.question: row for row in connection.execute(before)}
    content, guideline = contents(connection, names), guideline_version(connection)
    orders = orders_of(connection, labeller, names)
    made = []
    for name in names:
        if name in old:
            again = {"shown": json.loads(old[name].shown), "guideline": old[name].guideline}
            made.append({"assignment": old[name].id, "question": name, **again})
        else:
            ids = [each["id"] for each in content[name]["candidates"]]
            shown = displayed(ids, chance) if name not in orders else [[opaque(), each] for each in orders[name]]
            made.append({"assignment": opaque(), "question": name, "shown": shown, "guideline": guideline})
    event = log.add("claimed", {"labeller": labeller, "expires_at": expires_at, "assignments": made}, actor=labeller)
    new = [
        {
            "id": each["assignment"],
            "question": each["question"],
            "labeller": labeller,
            "state": "leased",
            "lease": opaque(),
            "expires_at": expires_at,
            "shown": json.dumps(each["shown"]),
            "guideline": each["guideline"],
            "seq": event.seq,
        }
        for each in made
        if each["question"] not in old
    ]
    if new:
        connection.execute(insert(A), new)
    if old:
        renewed = update(A).where(A.c.id.in_([row.id for row in old.values()]))
        connection.execute(renewed.values(expires_at=expires_at, seq=event.seq))


def orders_of(connection: Connection, labeller: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Question -> candidates in the order on the screen, of those that repeat an earlier one: as it was, or, for a
    swap, the other way round."""
    again = Q.alias("again")
    query = (
        select(again.c.name, again.c.purpose, A.c.shown)
        .join(A, A.c.question == again.c.about)
        .where(again.c.name.in_(list(names)), again.c.purpose.in_(("repeat", "swap")), A.c.labeller == labeller)
    )
    found = {row.name: (row.purpose, [own for _, own in json.loads(row.shown)]) for row in connection.execute(query)}
    return {name: order[::-1] if purpose == "swap" else order for name, (purpose, order) in found.items()}


def displayed(ids: Sequence[str], chance: random.Random) -> list[list[str]]:
    """[name on the screen, candidate] in a random order; the names are drawn, so they tell nothing."""
    order = list(ids)
    chance.shuffle(order)
    return [[opaque(), each] for each in order]


def opaque() -> str:
    """72 random bits: cannot be guessed, and means nothing."""
    return secrets.token_urlsafe(9)


def held(connection: Connection, labeller: str, names: Sequence[str]) -> list[Assignment]:
    """The labeller's assignments to these questions, in this order."""
    query = select(A, Q.c.kind).join(Q, Q.c.name == A.c.question)
    rows = connection.execute(query.where(A.c.labeller == labeller, A.c.question.in_(list(names)))).all()
    content = contents(connection, names)
    found = {row.question: _assignment(row, content[row.question]) for row in rows if content[row.question]}
    return [found[name] for name in names if name in found]


def held_by(connection: Connection, at: float, labeller: str) -> list[Assignment]:
    """All live leases of this labeller."""
    live = (A.c.labeller == labeller, A.c.state == "leased", A.c.expires_at > at)
    return held(connection, labeller, list(connection.execute(select(A.c.question).where(*live)).scalars()))


def _assignment(row: Any, content: Mapping[str, Any]) -> Assignment:
    by_id = {each["id"]: each for each in content["candidates"]}
    shown = tuple(Shown(name, by_id[own].get("text"), by_id[own].get("media")) for name, own in json.loads(row.shown))
    context = Context.model_validate(content["context"])
    about = (row.id, row.lease, row.expires_at, row.kind, row.guideline, context, shown)
    return Assignment(*about, form=content.get("form", {}))


def leased(connection: Connection, labeller: str, assignment: str, lease: str) -> Any:
    """The row of an assignment that this labeller holds by this lease, run out or not; the named errors otherwise."""
    row = connection.execute(
        select(A, Q.c.kind, Q.c.withdrawn).join(Q, Q.c.name == A.c.question).where(A.c.id == assignment)
    ).one_or_none()
    if row is None:
        raise UnknownAssignment(f"there is no assignment {assignment!r:.60}.")
    if row.labeller != labeller:
        raise NotYours(f"the assignment {assignment} is somebody else's.")
    if row.state != "leased":
        raise LeaseLost(f"the assignment {assignment} was {row.state} already. Undo that to change it.")
    if not secrets.compare_digest(row.lease.encode(), str(lease).encode()):
        raise LeaseLost(f"the assignment {assignment} has been leased again since. Reload to get its present lease.")
    return row


def extend(connection: Connection, at: float, row: Any, lease_s: float) -> float:
    """Until when the lease runs now. LeaseLost where the place is taken or the question withdrawn."""
    if row.withdrawn is not None:
        raise LeaseLost("the question is not asked any more. An answer is still kept, as withdrawn.")
    expires_at = max(row.expires_at, at + checked_lease(lease_s))
    if row.expires_at <= at and free_places(connection, at, row.question, row.id) < 1:
        raise LeaseLost("the lease has run out and somebody else has the question. An answer is still kept, as late.")
    connection.execute(update(A).where(A.c.id == row.id).values(expires_at=expires_at))
    return expires_at
