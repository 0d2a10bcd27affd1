"""Frozen sets of labels: what a reward model learned from, named by a hash, whatever is taken back later."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sqlalchemy import Connection, insert, select

from tutelage.feedback import schema
from tutelage.feedback.asking import Label, Snapshot, UnknownAssignment
from tutelage.feedback.chain import Log
from tutelage.feedback.labels import named, ordinary

B, E, Q = schema.label, schema.event, schema.question
S, SL = schema.snapshot, schema.snapshot_label
AT_ONCE = 500


def take(connection: Connection, at: float, label_ids: Sequence[str] | None) -> Snapshot:
    """Freezes these labels, by default all present ones that are counted or surplus. The same labels are the same
    snapshot. UnknownAssignment for a label that there is not."""
    chosen = _present(connection) if label_ids is None else list(dict.fromkeys(label_ids))
    sealed = seals(connection, chosen)
    missing = [each for each in chosen if each not in sealed]
    if missing:
        raise UnknownAssignment(f"there is no label {missing[0]!r:.60} to freeze.")
    sha256 = sum_of(sealed)
    name = sha256[:16]
    if connection.execute(select(S.c.id).where(S.c.id == name)).scalar_one_or_none() is None:
        log = Log.of(connection, at)
        event = log.add("snapshot", {"snapshot": name, "sha256": sha256, "labels": list(sealed)})
        connection.execute(insert(S).values(id=name, seq=event.seq, sha256=sha256, labels=len(sealed)))
        if sealed:
            connection.execute(insert(SL), [{"snapshot": name, "label": each} for each in sealed])
    return found(connection, name)


def _present(connection: Connection) -> list[str]:
    present = (B.c.retracted.is_(None), B.c.excluded.is_(False), B.c.state.in_(["counted", "surplus"]), ordinary)
    query = select(B.c.id).join(Q, Q.c.name == B.c.question).where(*present).order_by(B.c.seq)
    return list(connection.execute(query).scalars())


def seals(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """Label -> what it is sealed with: its event's hash and the digest of its question's texts; in order of seq."""
    rows: list[tuple[int, str, str]] = []
    for start in range(0, len(ids), AT_ONCE):
        part = list(ids[start : start + AT_ONCE])
        query = select(B.c.seq, B.c.id, E.c.hash, Q.c.digest).join(E, E.c.seq == B.c.seq)
        query = query.join(Q, Q.c.name == B.c.question).where(B.c.id.in_(part))
        rows += [(row.seq, row.id, f"{row.hash} {row.digest}") for row in connection.execute(query)]
    return {name: seal for _, name, seal in sorted(rows)}


def sum_of(sealed: dict[str, str]) -> str:
    lines = "".join(f"{name} {seal}\n" for name, seal in sealed.items())
    return hashlib.sha256(lines.encode()).hexdigest()


def found(connection: Connection, name: str) -> Snapshot:
    """UnknownAssignment where there is none of that name."""
    row = connection.execute(select(S).where(S.c.id == name)).one_or_none()
    if row is None:
        raise UnknownAssignment(f"there is no snapshot {name!r:.60}.")
    query = select(SL.c.label).join(B, B.c.id == SL.c.label).where(SL.c.snapshot == name).order_by(B.c.seq)
    return Snapshot(row.id, tuple(connection.execute(query).scalars()), row.sha256, row.seq)


def labels_of(connection: Connection, name: str) -> list[Label]:
    """As they were frozen, in order of seq; without those whose question's text was erased since."""
    return named(connection, found(connection, name).label_ids)


def holding(connection: Connection, label: str) -> list[str]:
    """Snapshots that hold this label, the oldest first."""
    query = select(S.c.id).join(SL, SL.c.snapshot == S.c.id).where(SL.c.label == label)
    return list(connection.execute(query.order_by(S.c.seq)).scalars())


def affected(connection: Connection) -> dict[str, list[str]]:
    """Snapshot -> its labels that were retracted or excluded since; only those that have some."""
    gone = B.c.retracted.is_not(None) | B.c.excluded.is_(True)
    query = select(SL.c.snapshot, SL.c.label).join(B, B.c.id == SL.c.label).where(gone).order_by(B.c.seq)
    told: dict[str, list[str]] = {}
    for row in connection.execute(query):
        told.setdefault(row.snapshot, []).append(row.label)
    return told
