"""What `verify` finds: whatever is changed in a store behind its back is named. And stores of other versions."""

from __future__ import annotations

import random

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError
from tests.contracts.test_store import Clock, question, says, shown_as
from tests.databases import BACKENDS, database

from tutelage.data.errors import InputError
from tutelage.feedback import database as opening
from tutelage.feedback import schema
from tutelage.feedback.database import Database
from tutelage.feedback.migrations import upgrading
from tutelage.feedback.store import Store


@pytest.fixture(params=BACKENDS)
def url(request, tmp_path):
    with database(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def filled(url):
    """A store in which a little of everything has happened; event 11 is an answer."""
    clock = Clock()
    with Store.open(url, clock, random.Random(0)) as store:
        store.ask([question(f"q{i}", wanted=2) for i in range(4)])
        store.guideline("Be kind.")
        ann, bob = store.labeller("ann"), store.labeller("bob")
        says(store, ann, "k1", notes="why")
        says(store, ann, "k2")
        says(store, bob, "k3", "second")
        [given] = store.claim(bob)
        store.flag(bob, given.id, given.lease, "f1", "leak")
        store.skip(bob, given.id, given.lease, "k4", "unclear")
        store.undo(ann, "u1")
        store.snapshot()
        store.withdraw(["q3"], "old")
        assert store.verify() == []
    return url


def run(url, *statements):
    """Straight into the database, as somebody who has its file or its password could."""
    opened = Database(url)
    trigger_off = {
        "sqlite": [f"DROP TRIGGER event_no_{act}" for act in ("update", "delete")],
        "postgresql": ["SET LOCAL session_replication_role = replica"],
    }
    with opened.writing() as connection:
        if opened.sqlite:
            connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        for each in (*trigger_off[connection.dialect.name], *statements):
            connection.exec_driver_sql(each)
    opened.close()


def faults(url):
    with Store.open(url) as store:
        return store.verify()


def an_answer(url):
    with Store.open(url) as store:
        return store.labels()[0].seq


@pytest.mark.parametrize("act", ["UPDATE event SET at = at + 1", "DELETE FROM event"])
def test_events_are_neither_changed_nor_deleted(filled, act):
    opened = Database(filled)
    with pytest.raises(DBAPIError, match="append-only"), opened.writing() as connection:
        connection.exec_driver_sql(act)
    opened.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [("body", "'{}'"), ("at", "0"), ("actor", "'x'"), ("kind", "'flagged'"), ("key", "'x'"), ("hash", "'0'")],
)
def test_a_changed_event_is_named(filled, column, value):
    seq = an_answer(filled)
    run(filled, f"UPDATE event SET {column} = {value} WHERE seq = {seq}")
    assert any(each.startswith(f"event {seq} ") and "was changed" in each for each in faults(filled))


def test_an_event_that_is_missing_is_named(filled):
    seq = an_answer(filled)
    run(filled, f"DELETE FROM label WHERE seq = {seq}", f"DELETE FROM event WHERE seq = {seq}")
    assert f"event {seq}: missing, event {seq + 1} follows event {seq - 1}" in faults(filled)


def test_events_taken_from_the_end_are_noticed(filled):
    run(filled, "DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)")
    assert any("events were taken from its end" in each for each in faults(filled))


def test_events_in_another_order_are_named(filled):
    seq = an_answer(filled)
    moves = [(seq + 1, -1), (seq + 2, seq + 1), (-1, seq + 2)]
    run(filled, *(f"UPDATE event SET seq = {to} WHERE seq = {where}" for where, to in moves))
    found = faults(filled)
    for each in (seq + 1, seq + 2):
        assert any(fault.startswith(f"event {each}") for fault in found), found


def test_a_changed_history_that_is_hashed_anew_still_ends_elsewhere(filled):
    """Whoever rewrites all hashes must also change the head; the last hash, written down elsewhere, gives them away."""
    with Store.open(filled) as store:
        before = store.last()
    seq = an_answer(filled)
    run(filled, f"UPDATE event SET at = at + 1 WHERE seq = {seq}")
    assert faults(filled)
    with Store.open(filled) as store:
        assert store.last() == before and before[0] > seq


@pytest.mark.parametrize(
    ("statement", "part"),
    [
        ("UPDATE question SET counted = 0 WHERE name = 'q0'", "question q0: the table says counted = 0"),
        ("UPDATE question SET wanted = 9 WHERE name = 'q1'", "question q1: the table says wanted = 9"),
        ("UPDATE label SET state = 'surplus' WHERE seq = {seq}", "label {seq}: the table says state = 'surplus'"),
        ("UPDATE label SET retracted = 3 WHERE seq = {seq}", "label {seq}: the table says retracted = 3"),
        ("DELETE FROM label WHERE seq = {seq}", "label {seq}: is in the log, but not in the table"),
        ("UPDATE assignment SET state = 'answered' WHERE state = 'skipped'", "the table says state = 'answered'"),
        ("UPDATE assignment SET shown = '[]'", "the table says shown = []"),
        ("DELETE FROM snapshot_label", "snapshot_label"),
        ("UPDATE content SET body = '\"x\"'", "its text was changed"),
        ("UPDATE content SET body = NULL, salt = NULL", "its text was taken out without an event"),
        ("UPDATE labeller SET name = 'eve' WHERE name = 'ann'", "has another name"),
        ("INSERT INTO content VALUES ('d', 's', 'b')", "belongs to no event"),
    ],
)
def test_a_changed_table_is_named(filled, statement, part):
    seq = an_answer(filled)
    run(filled, statement.format(seq=seq))
    assert any(part.format(seq=seq) in each for each in faults(filled)), faults(filled)


def test_an_answer_on_the_wrong_side_is_named(url):
    """Written by a program with a fault, so that chain and tables agree, but not with what was on the screen."""
    from tutelage.feedback import answers

    with Store.open(url) as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "verdict_of", lambda *_: {"choice": "a"})
        store.ask([question()])
        [given] = store.claim(ann := store.labeller("ann"))
        store.answer(ann, given.id, given.lease, "k", {"choice": shown_as(given, "second")})
        [fault] = store.verify()
    assert "on the screen means {'choice': 'b'}, not {'choice': 'a'}" in fault


def tables(connection):
    return {
        table: [(each["name"], each["nullable"]) for each in sqlalchemy.inspect(connection).get_columns(table)]
        for table in schema.metadata.tables
    }


def names(connection):
    """Of indexes and checks."""
    seen = sqlalchemy.inspect(connection)
    found = (
        each
        for table in schema.metadata.tables
        for each in (*seen.get_indexes(table), *seen.get_check_constraints(table))
    )
    return sorted(each["name"] for each in found)


def test_the_migrations_make_the_same_tables(url, tmp_path):
    """A new store is made at once, an old one step by step: both end alike."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "create", lambda connection: upgrading.upgrade(connection, None, "here"))
        stepwise = Database(url)
    with stepwise.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
        by_steps = tables(connection)
        names_by_steps = names(connection)
    stepwise.close()
    with database("sqlite" if "postgres" not in url else "postgresql", tmp_path / "new") as other:
        at_once = Database(other)
        with at_once.reading() as connection:
            assert tables(connection) == by_steps
            assert names(connection) == names_by_steps
        at_once.close()
    with Store.open(url) as store:
        store.ask([question()])
        says(store, store.labeller("ann"), "k")
        assert store.verify() == []
    test_events_are_neither_changed_nor_deleted(url, "DELETE FROM event")


def test_the_newest_migration_is_the_version_of_the_tables():
    assert ScriptDirectory.from_config(upgrading.configured()).get_current_head() == schema.VERSION


NEXT = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0003", "0002"
def upgrade():
    op.add_column("question", sa.Column("colour", sa.Text()))
"""


def test_an_older_store_is_brought_up_to_date_when_it_is_opened(filled, tmp_path, monkeypatch):
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "0003_next.py").write_text(NEXT)
    monkeypatch.setattr(upgrading, "VERSIONS", (*upgrading.VERSIONS, tmp_path / "versions"))
    monkeypatch.setattr(schema, "VERSION", "0003")
    opened = Database(filled)
    with opened.reading() as connection:
        assert "colour" in [each["name"] for each in sqlalchemy.inspect(connection).get_columns("question")]
        assert opening.version_of(connection) == "0003"
    opened.close()


def test_a_store_of_a_newer_tutelage_is_refused(filled):
    run(filled, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(InputError, match="version 9999, and this tutelage knows versions up to 0002"):
        Store.open(filled)
