"""Answers, skips, flags and their undoing: each an event, and what it changes in the tables, in one transaction.

The client's key makes every act happen once, however often a request is sent. No answer is thrown away: one that comes
too late, or to a question that has enough or was withdrawn, is kept in that state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, insert, select, update

from tutelage.feedback import schema
from tutelage.feedback.asked import contents, known_labeller
from tutelage.feedback.asking import (
    Assignment,
    LabelState,
    LeaseLost,
    Receipt,
    Refused,
    UnknownAssignment,
    checked_name,
)
from tutelage.feedback.chain import Event, Log, by_key
from tutelage.feedback.claims import checked_lease, free_places, held, opaque
from tutelage.feedback.forms import FAULTS, Form, refuse_beside
from tutelage.feedback.saying import PRIVATE, checked_times, said_of, verdict_of

A, Q, B, E = schema.assignment, schema.question, schema.label, schema.event
UNDO_DEPTH = 20
LONGEST_NOTE = 20_000


def answer(log: Log, row: Any, key: str, verdict: Mapping[str, Any], times: Mapping[str, Any]) -> Receipt:
    """Keeps an answer to the assignment of `row` (claims.leased)."""
    shown = dict(json.loads(row.shown))
    fields = verdict_of(row.kind, verdict, shown)
    if row.kind in FAULTS:
        content = contents(log.connection, [row.question])[row.question] or {}
        refuse_beside(row.kind, Form.model_validate(content.get("form", {})), fields)
    private = {name: fields.pop(name) for name in PRIVATE if name in fields}
    said = {name: value for name, value in verdict.items() if name not in PRIVATE and value is not None}
    body = {
        "assignment": row.id,
        "question": row.question,
        "said": said,
        "verdict": fields,
        "times": checked_times(times),
        "state": _state(log, row),
        "private": log.keep(private) if private else None,
    }
    event = log.add("answered", body, row.labeller, key)
    log.connection.execute(
        insert(B).values(
            seq=event.seq,
            id=event.id,
            question=row.question,
            labeller=row.labeller,
            state=body["state"],
            excluded=False,
        )
    )
    if body["state"] == "counted":
        log.connection.execute(update(Q).where(Q.c.name == row.question).values(counted=Q.c.counted + 1))
    _close(log, row, "answered", event)
    return Receipt(event.id, event.seq, body["state"], repeated=False)


def _state(log: Log, row: Any) -> LabelState:
    if row.withdrawn is not None:
        return "withdrawn"
    over = row.expires_at <= log.at
    wanted, counted = log.connection.execute(select(Q.c.wanted, Q.c.counted).where(Q.c.name == row.question)).one()
    if over:  # it counts all the same while nobody else has, or has taken, its place
        return "counted" if free_places(log.connection, log.at, row.question, row.id) > 0 else "late"
    return "counted" if counted < wanted else "surplus"


def _close(log: Log, row: Any, state: str, event: Event) -> None:
    log.connection.execute(update(A).where(A.c.id == row.id).values(state=state, seq=event.seq))


def skip(log: Log, row: Any, key: str, reason: str) -> Receipt:
    """The question goes to somebody else, never again to this labeller (but after an undo)."""
    checked_name(reason, "the reason of a skip")
    body = {"assignment": row.id, "question": row.question, "reason": reason}
    event = log.add("skipped", body, row.labeller, key)
    _close(log, row, "skipped", event)
    return Receipt(event.id, event.seq, "skipped", repeated=False)


def flag(log: Log, row: Any, key: str, flag: str, note: str) -> Receipt:
    """Says that something is wrong with a question; the lease goes on."""
    checked_name(flag, "a flag")
    if not isinstance(note, str) or len(note) > LONGEST_NOTE:
        raise Refused(f"the note of a flag: expected a text of at most {LONGEST_NOTE} letters.")
    private = log.keep({"notes": note}) if note else None
    body = {"assignment": row.id, "question": row.question, "flag": flag, "private": private}
    event = log.add("flagged", body, row.labeller, key)
    return Receipt(event.id, event.seq, "flagged", repeated=False)


def repeated(connection: Connection, labeller: str, key: str, kind: str, assignment: str) -> Receipt | None:
    """The first receipt where this was done before under this key; Refused where the key was something else's."""
    checked_name(key, "the key of a request")
    before = by_key(connection, labeller, key)
    if before is None:
        return None
    if before.kind != kind or before.body.get("assignment") != assignment:
        raise Refused(f"the key {key} was used before for something else. Draw a new one for every act.")
    return Receipt(before.id, before.seq, before.body.get("state", kind), repeated=True)


def undo(log: Log, labeller: str, key: str, event: str | None, lease_s: float) -> Assignment:
    """Takes back the labeller's last answer or skip, or the named one of the last 20, or a named skip; its question is
    leased again."""
    checked_name(key, "the key of a request")
    known_labeller(log.connection, labeller)
    before = by_key(log.connection, labeller, key)
    if before is not None and before.kind != "undone":
        raise Refused(f"the key {key} was used before for something else. Draw a new one for every act.")
    if before is not None:
        return _again(log.connection, labeller, before.body["question"], _act(log.connection, before.body["event"]))
    act = _undoable(log.connection, labeller, event)
    purpose = select(Q.c.purpose).where(Q.c.name == act.body["question"])
    if act.kind == "answered" and log.connection.execute(purpose).scalar_one() == "qualification":
        raise Refused("an answer of the qualification stands: you were told what would have been right.")
    expires_at = log.at + checked_lease(lease_s)
    body = {name: act.body[name] for name in ("assignment", "question")}
    undone = log.add("undone", {**body, "event": act.id, "expires_at": expires_at}, labeller, key)
    _take_back(log.connection, act, undone)
    lease = {"state": "leased", "lease": opaque(), "expires_at": expires_at, "seq": undone.seq}
    log.connection.execute(update(A).where(A.c.id == body["assignment"]).values(**lease))
    return _again(log.connection, labeller, body["question"], act)


def _take_back(connection: Connection, act: Event, undone: Event) -> None:
    if act.kind != "answered":
        return
    connection.execute(update(B).where(B.c.seq == act.seq).values(retracted=undone.seq))
    if act.body["state"] == "counted":
        connection.execute(update(Q).where(Q.c.name == act.body["question"]).values(counted=Q.c.counted - 1))


def _undoable(connection: Connection, labeller: str, event: str | None) -> Event:
    """The labeller's last present answer or skip, or the named one: of the last 20, or a skip however long ago."""
    seqs = _last_acts(connection, labeller)
    if event is not None:
        named = select(E.c.seq).where(E.c.id == event).scalar_subquery()
        skips = select(A.c.seq).where(A.c.labeller == labeller, A.c.state == "skipped", A.c.seq == named)
        seqs += list(connection.execute(skips).scalars())
    acts = [_act(connection, seq) for seq in (seqs if event else seqs[:1])]
    acts = [each for each in acts if event in (None, each.id) and each.kind in ("answered", "skipped")]
    if not acts and event is None:
        raise Refused("there is nothing to undo.")
    if not acts:
        raise UnknownAssignment(
            f"{event!r:.60} is none of your last {UNDO_DEPTH} answers and skips, or is undone already."
        )
    return acts[0]


def _last_acts(connection: Connection, labeller: str) -> list[int]:
    """Numbers of the events of the labeller's last answers and skips, the newest first."""
    done = (A.c.labeller == labeller, A.c.state != "leased")
    return list(connection.execute(select(A.c.seq).where(*done).order_by(A.c.seq.desc()).limit(UNDO_DEPTH)).scalars())


def own_acts(connection: Connection, labeller: str) -> list[tuple[str, Assignment]]:
    """(event, question with what was said of it) of the labeller's last answers and skips, the newest first.

    What was erased since is left out, as are answers of the qualification, which stand.
    """
    known_labeller(connection, labeller)
    found: list[tuple[str, Assignment]] = []
    for act in (_act(connection, seq) for seq in _last_acts(connection, labeller)):
        purpose = select(Q.c.purpose).where(Q.c.name == act.body["question"])
        stands = act.kind == "answered" and connection.execute(purpose).scalar_one() == "qualification"
        again = held(connection, labeller, [act.body["question"]])
        if again and not stands:
            found.append((act.id, replace(again[0], returned=_returned(connection, act, again[0].id))))
    return found


def open_skips(connection: Connection, labeller: str) -> list[str]:
    """Events by which this labeller skipped questions that still want an answer, the oldest first."""
    query = select(E.c.id).join(A, A.c.seq == E.c.seq).join(Q, Q.c.name == A.c.question)
    query = query.where(A.c.labeller == labeller, A.c.state == "skipped", Q.c.withdrawn.is_(None))
    return list(connection.execute(query.where(Q.c.counted < Q.c.wanted).order_by(A.c.seq)).scalars())


def _act(connection: Connection, which: int | str) -> Event:
    column = E.c.seq if isinstance(which, int) else E.c.id
    row = connection.execute(select(E).where(column == which)).one()
    return Event(**{**row._asdict(), "body": json.loads(row.body)})


def _again(connection: Connection, labeller: str, question: str, act: Event) -> Assignment:
    found = held(connection, labeller, [question])
    if not found:
        raise LeaseLost("the question's text was erased, so it cannot be asked again.")
    return replace(found[0], returned=_returned(connection, act, found[0].id))


def _returned(connection: Connection, act: Event, assignment: str) -> dict[str, Any]:
    """What had been answered, in the ids of the screen."""
    if act.kind == "skipped":
        return {"skipped": act.body["reason"]}
    shown = dict(json.loads(connection.execute(select(A.c.shown).where(A.c.id == assignment)).scalar_one()))
    private = privates(connection, [act.body["private"]]).get(act.body["private"], {})
    return said_of({**act.body["verdict"], **private}, shown)


def privates(connection: Connection, digests: list[str | None]) -> dict[str | None, dict[str, Any]]:
    """Digest -> notes and edits; nothing for those that were erased."""
    wanted, found = [each for each in digests if each], {}
    for start in range(0, len(wanted), 500):
        query = select(schema.content).where(schema.content.c.digest.in_(wanted[start : start + 500]))
        found |= {row.digest: json.loads(row.body) for row in connection.execute(query) if row.body is not None}
    return found
