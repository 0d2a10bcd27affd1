"""A page on which nothing is asked tells which of three states that is, and what can be done."""

from __future__ import annotations

import json
import os
import shutil
import threading

import pytest
from tests.desk import Clock, Desk, question

from tutelage.runs.run import Run
from tutelage.studio.idle import remaining, under_way
from tutelage.studio.members import Member
from tutelage.studio.project import Project, Settings, ask


@pytest.fixture
def desk(tmp_path):
    found = Desk(tmp_path, Clock())
    found.store.ask([question(number) for number in range(3)])
    return found


def idle(browser):
    return browser.post("claim", {"count": 3}).json()["idle"]


def answer_all(browser):
    for place, given in enumerate(browser.claim(3)):
        assert browser.answer(given, key=f"answer-{place}").status_code == 200


def test_while_something_is_asked_there_is_no_state(desk):
    assert idle(desk.browser()) is None


def test_finished_names_the_next_command(desk, tmp_path):
    ann = desk.browser()
    answer_all(ann)
    found = idle(ann)
    assert found["state"] == "finished" and found["says"].startswith("Finished.") and found["skipped"] == 0
    assert found["command"] == f"tutelage reward-model --data {tmp_path} --model MODEL"


@pytest.mark.parametrize(("kind", "command"), [("ranking", "--loss plackett-luce"), ("edit", "tutelage sft --data")])
def test_the_next_command_is_that_of_the_kind(kind, command, tmp_path):
    desk = Desk(tmp_path, Clock(), Settings(kind=kind))
    desk.store.ask([question(0)])
    ann = desk.browser()
    answer_all(ann)
    assert command in idle(ann)["command"]


def test_a_labeller_is_not_told_where_the_server_keeps_its_files(desk, tmp_path):
    ann = desk.browser()
    answer_all(ann)
    labeller = desk.store.labeller("ann")
    desk.app.app.state.members.keep(Member(labeller, "ann", "labeller", 0.0))
    assert str(tmp_path) not in json.dumps(idle(ann))


def test_questions_that_others_hold_are_waited_for(desk):
    bob, ann = desk.browser("bob"), desk.browser("ann")
    assert len(bob.claim(3)) == 3
    found = idle(ann)
    assert found["state"] == "waiting" and "3 questions are with other people" in found["says"]


def test_before_the_first_question_it_waits(tmp_path):
    found = idle(Desk(tmp_path, Clock()).browser())
    assert found["state"] == "waiting" and "No question has been asked yet" in found["says"]


def test_a_file_that_is_still_being_read_is_being_prepared(desk, tmp_path):
    project = Project(tmp_path, tmp_path / "feedback.db", Settings(), source="pairs.jsonl")
    desk.app.app.state.project = project
    ann = desk.browser()
    answer_all(ann)
    assert idle(ann)["state"] == "preparing"
    project.read.set()
    assert idle(ann)["state"] == "finished"


def test_reading_a_file_to_its_end_is_noticed(tmp_path):
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    desk = Desk(tmp_path, Clock())
    project = Project(tmp_path, tmp_path / "x.db", Settings(), source=str(tmp_path / "pairs.jsonl"))
    assert project.is_being_read
    ask(project, desk.store, threading.Event(), threading.Event())
    assert not project.is_being_read


# --- a run that asks


def stage_of(folder, name, steps, done, seconds, now):
    """A run whose stage has done so many of its steps, one every so many seconds, the last one just now."""
    run = Run.create(folder, {})
    stage = run.stage(name)
    for step in stage.steps(steps):
        if step == done:
            break
        stage.record(step, {"loss": 1.0})
    rows = [{"step": step, "seconds": 100.0 + seconds * step, "loss": 1.0} for step in range(done)]
    (stage.path / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.utime(stage.path / "events.jsonl", (now, now))
    return stage.path


def test_the_time_left_is_of_what_is_under_way(tmp_path):
    """30 of 40 steps, 2 s each: 20 s, whatever the run still has before it, and however long it took to begin."""
    stage = stage_of(tmp_path / "run", "seed-0-round-2-reward-model", 40, 30, 2.0, 1000.0)
    assert remaining(stage, lambda: 1000.0) == (30, 40, pytest.approx(20.0))
    assert remaining(stage, lambda: 1012.0)[2] == pytest.approx(8.0)  # 12 s of the next steps are over already
    assert remaining(stage, lambda: 2000.0)[2] == 0.0
    found = under_way(tmp_path / "run", lambda: 1000.0)
    assert found["state"] == "preparing" and found["seconds_left"] == pytest.approx(20.0)
    assert found["says"] == "Round 2: a reward model learns from the answers: 30 of 40 steps."


def test_where_no_step_was_done_no_time_is_told(tmp_path):
    stage_of(tmp_path / "run", "policy", 40, 0, 2.0, 1000.0)
    found = under_way(tmp_path / "run", lambda: 1000.0)
    assert found["seconds_left"] is None and found["says"].startswith("The first policy is trained")


def test_of_a_live_loop_whose_steps_are_answers_no_time_is_told(tmp_path):
    """Its pace is that of people: the terminal said 540890 s."""
    stage_of(tmp_path / "run", "live", 200, 3, 2.0, 1000.0)
    assert under_way(tmp_path / "run", lambda: 1000.0)["seconds_left"] is None


@pytest.mark.parametrize("ends", ["finished", "interrupted", "crashed"])
def test_a_run_that_has_ended_asks_nothing_more(desk, tmp_path, ends):
    ann = desk.browser()
    answer_all(ann)
    folder = tmp_path / "elsewhere"
    run = Run.create(folder, {})
    run.mark_finished({}) if ends == "finished" else run.interrupted(IndexError("gone") if ends == "crashed" else None)
    shutil.copy(folder / "state.json", tmp_path / "state.json")
    found = idle(ann)
    assert found["state"] == "finished"
    assert ("tutelage report" if ends == "finished" else "tutelage resume") in found["command"]
    assert ends != "crashed" or "IndexError: gone" in found["says"]


def test_a_run_that_waits_for_answers_waits(desk, tmp_path):
    ann = desk.browser()
    answer_all(ann)
    run = Run.create(tmp_path / "elsewhere", {})
    shutil.copy(run.path / "state.json", tmp_path / "state.json")
    assert idle(ann)["state"] == "preparing"
    (tmp_path / "live.json").write_text('{"waiting": true, "says": "waiting for your answers"}')
    assert idle(ann)["state"] == "waiting"


# --- my answers, and the skipped ones again


def test_my_answers_are_listed_and_one_of_them_is_taken_back(desk):
    ann, bob = desk.browser("ann"), desk.browser("bob")
    answer_all(ann)
    acts = ann.client.get("/api/mine").json()["acts"]
    assert len(acts) == 3 and all(act["question"]["returned"]["choice"] for act in acts)
    assert bob.client.get("/api/mine").json()["acts"] == []
    back = ann.post("undo", {"key": "back", "event": acts[-1]["event"]}).json()["assignment"]
    assert back["context"] == acts[-1]["question"]["context"]
    assert [each["id"] for each in ann.claim(3)] == [back["id"]]
    assert len(ann.client.get("/api/mine").json()["acts"]) == 2


def test_the_skipped_ones_are_asked_again_however_long_ago(tmp_path):
    """Further back than an undo reaches: 30 questions, the first 15 skipped."""
    desk = Desk(tmp_path, Clock())
    desk.store.ask([question(number) for number in range(30)])
    ann = desk.browser()
    for place in range(30):
        (given,) = ann.claim(1)
        act = {"assignment": given["id"], "lease": given["lease"], "key": f"act-{place}"}
        if place < 15:
            ann.post("skip", {**act, "reason": "unclear"})
        else:
            ann.answer(given, key=f"act-{place}")
    assert idle(ann)["skipped"] == 15 and idle(ann)["state"] == "finished"
    assert ann.post("again", {"key": "once"}).json() == {"given": 12, "left": 3}
    assert len(ann.claim(12)) == 12
    answer_again = [ann.answer(given, key=f"again-{place}") for place, given in enumerate(ann.claim(12))]
    assert all(each.status_code == 200 for each in answer_again)
    assert idle(ann)["skipped"] == 3
    assert ann.post("again", {"key": "twice"}).json() == {"given": 3, "left": 0}


def test_a_skip_of_somebody_else_is_not_taken_back(desk):
    ann, bob = desk.browser("ann"), desk.browser("bob")
    (given,) = ann.claim(1)
    ann.post("skip", {"assignment": given["id"], "lease": given["lease"], "key": "s", "reason": "unclear"})
    (event,) = desk.store.open_skips(desk.store.labeller("ann"))
    assert bob.post("undo", {"key": "theirs", "event": event}).status_code == 404
    assert bob.post("again", {"key": "again"}).json()["given"] == 0
