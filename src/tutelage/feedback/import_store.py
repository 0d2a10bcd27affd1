"""Comparisons that were read from files -> labels in the store, each of them once.

Who said what of which question tells whether a label is there already: a file that is imported again, also a longer
one, adds what is new in it. Two answers of one person to one question are both kept, the second under a copy of it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from tutelage.data.records import Comparison, Verdict
from tutelage.feedback import asked, labels, schema
from tutelage.feedback.asking import Asking, Refused, canonical
from tutelage.feedback.chain import Log
from tutelage.feedback.forms import Form
from tutelage.feedback.imports import Read
from tutelage.feedback.saying import PRIVATE

A, B, L, Q = schema.assignment, schema.label, schema.labeller, schema.question
AT_ONCE = 500
WHO = ("rater", "rater_kind")
Identity = tuple[str, str, str]
"""(question as it is named, labeller, what was said without notes)"""


def take_in(connection: Connection, at: float, found: Sequence[Read], anonymous: str) -> tuple[int, int]:
    """Adds the labels that are not there; (added, already there). anonymous: who said what nobody is named for.

    Answers to a question whose texts were erased from this store stay out; they count as already there.
    """
    Log.of(connection, at)  # nobody else writes from here on
    known = Known.of(connection, found, anonymous)
    new = list(_new(found, known, anonymous))
    _ask(connection, at, new)
    kinds: dict[str, str] = {}
    for each in new:
        kind = each.read.comparison.verdict.rater_kind
        if kinds.setdefault(each.who, kind) != kind:
            raise Refused(f"{each.read.place}: the labeller {each.who!r} is {kinds[each.who]}, not {kind}.")
    ids = {each.who: each.labeller for each in new if each.labeller is not None}
    ids |= asked.labellers(connection, at, {who: kind for who, kind in kinds.items() if who not in ids})
    _add(Log.of(connection, at), [(each, ids[each.who]) for each in new])
    return len(new), len(found) - len(new)


@dataclass(frozen=True)
class New:
    """A label to add.

    question: its base name (name_of); copy: 1, or which further answer of this person to this question it is
    who: name of the labeller; labeller: their id, where they are known
    """

    read: Read
    base: str
    copy: int
    who: str
    labeller: str | None

    @property
    def question(self) -> str:
        return copy_of(self.base, self.copy)


@dataclass
class Known:
    """What the store knows of the people in a file.

    ids: name or id of a labeller -> id      taken: (question, labeller or who) that have an assignment
    said: identity of a label -> the notes of each such label
    copies: (question, labeller or who) -> the copy to look at next     erased: questions without their texts
    """

    ids: dict[str, str] = field(default_factory=dict[str, str])
    taken: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    copies: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    erased: set[str] = field(default_factory=set[str])
    said: dict[Identity, list[str | None]] = field(
        default_factory=lambda: defaultdict[Identity, list[str | None]](list)
    )

    @classmethod
    def of(cls, connection: Connection, found: Sequence[Read], anonymous: str) -> Known:
        known = cls()
        named = {each.comparison.verdict.rater for each in found} - {None}
        for part in _parts(sorted(str(each) for each in named)):
            for column in (L.c.id, L.c.name):  # a name counts before an id
                rows = connection.execute(select(L.c.id, column.label("told")).where(column.in_(part)))
                known.ids |= {row.told: row.id for row in rows}
        names = sorted({name for each in found for name in _names(each.comparison)})
        known.erased = {name for name, content in asked.contents(connection, names).items() if content is None}
        nobody: set[str] = set()
        if any(each.comparison.verdict.rater is None for each in found):
            rows = connection.execute(
                select(L.c.id, L.c.name).where(L.c.name.startswith(f"{anonymous} ", autoescape=True))
            )
            unnamed = {row.name: row.id for row in rows if row.name[len(anonymous) + 1 :].isdecimal()}
            known.ids |= unnamed
            nobody = set(unnamed.values())
        for part in _parts(sorted({*known.ids.values()})):
            known._read(connection, part, nobody)
        return known

    def _read(self, connection: Connection, labellers: Sequence[str], nobody: set[str]) -> None:
        rows = connection.execute(select(A.c.question, A.c.labeller).where(A.c.labeller.in_(labellers)))
        self.taken |= {(row.question, row.labeller) for row in rows}
        for label in labels.given_by(connection, labellers):
            verdict = label.comparison.verdict
            who = "" if verdict.rater in nobody else str(verdict.rater)
            for identity in {name_of(label.comparison), label.question}:
                self.said[identity, who, _said(verdict)].append(verdict.notes)


def _new(found: Sequence[Read], known: Known, anonymous: str) -> Iterator[New]:
    """Those that are not there. Of two files that hold the same answers each is taken once; within one file, the same
    answer twice was given twice."""
    left: dict[tuple[str, Identity], list[str | None]] = {}
    for each in found:
        verdict = each.comparison.verdict
        labeller = known.ids.get(verdict.rater) if verdict.rater is not None else None
        who = "" if verdict.rater is None else labeller or verdict.rater
        names = _names(each.comparison)
        identities = [(name, who, _said(verdict)) for name in names]
        if known.erased & {*names} or _is_there(each.file, identities, verdict.notes, left, known):
            continue
        known.said[identities[0]].append(verdict.notes)
        yield _placed(each, names[0], known, anonymous)


def _is_there(
    file: str, identities: Sequence[Identity], notes: str | None, left: dict[Any, list[str | None]], known: Known
) -> bool:
    """Whether the label is in the store and no earlier row of this file was it. Notes may be absent on one side, where
    a file was written without them."""
    for identity in identities:
        others = left.setdefault((file, identity), list(known.said.get(identity, ())))
        same = next((i for i, other in enumerate(others) if None in (other, notes) or other == notes), None)
        if same is not None:
            others.pop(same)
            return True
    return False


def _placed(each: Read, base: str, known: Known, anonymous: str) -> New:
    """Under the first copy of its question that this person has not answered; who is not named is somebody else for
    every answer to a question."""
    rater = each.comparison.verdict.rater
    key = base, known.ids.get(rater, rater) if rater is not None else ""
    while True:
        known.copies[key] += 1
        copy = known.copies[key]
        who = rater if rater is not None else f"{anonymous} {copy}"
        labeller = known.ids.get(who)
        new = New(each, base, copy if rater is not None else 1, who, labeller)
        if (new.question, labeller or who) not in known.taken:
            return new


def _ask(connection: Connection, at: float, new: Sequence[New]) -> None:
    """The questions that are not there; a copy has the texts of the first, so that they are erased together."""
    wanted = Counter(each.question for each in new)
    first = {each.base: each.read.comparison for each in new}
    asked.ask(connection, at, [_asking(name, each, wanted[name] or 1) for name, each in first.items()])
    copies = {each.question: each.base for each in new if each.copy > 1}
    there: set[str] = set()
    rows: dict[str, Any] = {}
    for part in _parts(sorted({*copies, *copies.values()})):
        for row in connection.execute(select(Q).where(Q.c.name.in_(part))):
            there.add(row.name)
            rows[row.name] = row._asdict()
    columns = ("kind", "priority", "asked_with", "policy", "digest", "purpose", "about", "person", "warning")
    made = [
        {"name": name, "wanted": wanted[name], **{column: rows[base][column] for column in columns}}
        for name, base in copies.items()
        if name not in there
    ]
    if made:
        candidates = [[each.id for each in first[copies[row["name"]]].candidates] for row in made]
        asked.add_rows(Log.of(connection, at), made, candidates)


def _asking(name: str, comparison: Comparison, wanted: int) -> Asking:
    form = Form(criterion=comparison.criterion or "").row()
    about = {"kind": kind_of(comparison.verdict), "asked_with": comparison.asked_with, "form": form}
    return Asking(comparison.context, comparison.candidates, name=name, wanted=wanted, **about)


def _add(log: Log, new: Sequence[tuple[New, str]]) -> None:
    """Events, assignments and labels, in a few statements however many there are."""
    counts = _counts(log.connection, {each.question for each, _ in new})
    bodies = _bodies(log, [each for each, _ in new], counts)
    events = log.add_many(("imported", body, labeller, None) for body, (_, labeller) in zip(bodies, new))
    assignments = [
        {
            "id": event.body["assignment"],
            "question": event.body["question"],
            "labeller": event.actor,
            "state": "answered",
            "lease": "",
            "expires_at": 0.0,
            "shown": json.dumps(event.body["shown"]),
            "guideline": event.body["guideline"],
            "seq": event.seq,
        }
        for event in events
    ]
    rows = [
        {
            "seq": event.seq,
            "id": event.id,
            "question": event.body["question"],
            "labeller": event.actor,
            "state": event.body["state"],
            "excluded": False,
        }
        for event in events
    ]
    if events:
        log.connection.execute(insert(A), assignments)
        log.connection.execute(insert(B), rows)
    changed = [
        {"which": name, "now": row["counted"]} for name, row in counts.items() if row["counted"] != row["before"]
    ]
    if changed:
        log.connection.execute(
            update(Q).where(Q.c.name == bindparam("which")).values(counted=bindparam("now")), changed
        )


def _bodies(log: Log, new: Sequence[New], counts: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the events. counts: of the questions (_counts), which go on with every label that is counted."""
    told = [_told(each.read.comparison.verdict) for each in new]
    private = iter(log.keep_all(private for _, private, _ in told if private))
    bodies: list[dict[str, Any]] = []
    for each, (verdict, secret, about) in zip(new, told):
        row = counts[each.question]
        state = "withdrawn" if row["withdrawn"] is not None else "surplus"
        if state != "withdrawn" and row["counted"] < row["wanted"]:
            row["counted"] += 1
            state = "counted"
        bodies.append(
            {
                "assignment": secrets.token_urlsafe(9),
                "question": each.question,
                "shown": [[secrets.token_urlsafe(9), own] for own in about["shown"] or ()],
                "guideline": about["guideline"],
                "verdict": verdict,
                "times": {"shown_at": about["shown_at"], "answered_at": about["answered_at"]},
                "state": state,
                "private": next(private) if secret else None,
                "from": each.read.place,
            }
        )
    return bodies


def _counts(connection: Connection, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for part in _parts(sorted(names)):
        query = select(Q.c.name, Q.c.wanted, Q.c.counted, Q.c.withdrawn).where(Q.c.name.in_(part))
        found |= {row.name: {**row._asdict(), "before": row.counted} for row in connection.execute(query)}
    return found


def _told(verdict: Verdict) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """(what the log holds, what can be erased, when and how it was shown)"""
    row = verdict.row()
    private = {name: row.pop(name) for name in PRIVATE if name in row}
    about = {name: row.pop(name, None) for name in ("shown", "shown_at", "answered_at", "guideline")}
    for name in WHO:
        row.pop(name, None)
    return row, private, about


def _said(verdict: Verdict) -> str:
    """What tells two answers of one person apart, notes aside."""
    row = verdict.row()
    return canonical({name: value for name, value in row.items() if name not in (*WHO, "notes")})


def name_of(comparison: Comparison) -> str:
    """Of the whole question, also what was not shown: only the same question twice is the same."""
    asked_about = comparison.model_copy(update={"verdict": Verdict()}).row()
    return hashlib.sha256(canonical(["imported", kind_of(comparison.verdict), asked_about]).encode()).hexdigest()[:24]


def _names(comparison: Comparison) -> list[str]:
    """Its name, and the one that it had before the criterion was kept (0.1.0)."""
    found = [name_of(comparison)]
    return (
        found if comparison.criterion is None else [*found, name_of(comparison.model_copy(update={"criterion": None}))]
    )


def copy_of(name: str, copy: int) -> str:
    """The name of a question that the same person answered before: its own where copy is 1."""
    return name if copy == 1 else hashlib.sha256(canonical([name, copy]).encode()).hexdigest()[:24]


def kind_of(verdict: Verdict) -> str:
    """The kind of question that such a verdict answers."""
    kinds = {"clip": verdict.signals, "edit": verdict.edits, "rules": verdict.rules, "rating": verdict.ratings}
    found = next((kind for kind, said in kinds.items() if said), "pair")
    return "ranking" if found == "pair" and len(verdict.ranking) > 1 else found


def _parts(names: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), AT_ONCE):
        yield list(names[start : start + AT_ONCE])
