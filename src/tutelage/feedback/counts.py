"""How much was asked, answered, skipped and flagged, by whom, and how far people agree. Nothing here writes."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from math import comb
from statistics import median
from typing import Any

from sqlalchemy import Connection, func, select

from tutelage.feedback import schema

A, Q, B, E, L = schema.assignment, schema.question, schema.label, schema.event, schema.labeller


def counts(connection: Connection) -> dict[str, Any]:
    """Plain JSON values.

    labels, by_source, by_kind: present answers; agreement: share of pairs of people who said the same of one question
    (compared in agreement_pairs); seconds_per_answer: median of answered_at - shown_at.
    """
    rows = connection.execute(
        select(B.c.question, B.c.state, B.c.excluded, L.c.kind.label("source"), Q.c.kind, E.c.body)
        .join(E, E.c.seq == B.c.seq)
        .join(L, L.c.id == B.c.labeller)
        .join(Q, Q.c.name == B.c.question)
        .where(B.c.retracted.is_(None))
    ).all()
    bodies = [json.loads(row.body) for row in rows]
    agreement, pairs = agreement_of([(row.question, body["verdict"]) for row, body in zip(rows, bodies)])
    return {
        "events": connection.execute(select(func.count()).select_from(E)).scalar_one(),
        "questions": _questions(connection),
        "labels": dict(Counter(row.state for row in rows)),
        "excluded": sum(row.excluded for row in rows),
        "retracted": connection.execute(select(func.count()).where(B.c.retracted.is_not(None))).scalar_one(),
        "by_source": dict(Counter(row.source for row in rows)),
        "by_kind": dict(Counter(row.kind for row in rows)),
        "labellers": connection.execute(select(func.count(B.c.labeller.distinct()))).scalar_one(),
        "skips": _told(connection, "skipped", "reason"),
        "flags": _told(connection, "flagged", "flag"),
        "seconds_per_answer": _seconds([body["times"] for body in bodies]),
        "agreement": agreement,
        "agreement_pairs": pairs,
        "signals": connection.execute(select(func.count()).where(E.c.kind == "signalled")).scalar_one(),
        "snapshots": connection.execute(select(func.count()).select_from(schema.snapshot)).scalar_one(),
    }


def _questions(connection: Connection) -> dict[str, int]:
    rows = connection.execute(select(Q.c.wanted, Q.c.counted, Q.c.withdrawn).where(Q.c.purpose.is_(None))).all()
    going = [row for row in rows if row.withdrawn is None]
    return {
        "asked": len(rows),
        "withdrawn": len(rows) - len(going),
        "open": sum(row.counted < row.wanted for row in going),
        "wanted": sum(row.wanted for row in going),
        "counted": sum(row.counted for row in going),
    }


def skips_by(connection: Connection) -> dict[str, int]:
    """Labeller id -> questions that they gave back and have not taken up again."""
    query = select(A.c.labeller, func.count()).where(A.c.state == "skipped").group_by(A.c.labeller)
    return {row.labeller: int(row[1]) for row in connection.execute(query)}


def _told(connection: Connection, kind: str, name: str) -> dict[str, int]:
    bodies = connection.execute(select(E.c.body).where(E.c.kind == kind)).scalars()
    return dict(Counter(json.loads(body)[name] for body in bodies).most_common())


def _seconds(times: list[dict[str, Any]]) -> float | None:
    both = [(each.get("shown_at"), each.get("answered_at")) for each in times]
    found = [after - before for before, after in both if before is not None and after is not None]
    return round(median(found), 3) if found else None


def agreement_of(said: list[tuple[str, dict[str, Any]]]) -> tuple[float | None, int]:
    """(share of pairs of people with the same choice, tie or no choice, how many pairs); None where there are none."""
    by_question: dict[str, Counter[str]] = defaultdict(Counter)
    for question, verdict in said:
        answer = {name: verdict[name] for name in ("choice", "ranking", "no_choice") if name in verdict}
        if answer:
            by_question[question][json.dumps(answer, sort_keys=True)] += 1
    pairs = sum(comb(answers.total(), 2) for answers in by_question.values())
    same = sum(comb(count, 2) for answers in by_question.values() for count in answers.values())
    return (same / pairs if pairs else None), pairs
