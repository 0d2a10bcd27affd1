"""The feedback store on SQLite and on PostgreSQL: one contract. Nothing lost, nothing doubled, no side mistaken."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
import time
import warnings

import pytest
import sqlalchemy
from tests.databases import BACKENDS, database

from tutelage.data.errors import InputError
from tutelage.data.records import Candidate, Context
from tutelage.feedback import database as opening
from tutelage.feedback.asking import Asking, Check, LeaseLost, NotYours, Refused, UnknownAssignment
from tutelage.feedback.store import Store


class Clock:
    """Time that stands still until it is told to go on."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=BACKENDS)
def url(request, tmp_path):
    with database(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(url, clock):
    with Store.open(url, clock, random.Random(0)) as opened:
        yield opened
        assert opened.verify() == []


def question(name="q", **changes):
    candidates = (
        Candidate(id="a", text="first", policy="policy-seven", score=0.123, sampler={"temperature": 0.7}),
        Candidate(id="b", text="second", policy="policy-eight", score=0.456),
    )
    return Asking(**{"context": Context(prompt=f"prompt of {name}"), "candidates": candidates, "name": name, **changes})


def shown_as(assignment, text):
    return next(each.id for each in assignment.shown if each.text == text)


def says(store, who, key, text="first", **verdict):
    """Claims one question and chooses this text."""
    [given] = store.claim(who)
    return store.answer(who, given.id, given.lease, key, {"choice": shown_as(given, text), **verdict})


def test_an_answer_comes_out_as_a_label_on_the_right_side(store, clock):
    store.guideline("Be *kind*.")
    store.ask([question(asked_with=0.25)])
    ann = store.labeller("ann")
    [given] = store.claim(ann)
    said = {"choice": shown_as(given, "second"), "strength": 0.5, "notes": "shorter"}
    receipt = store.answer(
        ann, given.id, given.lease, "k1", said, {"shown_at": 5.0, "answered_at": 7.5, "active_ms": 900}
    )
    assert (receipt.state, receipt.repeated) == ("counted", False)
    [label] = store.labels()
    verdict = label.comparison.verdict
    assert (label.id, label.seq, label.question, label.state, label.at) == (
        receipt.event,
        receipt.seq,
        "q",
        "counted",
        clock.now,
    )
    assert (verdict.choice, verdict.strength, verdict.notes, verdict.rater) == ("b", 0.5, "shorter", ann)
    assert verdict.shown == tuple({"first": "a", "second": "b"}[each.text] for each in given.shown)
    assert (verdict.shown_at, verdict.answered_at, verdict.guideline, given.guideline) == (5.0, 7.5, "1", "1")
    assert label.comparison.candidates == question().candidates and label.comparison.asked_with == 0.25
    assert store.open_questions() == [] and store.claim(ann) == []


def test_the_order_on_the_screen_is_drawn_and_its_names_tell_nothing(store):
    store.ask([question(f"q{i}") for i in range(40)])
    given = store.claim(store.labeller("ann"), count=40)
    first = [each.shown[0].text for each in given]
    assert 8 < first.count("first") < 32
    names = [shown.id for each in given for shown in each.shown]
    assert len(set(names)) == 80 and not {"a", "b"} & set(names)
    assert not any(word in repr(given) for word in ("policy-", "temperature", "score", "0.123", "0.456"))


def test_asking_twice_adds_nothing_and_other_texts_need_another_name(store):
    unnamed = question(name=None)
    assert store.ask([question(), unnamed, question()]) == ["q", unnamed.called, "q"]
    assert store.ask([question(), unnamed]) == ["q", unnamed.called]
    assert len(store.open_questions()) == 2
    with pytest.raises(Refused, match="asked before with other texts"):
        store.ask([question("new"), question(context=Context(prompt="another"))])
    assert len(store.open_questions()) == 2


def test_priority_first_then_the_order_asked_and_only_the_kinds_that_are_wanted(store):
    store.ask([question("q1"), question("q2", priority=1.0), question("q3", kind="edit", priority=9.0), question("q4")])
    assert store.open_questions() == ["q3", "q2", "q1", "q4"]
    given = store.claim(store.labeller("ann"), count=3, kinds=["pair"])
    assert [each.context.prompt for each in given] == ["prompt of q2", "prompt of q1", "prompt of q4"]
    assert store.claim(store.labeller("bob"))[0].kind == "edit"


def test_open_and_skipped_questions_are_the_projects_own_not_its_checks(store):
    """Templates of known answers never end, and what is asked of one person alone is not what a trainer waits for."""
    ann = store.labeller("ann")
    known = [question(purpose, check=Check(purpose)) for purpose in ("gold", "qualification")]
    personal = [question(purpose, check=Check(purpose, person=ann)) for purpose in ("repeat", "swap", "adjudication")]
    store.ask([*known, *personal, question("own"), question("second")])
    assert store.open_questions() == ["own", "second"]
    given = store.claim(ann, count=9)
    assert len(given) == 5  # the templates are asked of nobody
    for each in given:
        store.skip(ann, each.id, each.lease, each.id, "unclear")
    assert store.skipped() == store.open_questions() == ["own", "second"]
    assert store.withdraw(["gold", "repeat", "own"], "superseded") == 3  # by its name, a check is withdrawn as before
    assert store.withdraw(["gold"], "superseded") == 0 and store.open_questions() == ["second"]


def test_own_live_leases_come_first_and_are_the_same(store, clock):
    store.ask([question("q1"), question("q2")])
    ann = store.labeller("ann")
    [before] = store.claim(ann, lease_s=10)
    clock.now += 5
    [again] = store.claim(ann, lease_s=10)
    assert again.shown == before.shown and again.lease == before.lease and again.expires_at == clock.now + 10
    assert store.claim(ann, count=2)[0].id == before.id


def test_no_more_people_are_busy_with_a_question_than_it_wants(store, clock):
    store.ask([question(wanted=2)])
    ann, bob, cid = (store.labeller(name) for name in ("ann", "bob", "cid"))
    assert len(store.claim(ann, lease_s=10)) == len(store.claim(bob, lease_s=20)) == 1
    assert store.claim(cid) == []
    clock.now += 10
    assert len(store.claim(cid)) == 1


def test_the_same_key_is_the_same_answer(store):
    store.ask([question("q1", wanted=2), question("q2")])
    ann = store.labeller("ann")
    [given] = store.claim(ann)
    said = {"choice": given.shown[0].id}
    first = store.answer(ann, given.id, given.lease, "k", said)
    assert store.answer(ann, given.id, given.lease, "k", said).repeated
    assert store.answer(ann, given.id, given.lease, "k", said).event == first.event
    assert len(store.labels()) == 1
    with pytest.raises(Refused, match="key k was used before"):
        store.skip(ann, given.id, given.lease, "k", "unclear")
    with pytest.raises(LeaseLost, match="answered already"):
        store.answer(ann, given.id, given.lease, "k2", said)
    bob = store.labeller("bob")
    assert not says(store, bob, "k").repeated  # another person's key is another key


def test_late_answers_count_while_their_place_is_free_and_are_kept_when_it_is_not(store, clock):
    store.ask([question("q1"), question("q2")])
    ann, bob = store.labeller("ann"), store.labeller("bob")
    late, kept = store.claim(ann, count=2, lease_s=10)
    clock.now += 11
    [taken] = store.claim(bob)
    assert taken.context == late.context
    for given, state in ((kept, "counted"), (late, "late")):
        assert store.answer(ann, given.id, given.lease, given.id, {"tie": True}).state == state
    assert store.answer(bob, taken.id, taken.lease, "k", {"tie": True}).state == "counted"
    assert sorted(each.state for each in store.labels()) == ["counted", "counted", "late"]


def test_an_undo_takes_back_and_gives_the_question_again(store):
    store.ask([question("q1"), question("q2")])
    ann = store.labeller("ann")
    first = says(store, ann, "k1", "second", notes="why")
    again = store.undo(ann, "u1")
    assert again.returned == {"choice": shown_as(again, "second"), "notes": "why"}
    assert store.labels() == [] and store.progress(ann).answered == 0
    assert store.undo(ann, "u1") == again
    with pytest.raises(Refused, match="nothing to undo"):
        store.undo(ann, "u2")
    assert store.claim(ann)[0].id == again.id
    now = store.answer(ann, again.id, again.lease, "k2", {"choice": shown_as(again, "first")})
    assert now.event != first.event and [each.comparison.verdict.choice for each in store.labels()] == ["a"]


def test_undo_reaches_skips_and_a_named_answer_but_nobody_elses(store):
    store.ask([question(f"q{i}") for i in range(3)])
    ann, bob = store.labeller("ann"), store.labeller("bob")
    first = says(store, ann, "k1")
    says(store, ann, "k2")
    [given] = store.claim(ann)
    store.skip(ann, given.id, given.lease, "k3", "unclear")
    assert store.claim(ann) == []
    assert store.undo(ann, "u1").returned == {"skipped": "unclear"}
    assert store.undo(ann, "u2", first.event).context.prompt == "prompt of q0"
    with pytest.raises(UnknownAssignment):
        store.undo(bob, "u3", first.event)


def test_undo_is_twenty_deep(store):
    store.ask([question(f"q{i}") for i in range(22)])
    ann = store.labeller("ann")
    events = [says(store, ann, f"k{i}").event for i in range(22)]
    with pytest.raises(UnknownAssignment, match="last 20"):
        store.undo(ann, "u", events[1])
    store.undo(ann, "u", events[2])


def test_withdrawn_questions_leave_the_screen_and_their_answers_are_kept(store):
    store.ask([question("q1", policy="v1"), question("q2", policy="v1", wanted=2), question("q3", policy="v2")])
    ann, bob = store.labeller("ann"), store.labeller("bob")
    [before] = store.claim(ann)
    assert store.open_questions("v1") == ["q1", "q2"]
    assert store.withdraw(store.open_questions("v1"), "superseded") == 2
    assert store.withdraw(["q1"], "superseded") == 0
    assert store.open_questions() == ["q3"]
    assert store.claim(bob)[0].context.prompt == "prompt of q3"
    assert store.claim(ann) == []
    assert store.answer(ann, before.id, before.lease, "k", {"tie": True}).state == "withdrawn"
    assert [each.state for each in store.labels()] == ["withdrawn"]
    with pytest.raises(UnknownAssignment, match="no question 'q9'"):
        store.withdraw(["q9"], "superseded")


def test_what_is_not_ones_own_is_refused_by_name(store, clock):
    store.ask([question()])
    ann, bob = store.labeller("ann"), store.labeller("bob")
    [given] = store.claim(ann, lease_s=10)
    said = {"choice": given.shown[0].id}
    for error, arguments in (
        (UnknownAssignment, (ann, "guessed", given.lease)),
        (NotYours, (bob, given.id, given.lease)),
        (LeaseLost, (ann, given.id, "forged")),
        (NotYours, ("nobody", given.id, given.lease)),
    ):
        with pytest.raises(error):
            store.answer(*arguments, "k", said)
    clock.now += 11
    assert store.extend(ann, given.id, given.lease, 10) == clock.now + 10
    clock.now += 11
    store.claim(bob)
    with pytest.raises(LeaseLost, match="somebody else"):
        store.extend(ann, given.id, given.lease)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"choice": "a"},
        {"choice": 7},
        {"tie": True, "no_choice": "all bad"},
        {"tie": 1},
        {"tie": True, "strength": 0.5},
        {"no_choice": "whatever"},
        {"choice": None},
        {"ranking": [["x"]]},
        {"choice": "{0}", "strength": 2.0},
        {"choice": "{0}", "strength": float("nan")},
        {"choice": "{0}", "colour": "red"},
        {"choice": "{0}", "notes": "x" * 1_000_001},
    ],
    ids=str,
)
def test_what_is_no_answer_to_a_pair_is_refused_and_changes_nothing(store, said):
    store.ask([question()])
    ann = store.labeller("ann")
    [given] = store.claim(ann)
    seq = store.wait(0, 0)
    with pytest.raises(Refused):
        store.answer(
            ann,
            given.id,
            given.lease,
            "k",
            {**said, **({"choice": given.shown[0].id} if said.get("choice") == "{0}" else {})},
        )
    assert store.wait(0, 0) == seq and store.labels() == []


def test_other_kinds_of_answers_are_turned_round_too(store):
    three = tuple(Candidate(id=name, text=name * 3) for name in "abc")
    kinds = ("ranking", "rating", "rules", "edit", "clip", "of my own")
    store.ask([Asking(Context(prompt=kind), three, kind=kind) for kind in kinds])
    ann, said = store.labeller("ann"), {}
    for given in store.claim(ann, count=6):
        a, b, c = (shown_as(given, name * 3) for name in "abc")
        answer = {
            "ranking": {"ranking": [[b], [a, c]]},
            "rating": {"ratings": {"helpful": {a: 1.0, c: 3.0}}},
            "rules": {"rules": {"no threats": {a: True}}},
            "edit": {"edits": {b: "better"}},
            "clip": {"choice": c, "signals": {c: [{"seconds": 1.0, "value": -1.0}]}},
            "of my own": {"choice": a, "ratings": {"fun": {a: 2.0}}},
        }[given.kind]
        store.answer(ann, given.id, given.lease, given.id, answer)
        said[given.kind] = answer
    verdicts = {each.comparison.context.prompt: each.comparison.verdict for each in store.labels()}
    assert verdicts["ranking"].ranking == (("b",), ("a", "c"))
    assert verdicts["rating"].ratings == {"helpful": {"a": 1.0, "c": 3.0}}
    assert verdicts["rules"].rules == {"no threats": {"a": True}}
    assert verdicts["edit"].edits == {"b": "better"}
    assert verdicts["clip"].choice == "c" and verdicts["clip"].signals["c"][0].value == -1.0
    assert verdicts["of my own"].choice == "a"
    while said:
        again = store.undo(ann, f"u{len(said)}")
        assert again.returned == said.pop(again.kind)


def test_a_tie_and_nothing_to_choose(store):
    store.ask([question("q1"), question("q2"), question("q3")])
    ann = store.labeller("ann")
    for given, said in zip(
        store.claim(ann, 3), ({"tie": True}, {"no_choice": "all bad"}, {"no_choice": "incomparable"})
    ):
        store.answer(ann, given.id, given.lease, given.id, said)
    tie, bad, other = (each.comparison for each in store.labels())
    assert tie.verdict.ranking == (("a", "b"),) and tie.best is None
    assert (bad.verdict.no_choice, other.verdict.no_choice) == ("all bad", "incomparable")
    assert store.undo(ann, "u").returned == {"no_choice": "incomparable"}


def test_flags_keep_the_lease_and_progress_counts(store, clock):
    store.ask([question("q1", wanted=2), question("q2")])
    ann, bob = store.labeller("ann"), store.labeller("bob")
    [given] = store.claim(ann)
    assert store.flag(ann, given.id, given.lease, "f", "leak", "it says its name").state == "flagged"
    says(store, ann, "k1")
    says(store, bob, "k2")
    clock.now += 86_400
    told = store.progress(ann)
    assert (told.answered, told.today, told.left, told.asked, told.counted, told.wanted) == (1, 0, 1, 2, 2, 3)


def test_guidelines_have_versions(store):
    assert store.guideline_text() is None
    assert [store.guideline(each) for each in ("one", "one", "two", "one")] == ["1", "1", "2", "3"]
    assert (store.guideline_text(), store.guideline_text("2")) == ("one", "two")


def test_labellers_keep_their_id_and_kind(store):
    ann = store.labeller("ann")
    assert store.labeller("ann") == ann and "ann" not in ann
    gold = store.labeller("gold", "synthetic")
    with pytest.raises(Refused, match="synthetic, not human"):
        store.labeller("gold")
    store.ask([question()])
    says(store, gold, "k")
    assert store.labels()[0].comparison.verdict.rater_kind == "synthetic"


def test_snapshots_stay_as_they_were_and_tell_what_was_taken_back(store):
    store.ask([question(f"q{i}") for i in range(3)])
    ann = store.labeller("ann")
    events = [says(store, ann, f"k{i}").event for i in range(3)]
    frozen = store.snapshot()
    assert frozen.label_ids == tuple(events) and store.snapshot() == frozen
    part = store.snapshot(events[:1])
    before = store.snapshot_labels(frozen.id)
    store.undo(ann, "u")
    assert store.exclude(events[1:2], "rushed") == 1 and store.exclude(events[1:2], "rushed") == 0
    assert [each.id for each in store.labels()] == events[:1]
    assert store.snapshot_labels(frozen.id) == before
    assert store.affected() == {frozen.id: events[1:]}
    assert store.lineage(events[0]) == [frozen.id, part.id]
    assert store.snapshot() == part
    store.exclude(events[1:2], "after all", excluded=False)
    assert len(store.labels()) == 2
    with pytest.raises(UnknownAssignment):
        store.snapshot(["nothing"])


def test_waiting_ends_with_an_event_of_another_process(url, store):
    store.ask([question()])
    seq = store.wait(0, 0)
    begun = time.monotonic()
    assert store.wait(seq, 0.2) == seq and 0.2 <= time.monotonic() - begun < 2

    def soon():
        time.sleep(0.2)
        with Store.open(url) as other:
            other.labeller("bob")

    helper = threading.Thread(target=soon)
    helper.start()
    assert store.wait(seq, 20) == seq + 1
    helper.join()


def test_erased_people_and_texts_leave_the_chain_whole(store, url):
    store.ask([question("q1"), question("q2")])
    ann = store.labeller("ann of Springfield")
    says(store, ann, "k1", notes="call me on 555")
    frozen = store.snapshot()
    assert store.erase_labeller(ann, "asked for it") == 2
    assert store.erase_labeller(ann, "asked for it") == 0
    [label] = store.labels()
    assert label.comparison.verdict.notes is None and label.comparison.verdict.choice == "a"
    assert store.labeller("ann of Springfield") != ann
    assert store.erase_question("q1", "holds an address") == 1
    assert store.labels() == [] and store.snapshot_labels(frozen.id) == []
    assert store.erase_question("q2", "holds an address") == 1
    assert store.claim(ann) == [] and store.verify() == []


def test_an_erased_text_is_nowhere_in_the_file(tmp_path):
    path = tmp_path / "feedback.db"
    with Store.open(path) as store:
        store.ask([question(context=Context(prompt="Marrakesh"))])
        says(store, store.labeller("Ouagadougou"), "k", notes="Tegucigalpa")
        store.erase_labeller(store.labeller("Ouagadougou"), "asked for it")
        store.erase_question("q", "asked for it")
        everything = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert not [word for word in (b"Marrakesh", b"Ouagadougou", b"Tegucigalpa") if word in everything]


def test_many_threads_neither_double_nor_overshoot(store):
    store.ask([question(f"q{i}", wanted=2) for i in range(20)])
    people = [store.labeller(f"p{i}") for i in range(6)]
    faults = []

    def work(who):
        try:
            while given := store.claim(who, count=2):
                for each in given:
                    store.answer(who, each.id, each.lease, each.id, {"choice": each.shown[0].id})
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(who,)) for who in people]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not faults
    labels = store.labels()
    assert len(labels) == 40 and {each.state for each in labels} == {"counted"}
    assert len({(each.question, each.comparison.verdict.rater) for each in labels}) == 40


WORKER = """
import sys
from tutelage.feedback.store import Store
with Store.open(sys.argv[1]) as store:
    who = store.labeller(sys.argv[2])
    while given := store.claim(who, lease_s=float(sys.argv[3])):
        each = given[0]
        store.answer(who, each.id, each.lease, "a" + each.id, {"choice": each.shown[0].id})
        print(each.id, flush=True)
"""


@pytest.mark.slow
def test_processes_side_by_side_wait_for_each_other(url):
    """No lock of Python's helps here: without the database's own turns they would fail, or ask too often."""
    with Store.open(url) as store:
        store.ask([question(f"q{i}", wanted=2) for i in range(60)])
        workers = [
            subprocess.Popen([sys.executable, "-c", WORKER, url, name, "60"], stdout=subprocess.DEVNULL)
            for name in "abcd"
        ]
        assert [each.wait(timeout=120) for each in workers] == [0, 0, 0, 0]
        assert [each.state for each in store.labels()] == ["counted"] * 120
        assert store.verify() == []


@pytest.mark.slow
def test_processes_that_are_killed_lose_nothing_that_was_acknowledged(url):
    """SIGKILL in the middle; what a process had printed is there, and the rest is asked again after its lease."""
    with Store.open(url) as store:
        store.ask([question(f"q{i}", wanted=2) for i in range(60)])
        arguments = [sys.executable, "-c", WORKER, url]
        printed = []
        for count in (10, 25):
            workers = [
                subprocess.Popen([*arguments, name, "1"], stdout=subprocess.PIPE, text=True) for name in ("x", "y", "z")
            ]
            for each in workers:
                printed += [each.stdout.readline() for _ in range(count // 5)]
            for each in workers:
                each.kill()
                printed += each.stdout.read().splitlines(keepends=True)[:-1]
                each.stdout.close()
                each.wait()
        deadline = time.monotonic() + 60
        while store.open_questions() and time.monotonic() < deadline:
            for name in ("x", "y", "z"):
                subprocess.run([*arguments, name, "1"], check=True, capture_output=True)
            time.sleep(0.5)
        labels = store.labels()
        assert len([each for each in labels if each.state == "counted"]) == 120
        assert len({(each.question, each.comparison.verdict.rater) for each in labels}) == len(labels)
        assert store.verify() == []
        with store._database.reading() as connection:
            known = set(
                connection.execute(sqlalchemy.text("SELECT id FROM assignment WHERE state = 'answered'")).scalars()
            )
        assert {each.strip() for each in printed if each.endswith("\n")} <= known


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ("mysql://x/y", "cannot hold a store"),
        ("sqlite://", "cannot hold a store"),
        ("postgresql://nobody@127.0.0.1:1/x", "running"),
    ],
)
def test_what_is_no_database_is_said_in_one_sentence(given, part):
    with pytest.raises(InputError, match=part):
        Store.open(given)


def test_files_that_are_no_store_are_left_alone(tmp_path):
    (tmp_path / "text.db").write_text("no database at all, " * 100)
    with pytest.raises(InputError, match="no SQLite database"):
        Store.open(tmp_path / "text.db")
    with pytest.raises(InputError, match="is a folder"):
        Store.open(tmp_path)
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE event (x)")
    connection.close()
    with pytest.raises(InputError, match="not by tutelage"):
        Store.open(tmp_path / "other.db")


def test_a_network_disk_is_warned_of(tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/x / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    assert opening.file_system(tmp_path, str(mounts)) == "nfs4"
    assert opening.file_system(tmp_path, str(tmp_path / "none")) is None
    monkeypatch.setattr(opening, "file_system", lambda folder: "nfs4")
    with pytest.warns(UserWarning, match="lies on nfs4"):
        Store.open(tmp_path / "feedback.db").close()
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Store.open(tmp_path / "feedback.db").close()


def test_every_answer_is_flushed_to_the_disk(tmp_path):
    with Store.open(tmp_path / "feedback.db") as store, store._database.reading() as connection:
        told = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert told == ["wal", 2, 1]


def test_the_store_is_opened_without_torch():
    code = "import sys, tutelage.feedback.store; assert not {'torch', 'alembic', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_number_of_answers_holds_for_open_questions(store):
    store.ask([question("open"), question("half", wanted=3), question("done"), question("gone"), question("other")])
    ann, bob = store.labeller("ann"), store.labeller("bob")
    for i, name in enumerate(("half", "done")):
        [given] = store.claim(ann, names=[name])
        store.answer(ann, given.id, given.lease, f"k{i}", {"tie": True})
    store.withdraw(["gone"], "old")
    assert store.want(2, ["open", "half", "done", "gone"]) == (2, 1)
    assert store.want(2, ["open", "half", "done", "gone"]) == (0, 1)
    assert [store.stats()["questions"][name] for name in ("wanted", "open")] == [2 + 2 + 1 + 1, 3]
    for i, name in enumerate(("open", "half")):
        [given] = store.claim(bob, names=[name])
        assert store.answer(bob, given.id, given.lease, f"k{i}", {"tie": True}).state == "counted"
    assert store.claim(bob, names=["done"]) == [] and store.open_questions() == ["open", "other"]
    assert store.want(1) == (1, 0) and store.open_questions() == ["other"]
    with pytest.raises(Refused, match="wanted is 0"):
        store.want(0)
    assert store.verify() == []
