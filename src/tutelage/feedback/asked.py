"""The questions in the store: asked, withdrawn, still open; and who answers by which instructions."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, exists, insert, select, text, update

from tutelage.feedback import schema
from tutelage.feedback.asking import Asking, Refused, UnknownAssignment, asked_of, checked_name, content_of, seen_of
from tutelage.feedback.chain import Log

Q, P, L, G, A = schema.question, schema.content, schema.labeller, schema.guideline, schema.assignment
MANY = 100
AT_ONCE = 500  # names in one statement; databases limit its parameters


def ask(connection: Connection, at: float, askings: Sequence[Asking]) -> list[str]:
    """Adds those that are not there; their names, in order. Refused where a name is there with another content."""
    names = [each.called for each in askings]
    there = contents(connection, names)
    new: dict[str, Asking] = {}
    for name, each in zip(names, askings):
        before = seen_of(there[name]) if there.get(name) else None
        before = asked_of(new[name]) if name in new else before
        if before is not None and before != asked_of(each):
            raise Refused(f"the question {name!r} was asked before with other texts. Give this one another name.")
        if name not in there:
            new[name] = each
    if new:
        _add(Log.of(connection, at), new)
    return names


def _add(log: Log, new: Mapping[str, Asking]) -> None:
    digests = log.keep_all(content_of(each) for each in new.values())
    rows = [
        {
            "name": name,
            "kind": each.kind,
            "wanted": each.wanted,
            "priority": float(each.priority),
            "asked_with": float(each.asked_with),
            "policy": each.policy,
            "digest": digest,
            **purpose_of(each),
        }
        for (name, each), digest in zip(new.items(), digests)
    ]
    asked = add_rows(log, rows, [[shown.id for shown in each.candidates] for each in new.values()])
    if log.connection.dialect.name == "postgresql" and len(asked) >= MANY:
        log.connection.execute(text("ANALYZE question"))  # or claims sort all of them until the server looks itself


def add_rows(log: Log, rows: Sequence[Mapping[str, Any]], candidates: Sequence[list[str]]) -> list[dict[str, Any]]:
    """An event and a row of the table for each question; the rows."""
    events = log.add_all("asked", [{**row, "candidates": ids} for row, ids in zip(rows, candidates)])
    asked = [{**row, "asked": event.seq, "counted": 0} for row, event in zip(rows, events)]
    log.connection.execute(insert(Q), asked)
    return asked


def purpose_of(asking: Asking) -> dict[str, Any]:
    """The columns that say for what, and for whom, a question is there."""
    check = asking.check
    return {
        "purpose": check.purpose if check else None,
        "about": check.of if check else None,
        "person": check.person if check else None,
        "warning": asking.form.get("warning") or None,
    }


def contents(connection: Connection, names: Sequence[str]) -> dict[str, Any]:
    """Name -> {"context", "candidates"}; None where it was erased; without those that were never asked."""
    found: dict[str, Any] = {}
    for start in range(0, len(names), AT_ONCE):
        part = list(names[start : start + AT_ONCE])
        rows = connection.execute(
            select(Q.c.name, P.c.body).join(P, P.c.digest == Q.c.digest).where(Q.c.name.in_(part))
        ).all()
        found |= {row.name: None if row.body is None else json.loads(row.body) for row in rows}
    return found


def withdraw(connection: Connection, at: float, names: Sequence[str], reason: str) -> int:
    """Withdraws those that still want answers; how many. UnknownAssignment for a name that was never asked."""
    checked_name(reason, "the reason of a withdrawal")
    there = contents(connection, names)
    missing = [each for each in names if each not in there]
    if missing:
        raise UnknownAssignment(f"there is no question {missing[0]!r} to withdraw ({len(missing)} of {len(names)}).")
    wanting = set(connection.execute(select(Q.c.name).where(*_open())).scalars())
    going = [each for each in dict.fromkeys(names) if each in wanting]
    if not going:
        return 0
    events = Log.of(connection, at).add_all("withdrawn", ({"question": each, "reason": reason} for each in going))
    rows = [{"which": name, "event": event.seq} for name, event in zip(going, events)]
    connection.execute(update(Q).where(Q.c.name == bindparam("which")).values(withdrawn=bindparam("event")), rows)
    return len(going)


def want(connection: Connection, at: float, wanted: int, names: Sequence[str] | None = None) -> tuple[int, int]:
    """Asks this many answers of every open question (of these, if given), and of one that has more, as many as it has.

    (how many questions changed, how many want fewer and stay decided). Checks want one answer, whatever is said.
    """
    if wanted < 1:
        raise Refused(f"wanted is {wanted}, expected 1 or more answers.")
    log = Log.of(connection, at)
    columns = (Q.c.name, Q.c.wanted, Q.c.counted)
    query = select(*columns).where(Q.c.purpose.is_(None), Q.c.withdrawn.is_(None), Q.c.wanted != wanted)
    parts = [None] if names is None else [names[i : i + AT_ONCE] for i in range(0, len(names), AT_ONCE)]
    rows = [
        row
        for part in parts
        for row in connection.execute(query if part is None else query.where(Q.c.name.in_(list(part)))).all()
    ]
    going = [row for row in rows if row.counted < row.wanted]
    now = {row.name: max(wanted, row.counted) for row in going if max(wanted, row.counted) != row.wanted}
    if now:
        log.add("wanted", {"questions": list(now), "wanted": wanted})
        changes = [{"which": name, "number": number} for name, number in now.items()]
        changing = update(Q).where(Q.c.name == bindparam("which")).values(wanted=bindparam("number"))
        connection.execute(changing, changes)
    return len(now), sum(row.counted >= row.wanted and row.wanted < wanted for row in rows)


def _open() -> tuple[ColumnElement[bool], ...]:
    return Q.c.withdrawn.is_(None), Q.c.counted < Q.c.wanted


def open_questions(connection: Connection, policy: str | None = None) -> list[str]:
    """Neither withdrawn nor satisfied, the next to be asked first; checks (asking.Check) are not among them.

    policy: only those about this one
    """
    query = select(Q.c.name).where(*_open(), Q.c.purpose.is_(None))
    if policy is not None:
        query = query.where(Q.c.policy == policy)
    return list(connection.execute(query.order_by(Q.c.priority.desc(), Q.c.asked)).scalars())


def skipped(connection: Connection) -> list[str]:
    """Open questions that somebody gave back: whether anybody else is there to answer them, nobody knows."""
    given_back = exists().where(A.c.question == Q.c.name, A.c.state == "skipped")
    query = select(Q.c.name).where(*_open(), Q.c.purpose.is_(None), given_back)
    return list(connection.execute(query.order_by(Q.c.asked)).scalars())


def labeller(connection: Connection, at: float, name: str, kind: str) -> str:
    """The id that this name has had since its first use."""
    return labellers(connection, at, {name: kind})[name]


def labellers(connection: Connection, at: float, kinds: Mapping[str, str]) -> dict[str, str]:
    """`labeller` for many names at once: name -> id. kinds: name -> human, synthetic or model."""
    for name, kind in kinds.items():
        _refuse_labeller(name, kind)
    found: dict[str, str] = {}
    names = list(kinds)
    for start in range(0, len(names), AT_ONCE):
        part = names[start : start + AT_ONCE]
        for row in connection.execute(select(L.c.id, L.c.name, L.c.kind).where(L.c.name.in_(part))):
            found[row.name] = row.id
            _refuse_other_kind(row.name, row.kind, kinds[row.name])
    new = [name for name in names if name not in found]
    if new:
        log = Log.of(connection, at)
        rows = [
            {"id": secrets.token_hex(8), "kind": kinds[name], "digest": digest}
            for name, digest in zip(new, log.keep_all(new))
        ]
        log.add_all("labeller", rows)
        connection.execute(insert(L), [{**row, "name": name} for row, name in zip(rows, new)])
        found |= {name: row["id"] for name, row in zip(new, rows)}
    return found


def _refuse_labeller(name: str, kind: str) -> None:
    if kind not in ("human", "synthetic", "model"):
        raise Refused(f"a labeller is human, synthetic or model; {name!r} was given as {kind!r:.60}.")
    checked_name(name, "the name of a labeller")


def _refuse_other_kind(name: str, there: str, kind: str) -> None:
    if there != kind:
        raise Refused(f"the labeller {name!r} is {there}, not {kind}. Give another name.")


def known_labeller(connection: Connection, labeller: str) -> str:
    """The kind of a labeller, or UnknownAssignment."""
    kind = connection.execute(select(L.c.kind).where(L.c.id == labeller)).scalar_one_or_none()
    if kind is None:
        raise UnknownAssignment(f"there is no labeller {labeller!r:.60}. Store.labeller(name) gives an id.")
    return kind


def names(connection: Connection) -> dict[str, str]:
    """Labeller id -> name; without those that were erased."""
    rows = connection.execute(select(L.c.id, L.c.name).where(L.c.name.is_not(None)))
    return {row.id: row.name for row in rows}


def guideline(connection: Connection, at: float, markdown: str) -> str:
    """The version of these instructions: "1", "2", …; the same text as the present one is the same version."""
    if not isinstance(markdown, str) or not markdown.strip():
        raise Refused("the guideline is empty. Give what labellers should read, as markdown.")
    newest = guideline_version(connection)
    if newest is not None and guideline_text(connection, newest) == markdown:
        return newest
    log = Log.of(connection, at)
    row = {"version": str(int(newest or 0) + 1), "digest": log.keep(markdown)}
    event = log.add("guideline", row)
    connection.execute(insert(G).values(**row, seq=event.seq))
    return row["version"]


def guideline_version(connection: Connection) -> str | None:
    return connection.execute(select(G.c.version).order_by(G.c.seq.desc()).limit(1)).scalar_one_or_none()


def guideline_text(connection: Connection, version: str | None = None) -> str | None:
    """The instructions of a version, by default the newest; None where there are none."""
    version = guideline_version(connection) if version is None else version
    body = connection.execute(
        select(P.c.body).join(G, G.c.digest == P.c.digest).where(G.c.version == version)
    ).scalar_one_or_none()
    return None if body is None else json.loads(body)
