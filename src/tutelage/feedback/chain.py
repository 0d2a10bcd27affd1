"""The log: events, each hashed together with the one before, so that nothing is changed, taken out or put in unseen."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from tutelage.feedback import schema
from tutelage.feedback.asking import canonical

START = "0" * 64  # what the first event calls the one before
CHUNK = 2_000  # events read at a time


@dataclass(frozen=True)
class Event:
    """seq: 1, 2, …; at: seconds since 1970; actor: the labeller, where one acted; key: the client's own for this act.

    body: what happened, as plain JSON values, without texts or names; previous, hash: 64 hex digits.
    """

    seq: int
    id: str
    kind: str
    at: float
    actor: str | None
    key: str | None
    body: Mapping[str, Any]
    previous: str
    hash: str


def digest_of(previous: str, row: Mapping[str, Any]) -> str:
    """SHA-256 over the event's columns as they are stored and the hash of the one before. row["body"]: its text."""
    columns = [row[name] for name in ("seq", "id", "kind", "at", "actor", "key", "body")]
    return hashlib.sha256(canonical([previous, *columns]).encode()).hexdigest()


@dataclass
class Log:
    """The end of the chain within one writing transaction; nobody else can write before that ends (database.py)."""

    connection: Connection
    at: float
    seq: int
    hash: str

    @classmethod
    def of(cls, connection: Connection, at: float) -> Log:
        """Locks the end of the chain: on PostgreSQL, writers take turns by it (on SQLite by BEGIN IMMEDIATE)."""
        end = connection.execute(select(schema.head.c.seq, schema.head.c.hash).with_for_update()).one()
        return cls(connection, float(at), end.seq, end.hash)

    def add(self, kind: str, body: Mapping[str, Any], actor: str | None = None, key: str | None = None) -> Event:
        """One more event; kept with the rest of the transaction or not at all."""
        return self.add_all(kind, [body], actor, key)[0]

    def add_all(
        self, kind: str, bodies: Iterable[Mapping[str, Any]], actor: str | None = None, key: str | None = None
    ) -> list[Event]:
        return self.add_many((kind, body, actor, key) for body in bodies)

    def add_many(self, acts: Iterable[tuple[str, Mapping[str, Any], str | None, str | None]]) -> list[Event]:
        """Events of (kind, body, actor, key), in this order."""
        rows, added = [], []
        for kind, body, actor, key in acts:
            row: dict[str, Any] = {
                "seq": self.seq + 1,
                "id": secrets.token_hex(8),
                "kind": kind,
                "at": self.at,
                "actor": actor,
                "key": key,
                "body": canonical(body),
                "previous": self.hash,
            }
            row["hash"] = digest_of(self.hash, row)
            self.seq, self.hash = row["seq"], row["hash"]
            rows.append(row)
            added.append(Event(**{**row, "body": body}))
        if rows:
            self.connection.execute(insert(schema.event), rows)
            self.connection.execute(update(schema.head).values(seq=self.seq, hash=self.hash))
        return added

    def keep(self, value: Any) -> str:
        """Puts what may have to be erased aside, and returns the digest by which an event refers to it."""
        return self.keep_all([value])[0]

    def keep_all(self, values: Iterable[Any]) -> list[str]:
        rows = []
        for value in values:
            salt, body = secrets.token_hex(16), canonical(value)  # salted, so that an erased name cannot be guessed
            rows.append({"digest": salted(salt, body), "salt": salt, "body": body})
        if rows:
            self.connection.execute(insert(schema.content), rows)
        return [each["digest"] for each in rows]


def salted(salt: str, body: str) -> str:
    return hashlib.sha256(f"{salt}\x1f{body}".encode()).hexdigest()


def event_of(row: Any) -> Event:
    """An event from its row; ValueError where its body is no JSON."""
    return Event(row.seq, row.id, row.kind, row.at, row.actor, row.key, json.loads(row.body), row.previous, row.hash)


def by_key(connection: Connection, actor: str, key: str) -> Event | None:
    """What this labeller had done under this key."""
    found = connection.execute(
        select(schema.event).where(schema.event.c.actor == actor, schema.event.c.key == key)
    ).one_or_none()
    return None if found is None else event_of(found)


def last(connection: Connection) -> int:
    return connection.execute(select(func.coalesce(func.max(schema.event.c.seq), 0))).scalar_one()


def end_of(connection: Connection) -> tuple[int, str]:
    """(seq, hash) of the last event; (0, START) where there is none."""
    newest = select(schema.event.c.seq, schema.event.c.hash).order_by(schema.event.c.seq.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return (0, START) if row is None else (row.seq, row.hash)


def hash_of(connection: Connection, seq: int) -> str | None:
    return connection.execute(select(schema.event.c.hash).where(schema.event.c.seq == seq)).scalar_one_or_none()


def rows(connection: Connection, after: int = 0) -> Iterator[Any]:
    """The rows in order of seq, a chunk at a time."""
    while True:
        found = connection.execute(
            select(schema.event).where(schema.event.c.seq > after).order_by(schema.event.c.seq).limit(CHUNK)
        ).all()
        yield from found
        if len(found) < CHUNK:
            return
        after = found[-1].seq
