"""Proof that no label is lost, doubled, on the wrong side or unaccounted for: the log is read from its beginning, its
chain checked, what it tells worked out anew, and that compared with the tables, row by row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Table, select

from tutelage.data.errors import InputError
from tutelage.data.records import Verdict
from tutelage.feedback import chain, schema, signals
from tutelage.feedback.chain import Event
from tutelage.feedback.saying import turned
from tutelage.feedback.snapshots import sum_of

Row = dict[str, Any]
UNTOLD = {
    "assignment": {"lease", "expires_at"}
}  # columns that the log does not tell: leases are renewed without an event


def verify(connection: Connection) -> list[str]:
    """Faults in words, in order of the log; empty where all is well."""
    replay = Replay()
    chained(connection, replay)
    replay.compare(connection)
    return replay.faults


def chained(connection: Connection, replay: Replay) -> None:
    """Checks each event against the one before it, then replays it."""
    seq, previous = 0, chain.START
    for row in chain.rows(connection):
        if row.seq != seq + 1:
            missing = f"{seq + 1}" if row.seq == seq + 2 else f"{seq + 1} to {row.seq - 1}"
            replay.faults.append(f"event {missing}: missing, event {row.seq} follows event {seq}")
        elif row.previous != previous:
            replay.faults.append(f"event {row.seq}: does not follow from event {seq}; one of them was changed or moved")
        if chain.digest_of(row.previous, row._mapping) != row.hash:
            replay.faults.append(f"event {row.seq} ({row.kind}): was changed since it was written")
        seq, previous = row.seq, row.hash
        replay.take(row)
    end = connection.execute(select(schema.head)).one_or_none()
    if end is None or (end.seq, end.hash) != (seq, previous):
        told = "nothing" if end is None else f"event {end.seq}"
        replay.faults.append(f"the log ends with event {seq}, the head says {told}: events were taken from its end")


class Replay:
    """The tables as the log tells them."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.tables: dict[str, dict[Any, Row]] = {table: {} for table in KEYS}
        self.hashes: dict[str, str] = {}
        self.erased: set[str] = set()
        self.kept: dict[str, int] = {}
        self.places: dict[tuple[str, str], str] = {}
        self.candidates: dict[str, list[str]] = {}
        self.plays: dict[str, tuple[str | None, int]] = {}
        self.labels: dict[str, Row] = {}  # by id

    def take(self, row: Any) -> None:
        """One more event; what makes no sense after those before is a fault."""
        act = ACTS.get(row.kind)
        if act is None:
            self.faults.append(f"event {row.seq}: there is no kind of event {row.kind!r}")
            return
        try:
            event = chain.event_of(row)
            self.hashes[event.id] = event.hash
            for name in ("digest", "private"):
                if event.body.get(name):
                    self.kept[event.body[name]] = event.seq
            act(self, event)
        except (KeyError, TypeError, ValueError, AttributeError, InputError, ValidationError) as error:
            said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            self.faults.append(f"event {row.seq} ({row.kind}): does not fit the events before it ({said})")

    def fault(self, event: Event, what: str) -> None:
        self.faults.append(f"event {event.seq} ({event.kind}): {what}")

    # --- one method for each kind of event

    def asked(self, event: Event) -> None:
        body = dict(event.body)
        self.candidates[body["name"]] = body.pop("candidates")
        if body["name"] in self.tables["question"]:
            self.fault(event, f"the question {body['name']} was asked before")
        self.tables["question"][body["name"]] = {**body, "asked": event.seq, "counted": 0, "withdrawn": None}

    def wanted(self, event: Event) -> None:
        """Another number of answers, for questions that were open."""
        for name in event.body["questions"]:
            row = self.tables["question"][name]
            if row["withdrawn"] is not None or row["counted"] >= row["wanted"]:
                self.fault(event, f"the question {name} was not open")
            row["wanted"] = max(event.body["wanted"], row["counted"])

    def withdrawn(self, event: Event) -> None:
        self.tables["question"][event.body["question"]]["withdrawn"] = event.seq

    def labeller(self, event: Event) -> None:
        self.tables["labeller"][event.body["id"]] = dict(event.body)

    def guideline(self, event: Event) -> None:
        self.tables["guideline"][event.body["version"]] = {**event.body, "seq": event.seq}

    def claimed(self, event: Event) -> None:
        for each in event.body["assignments"]:
            owner = self.tables["labeller"][event.body["labeller"]]["id"]
            self.lease(event, {**each, "labeller": owner})

    def lease(self, event: Event, each: Mapping[str, Any]) -> None:
        """A place for somebody who has none on this question yet, or whose lease ran out."""
        own = self.candidates[each["question"]]
        if each["shown"] and sorted(name for _, name in each["shown"]) != sorted(own):
            self.fault(event, f"the assignment {each['assignment']} showed other candidates than its question has")
        before = self.tables["assignment"].get(each["assignment"])
        if before and (before["state"] != "leased" or before["shown"] != each["shown"]):
            self.fault(event, f"the assignment {each['assignment']} was leased again as another one")
        place = each["question"], each["labeller"]
        if self.places.setdefault(place, each["assignment"]) != each["assignment"]:
            self.fault(event, f"{each['labeller']} has the question {each['question']} twice")
        columns = {name: each[name] for name in ("question", "labeller", "shown", "guideline")}
        row = {"id": each["assignment"], **columns, "state": "leased", "seq": event.seq}
        self.tables["assignment"][each["assignment"]] = row

    def answered(self, event: Event) -> None:
        row = self.held(event)
        shown = dict(row["shown"])
        meant = Verdict(**turned(event.body["said"], shown)).row()
        if meant != event.body["verdict"]:
            self.fault(event, f"{event.body['said']} on the screen means {meant}, not {event.body['verdict']}")
        self.add_label(event, row)

    def imported(self, event: Event) -> None:
        body = event.body
        self.lease(event, {**body, "labeller": event.actor})
        self.add_label(event, self.held(event))

    def add_label(self, event: Event, row: Row) -> None:
        row |= {"state": "answered", "seq": event.seq}
        question, state = self.tables["question"][row["question"]], event.body["state"]
        if (state == "withdrawn") != (question["withdrawn"] is not None):
            self.fault(event, f"is {state}, and its question is {'' if question['withdrawn'] else 'not '}withdrawn")
        question["counted"] += state == "counted"
        if question["counted"] > question["wanted"]:
            self.fault(event, f"one answer more than the {question['wanted']} that {row['question']} wants is counted")
        columns = {"id": event.id, "question": row["question"], "labeller": event.actor, "state": state}
        label = {"seq": event.seq, **columns, "retracted": None, "excluded": False}
        self.tables["label"][event.seq] = self.labels[event.id] = label

    def held(self, event: Event) -> Row:
        """The assignment that an act is about; it is the actor's, and has not been answered or skipped."""
        row = self.tables["assignment"][event.body["assignment"]]
        if row["labeller"] != event.actor or row["question"] != event.body["question"]:
            self.fault(event, f"the assignment {row['id']} is not {event.actor}'s for {event.body['question']}")
        if row["state"] != "leased":
            self.fault(event, f"the assignment {row['id']} was {row['state']} before")
        return row

    def skipped(self, event: Event) -> None:
        row = self.held(event)
        row |= {"state": "skipped", "seq": event.seq}

    def flagged(self, event: Event) -> None:
        self.held(event)

    def undone(self, event: Event) -> None:
        row = self.tables["assignment"][event.body["assignment"]]
        label = self.tables["label"].get(row["seq"])
        if label is not None and label["id"] != event.body["event"]:
            self.fault(event, f"takes back {event.body['event']}, and the present answer is {label['id']}")
        if label is not None:
            label["retracted"] = event.seq
            self.tables["question"][row["question"]]["counted"] -= label["state"] == "counted"
        row |= {"state": "leased", "seq": event.seq}

    def excluded(self, event: Event) -> None:
        for name in event.body["labels"]:
            self.labels[name]["excluded"] = event.body["excluded"]

    def snapshot(self, event: Event) -> None:
        body = event.body
        digests = {name: self.tables["question"][self.labels[name]["question"]]["digest"] for name in body["labels"]}
        if sum_of({name: f"{self.hashes[name]} {digest}" for name, digest in digests.items()}) != body["sha256"]:
            self.fault(event, f"the snapshot {body['snapshot']} has not the labels that its hash tells")
        row = {"id": body["snapshot"], "seq": event.seq, "sha256": body["sha256"], "labels": len(body["labels"])}
        self.tables["snapshot"][body["snapshot"]] = row
        for name in body["labels"]:
            self.tables["snapshot_label"][body["snapshot"], name] = {"snapshot": body["snapshot"], "label": name}

    def in_a_play(self, event: Event) -> None:
        wrong = signals.replayed(self.plays, event)
        if wrong:
            self.fault(event, wrong)

    def was_erased(self, event: Event) -> None:
        self.erased |= set(event.body["digests"])

    # --- the tables

    def compare(self, connection: Connection) -> None:
        """Adds what the tables say otherwise than the log."""
        self.contents(connection)
        for name, keys in KEYS.items():
            table = schema.metadata.tables[name]
            there = {tuple(row[key] for key in keys): row for row in _rows(connection, table)}
            told = {key if isinstance(key, tuple) else (key,): row for key, row in self.tables[name].items()}
            for key in sorted(there.keys() | told.keys()):
                self.faults += _differences(name, key, there.get(key), told.get(key))

    def contents(self, connection: Connection) -> None:
        """Every text that an event refers to is there as it was, or was erased by an event; and no other is there."""
        bodies: dict[str, str | None] = {}
        for row in connection.execute(select(schema.content)):
            bodies[row.digest] = row.body
            changed = row.body is not None and chain.salted(row.salt, row.body) != row.digest
            gone = row.body is None and row.digest not in self.erased
            if changed or gone:
                event = self.kept.get(row.digest)
                self.faults.append(
                    f"event {event}: its text was {'changed' if changed else 'taken out without an event'}"
                )
        for digest in sorted(self.kept.keys() ^ bodies.keys()):
            where = f"event {self.kept[digest]}: its text is missing" if digest in self.kept else ""
            self.faults.append(where or f"content {digest[:12]}: belongs to no event")
        for row in connection.execute(select(schema.labeller)):
            body = bodies.get(row.digest)
            if (None if body is None else json.loads(body)) != row.name:
                self.faults.append(f"labeller {row.id}: has another name than its event tells")


def _rows(connection: Connection, table: Table) -> Iterable[Row]:
    for row in connection.execute(select(table)):
        found = {name: value for name, value in row._mapping.items() if name not in UNTOLD.get(table.name, ())}
        yield {**found, "shown": json.loads(found["shown"])} if table.name == "assignment" else found


def _differences(table: str, key: tuple[Any, ...], there: Row | None, told: Row | None) -> list[str]:
    name = f"{table} {' '.join(map(str, key))}"
    if there is None:
        return [f"{name}: is in the log, but not in the table"]
    if told is None:
        return [f"{name}: is in the table, but no event tells of it"]
    told = {column: told.get(column) for column in there if column != "name" or table != "labeller"}
    return [
        f"{name}: the table says {column} = {there[column]!r}, the log {value!r}"
        for column, value in told.items()
        if there[column] != value
    ]


KEYS: dict[str, tuple[str, ...]] = {
    "question": ("name",),
    "labeller": ("id",),
    "guideline": ("version",),
    "assignment": ("id",),
    "label": ("seq",),
    "snapshot": ("id",),
    "snapshot_label": ("snapshot", "label"),
}
ACTS: dict[str, Callable[[Replay, Event], None]] = {
    "asked": Replay.asked,
    "wanted": Replay.wanted,
    "withdrawn": Replay.withdrawn,
    "labeller": Replay.labeller,
    "guideline": Replay.guideline,
    "claimed": Replay.claimed,
    "answered": Replay.answered,
    "imported": Replay.imported,
    "skipped": Replay.skipped,
    "flagged": Replay.flagged,
    "undone": Replay.undone,
    "excluded": Replay.excluded,
    "snapshot": Replay.snapshot,
    "erased": Replay.was_erased,
    **dict.fromkeys(signals.KINDS, Replay.in_a_play),
}
