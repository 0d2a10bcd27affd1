"""The tables, the same on SQLite and PostgreSQL. docs/schema.md tells what each column means.

`event` is the truth: rows are added, never changed (triggers deny it), each hashed together with the one before. All
other tables are worked out from it in the same transaction and can be compared with it (verify.py). What may have to
be erased, texts and names, stands in `content`, to which events refer by a salted hash.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

VERSION = "0002"  # the newest migration; a test compares it with migrations/versions
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)

event = Table(
    "event",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("actor", Text),
    Column("key", Text),
    Column("body", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
    UniqueConstraint("actor", "key"),
)
head = Table(
    "head",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, nullable=False),
    Column("hash", Text, nullable=False),
)
content = Table(
    "content",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("salt", Text),
    Column("body", Text),
)
labeller = Table(
    "labeller",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, unique=True),
    Column("digest", Text, ForeignKey("content.digest"), nullable=False),
)
guideline = Table(
    "guideline",
    metadata,
    Column("version", Text, primary_key=True),
    Column("seq", Integer, nullable=False, unique=True),
    Column("digest", Text, ForeignKey("content.digest"), nullable=False),
)
question = Table(
    "question",
    metadata,
    Column("name", Text, primary_key=True),
    Column("asked", Integer, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("priority", Double, nullable=False),
    Column("asked_with", Double, nullable=False),
    Column("policy", Text),
    Column("digest", Text, ForeignKey("content.digest"), nullable=False),
    Column("counted", Integer, nullable=False),
    Column("withdrawn", Integer),
    Column("purpose", Text),
    Column("about", Text),
    Column("person", Text),
    Column("warning", Text),
    CheckConstraint("counted >= 0 AND counted <= wanted", name="counted"),
)
Index(
    "ix_question_open",
    question.c.priority.desc(),
    question.c.asked,
    sqlite_where=text("withdrawn IS NULL AND counted < wanted"),
    postgresql_where=text("withdrawn IS NULL AND counted < wanted"),
)
Index("ix_question_person", question.c.person, question.c.purpose)
assignment = Table(
    "assignment",
    metadata,
    Column("id", Text, primary_key=True),
    Column("question", Text, ForeignKey("question.name"), nullable=False),
    Column("labeller", Text, ForeignKey("labeller.id"), nullable=False),
    Column("state", Text, nullable=False),
    Column("lease", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("shown", Text, nullable=False),
    Column("guideline", Text),
    Column("seq", Integer, nullable=False),
    UniqueConstraint("question", "labeller"),
    CheckConstraint("state IN ('leased', 'answered', 'skipped')", name="state"),
)
Index("ix_assignment_labeller", assignment.c.labeller, assignment.c.state, assignment.c.seq)
label = Table(
    "label",
    metadata,
    Column("seq", Integer, ForeignKey("event.seq"), primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("question", Text, ForeignKey("question.name"), nullable=False),
    Column("labeller", Text, ForeignKey("labeller.id"), nullable=False),
    Column("state", Text, nullable=False),
    Column("retracted", Integer),
    Column("excluded", Boolean, nullable=False),
    CheckConstraint("state IN ('counted', 'surplus', 'late', 'withdrawn')", name="state"),
)
Index(
    "ix_label_current",
    label.c.question,
    label.c.labeller,
    unique=True,
    sqlite_where=text("retracted IS NULL"),
    postgresql_where=text("retracted IS NULL"),
)
Index("ix_label_labeller", label.c.labeller)
snapshot = Table(
    "snapshot",
    metadata,
    Column("id", Text, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("labels", Integer, nullable=False),
)
snapshot_label = Table(
    "snapshot_label",
    metadata,
    Column("snapshot", Text, ForeignKey("snapshot.id"), primary_key=True),
    Column("label", Text, primary_key=True),
)
Index("ix_snapshot_label_label", snapshot_label.c.label)

DENIED = "the log is append-only: its events are neither changed nor deleted"
TRIGGERS = {
    "sqlite": tuple(
        f"CREATE TRIGGER event_no_{act.lower()} BEFORE {act} ON event BEGIN SELECT RAISE(ABORT, '{DENIED}'); END"
        for act in ("UPDATE", "DELETE")
    ),
    "postgresql": (
        "CREATE FUNCTION event_denied() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{DENIED}'; END $$",
        "CREATE TRIGGER event_no_change BEFORE UPDATE OR DELETE ON event FOR EACH ROW EXECUTE FUNCTION event_denied()",
        "CREATE TRIGGER event_no_truncate BEFORE TRUNCATE ON event FOR EACH STATEMENT EXECUTE FUNCTION event_denied()",
    ),
}
