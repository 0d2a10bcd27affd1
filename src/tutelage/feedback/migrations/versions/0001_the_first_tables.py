"""The first tables.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None
branch_labels, depends_on = None, None

DENIED = "the log is append-only: its events are neither changed nor deleted"


def upgrade() -> None:
    log()
    people()
    questions()
    answers()
    triggers()


def text(name: str, **options: bool) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=options.get("nullable", False))


def number(name: str, **options: bool) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=options.get("nullable", False))


def real(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=False)


def key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=f"uq_{table}_{'_'.join(columns)}")


def refers(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}_{target.split('.')[0]}")


def log() -> None:
    op.create_table(
        "event",
        *(number("seq"), text("id"), text("kind"), real("at"), text("actor", nullable=True)),
        *(text("key", nullable=True), text("body"), text("previous"), text("hash")),
        *(key("event", "seq"), unique("event", "id"), unique("event", "actor", "key")),
    )
    op.create_table("head", number("one"), number("seq"), text("hash"), key("head", "one"))
    op.create_table(
        "content", text("digest"), text("salt", nullable=True), text("body", nullable=True), key("content", "digest")
    )
    op.execute(f"INSERT INTO head (one, seq, hash) VALUES (1, 0, '{'0' * 64}')")


def people() -> None:
    op.create_table(
        "labeller",
        *(text("id"), text("kind"), text("name", nullable=True), text("digest")),
        *(key("labeller", "id"), unique("labeller", "name"), refers("labeller", "digest", "content.digest")),
    )
    op.create_table(
        "guideline",
        *(text("version"), number("seq"), text("digest")),
        *(key("guideline", "version"), unique("guideline", "seq"), refers("guideline", "digest", "content.digest")),
    )


def questions() -> None:
    op.create_table(
        "question",
        *(text("name"), number("asked"), text("kind"), number("wanted"), real("priority"), real("asked_with")),
        *(text("policy", nullable=True), text("digest"), number("counted"), number("withdrawn", nullable=True)),
        *(key("question", "name"), unique("question", "asked"), refers("question", "digest", "content.digest")),
        sa.CheckConstraint("counted >= 0 AND counted <= wanted", name=op.f("ck_question_counted")),
    )
    waiting = sa.text("withdrawn IS NULL AND counted < wanted")
    op.create_index(
        "ix_question_open",
        "question",
        [sa.text("priority DESC"), "asked"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
    op.create_table(
        "assignment",
        *(text("id"), text("question"), text("labeller"), text("state"), text("lease"), real("expires_at")),
        *(text("shown"), text("guideline", nullable=True), number("seq")),
        *(key("assignment", "id"), unique("assignment", "question", "labeller")),
        *(refers("assignment", "question", "question.name"), refers("assignment", "labeller", "labeller.id")),
        sa.CheckConstraint("state IN ('leased', 'answered', 'skipped')", name=op.f("ck_assignment_state")),
    )
    op.create_index("ix_assignment_labeller", "assignment", ["labeller", "state", "seq"])


def answers() -> None:
    op.create_table(
        "label",
        *(number("seq"), text("id"), text("question"), text("labeller"), text("state")),
        *(number("retracted", nullable=True), sa.Column("excluded", sa.Boolean(), nullable=False)),
        *(key("label", "seq"), unique("label", "id"), refers("label", "seq", "event.seq")),
        *(refers("label", "question", "question.name"), refers("label", "labeller", "labeller.id")),
        sa.CheckConstraint("state IN ('counted', 'surplus', 'late', 'withdrawn')", name=op.f("ck_label_state")),
    )
    present = sa.text("retracted IS NULL")
    op.create_index(
        "ix_label_current",
        "label",
        ["question", "labeller"],
        unique=True,
        sqlite_where=present,
        postgresql_where=present,
    )
    op.create_index("ix_label_labeller", "label", ["labeller"])
    op.create_table("snapshot", text("id"), number("seq"), text("sha256"), number("labels"), key("snapshot", "id"))
    op.create_table(
        "snapshot_label",
        *(text("snapshot"), text("label"), key("snapshot_label", "snapshot", "label")),
        refers("snapshot_label", "snapshot", "snapshot.id"),
    )
    op.create_index("ix_snapshot_label_label", "snapshot_label", ["label"])


def triggers() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for act in ("UPDATE", "DELETE"):
            refuse = f"BEGIN SELECT RAISE(ABORT, '{DENIED}'); END"
            op.execute(f"CREATE TRIGGER event_no_{act.lower()} BEFORE {act} ON event {refuse}")
        return
    op.execute(
        "CREATE FUNCTION event_denied() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{DENIED}'; END $$"
    )
    denied = "EXECUTE FUNCTION event_denied()"
    op.execute(f"CREATE TRIGGER event_no_change BEFORE UPDATE OR DELETE ON event FOR EACH ROW {denied}")
    op.execute(f"CREATE TRIGGER event_no_truncate BEFORE TRUNCATE ON event FOR EACH STATEMENT {denied}")
