"""What has been answered, read back: labels, progress, counts. Nothing here writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, or_, select

from tutelage.data.records import Candidate, Comparison, Context, Verdict
from tutelage.feedback import schema
from tutelage.feedback.answers import privates
from tutelage.feedback.asked import known_labeller
from tutelage.feedback.asking import Label, Progress

A, Q, B, E, L, P = (
    schema.assignment,
    schema.question,
    schema.label,
    schema.event,
    schema.labeller,
    schema.content,
)
DAY_SECONDS = 86_400
AT_ONCE = 500


CHECKS = ("gold", "qualification", "repeat", "swap")  # purposes whose answers tell of the labeller, not of the replies
ordinary = or_(Q.c.purpose.is_(None), Q.c.purpose.not_in(CHECKS))


def current(connection: Connection, after: int = 0, checks: bool = False) -> list[Label]:
    """Present answers with seq > after, in order of seq; without those whose question's text was erased.

    checks: those to repeats, swaps and questions whose answer was known, instead of all others
    """
    which = Q.c.purpose.in_(CHECKS) if checks else ordinary
    return _read(connection, (B.c.retracted.is_(None), B.c.excluded.is_(False), B.c.seq > after, which))


def of(connection: Connection, question: str, labeller: str) -> Label | None:
    mine = (B.c.question == question, B.c.labeller == labeller, B.c.retracted.is_(None))
    return next(iter(_read(connection, mine)), None)


def given_by(connection: Connection, labellers: Sequence[str]) -> list[Label]:
    """All that these labellers said, also what was retracted or excluded, in order of seq."""
    return _read(connection, (B.c.labeller.in_(list(labellers)),))


def ids_of(connection: Connection, labeller: str) -> list[str]:
    """Present answers of one labeller, also excluded ones."""
    mine = (B.c.labeller == labeller, B.c.retracted.is_(None))
    return list(connection.execute(select(B.c.id).where(*mine).order_by(B.c.seq)).scalars())


def named(connection: Connection, ids: Sequence[str]) -> list[Label]:
    """These labels, also retracted or excluded ones, in order of seq."""
    found: list[Label] = []
    for start in range(0, len(ids), AT_ONCE):
        found += _read(connection, (B.c.id.in_(list(ids[start : start + AT_ONCE])),))
    return sorted(found, key=lambda each: each.seq)


def _read(connection: Connection, where: Sequence[Any]) -> list[Label]:
    query = (
        select(B.c.state, B.c.question, Q.c.asked_with, P.c.body.label("content"), L.c.kind.label("rater_kind"), E)
        .join(E, E.c.seq == B.c.seq)
        .join(Q, Q.c.name == B.c.question)
        .join(P, P.c.digest == Q.c.digest)
        .join(L, L.c.id == B.c.labeller)
        .where(*where, P.c.body.is_not(None))
        .order_by(B.c.seq)
    )
    rows = connection.execute(query).all()
    bodies = [json.loads(row.body) for row in rows]
    private = privates(connection, [each["private"] for each in bodies])
    shown = shown_of(connection, [each["assignment"] for each in bodies])
    return [_label(row, body, private.get(body["private"], {}), shown) for row, body in zip(rows, bodies)]


def shown_of(connection: Connection, assignments: Sequence[str]) -> dict[str, tuple[list[str], str | None]]:
    """Assignment -> (candidates in the order on the screen, version of the guideline)."""
    found: dict[str, tuple[list[str], str | None]] = {}
    for start in range(0, len(assignments), AT_ONCE):
        part = list(assignments[start : start + AT_ONCE])
        rows = connection.execute(select(A.c.id, A.c.shown, A.c.guideline).where(A.c.id.in_(part)))
        found |= {row.id: ([own for _, own in json.loads(row.shown)], row.guideline) for row in rows}
    return found


def _label(row: Any, body: dict[str, Any], private: dict[str, Any], shown: dict[str, Any]) -> Label:
    order, guideline = shown[body["assignment"]]
    times = body["times"]
    verdict = Verdict(
        **body["verdict"],
        **private,
        rater=row.actor,
        rater_kind=row.rater_kind,
        shown=tuple(order),
        shown_at=times.get("shown_at"),
        answered_at=times.get("answered_at", row.at),
        guideline=guideline,
    )
    content = json.loads(row.content)
    comparison = Comparison(
        context=Context(**content["context"]),
        candidates=tuple(Candidate(**each) for each in content["candidates"]),
        verdict=verdict,
        asked_with=row.asked_with,
        criterion=content.get("form", {}).get("criterion"),
    )
    return Label(row.id, row.seq, row.question, comparison, row.state, row.at)


def progress(connection: Connection, at: float, labeller: str) -> Progress:
    """How far this labeller is, and all of them together."""
    known_labeller(connection, labeller)
    mine = select(func.count()).where(B.c.labeller == labeller, B.c.retracted.is_(None))
    today = mine.join_from(B, E, E.c.seq == B.c.seq).where(E.c.at >= at - at % DAY_SECONDS)
    seen = select(A.c.question).where(A.c.labeller == labeller, A.c.state != "leased")
    mine_too = or_(Q.c.purpose.is_(None), Q.c.person == labeller)
    left = select(func.count()).where(
        Q.c.withdrawn.is_(None), Q.c.counted < Q.c.wanted, Q.c.name.not_in(seen), mine_too
    )
    totals = (func.count(), func.coalesce(func.sum(Q.c.counted), 0), func.coalesce(func.sum(Q.c.wanted), 0))
    numbers = [each.scalar_subquery() for each in (mine, today, left)]
    row = connection.execute(
        select(*numbers, *totals).select_from(Q).where(Q.c.withdrawn.is_(None), Q.c.purpose.is_(None))
    ).one()
    return Progress(*row)
