"""What is left out without being forgotten: labels excluded for a reason, and people or texts erased for good.

Both are events. An erased text is gone from the tables, its digest stays in the chain, and `verify` knows why.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from tutelage.feedback import schema
from tutelage.feedback.asked import known_labeller, withdraw
from tutelage.feedback.asking import UnknownAssignment, checked_name
from tutelage.feedback.chain import Log

B, E, L, P, Q = schema.label, schema.event, schema.labeller, schema.content, schema.question
AT_ONCE = 500


def exclude(connection: Connection, at: float, label_ids: Sequence[str], reason: str, excluded: bool) -> int:
    """Leaves these labels out of `labels` and of new snapshots, or takes them in again; how many changed."""
    checked_name(reason, "the reason of an exclusion")
    log, ids = Log.of(connection, at), list(dict.fromkeys(label_ids))
    there: dict[str, bool] = {}
    for start in range(0, len(ids), AT_ONCE):
        rows = connection.execute(select(B.c.id, B.c.excluded).where(B.c.id.in_(ids[start : start + AT_ONCE])))
        there |= {row.id: row.excluded for row in rows}
    missing = [each for each in ids if each not in there]
    if missing:
        raise UnknownAssignment(f"there is no label {missing[0]!r:.60} ({len(missing)} of {len(ids)}).")
    changing = [each for each in ids if there[each] != excluded]
    if changing:
        log.add("excluded", {"labels": changing, "excluded": excluded, "reason": reason})
        for start in range(0, len(changing), AT_ONCE):
            part = changing[start : start + AT_ONCE]
            connection.execute(update(B).where(B.c.id.in_(part)).values(excluded=excluded))
    return len(changing)


def erase_labeller(connection: Connection, at: float, labeller: str, reason: str) -> int:
    """Takes the name and all free text of a person out; their choices stay, as nobody's. How many texts went."""
    checked_name(reason, "the reason of an erasure")
    log = Log.of(connection, at)
    known_labeller(connection, labeller)
    own = connection.execute(select(L.c.digest).where(L.c.id == labeller)).scalar_one()
    bodies = connection.execute(select(E.c.body).where(E.c.actor == labeller)).scalars()
    private = [json.loads(body).get("private") for body in bodies]
    digests = _purge(connection, [own, *(each for each in private if each)])
    connection.execute(update(L).where(L.c.id == labeller).values(name=None))
    if digests:
        log.add("erased", {"labeller": labeller, "digests": digests, "reason": reason})
    return len(digests)


def erase_question(connection: Connection, at: float, name: str, reason: str) -> int:
    """Takes the texts of a question, and all that people wrote about it, out of the store, and asks it no more; how
    many texts. Its labels are left out of everything that is read from now on, also of snapshots."""
    withdraw(connection, at, [name], reason)
    own = connection.execute(select(Q.c.digest).where(Q.c.name == name)).scalar_one()
    copies = list(connection.execute(select(Q.c.name).where(Q.c.digest == own, Q.c.name != name)).scalars())
    withdraw(connection, at, copies, reason)
    log = Log.of(connection, at)
    kinds = ("answered", "flagged", "imported")
    bodies = (json.loads(body) for body in connection.execute(select(E.c.body).where(E.c.kind.in_(kinds))).scalars())
    private = [each["private"] for each in bodies if each["question"] in (name, *copies) and each["private"]]
    digests = _purge(connection, [own, *private])
    if digests:
        log.add("erased", {"question": name, "digests": digests, "reason": reason})
    return len(digests)


def _purge(connection: Connection, digests: Sequence[str]) -> list[str]:
    """Takes the texts out; those that were still there."""
    gone: list[str] = []
    for digest in dict.fromkeys(digests):
        there = connection.execute(select(P.c.body).where(P.c.digest == digest)).scalar_one()
        if there is not None:
            connection.execute(update(P).where(P.c.digest == digest).values(body=None, salt=None))
            gone.append(digest)
    return gone
