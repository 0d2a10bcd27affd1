"""`tutelage recipe christiano` in small: the budget of answers, where each goes, kills and resumption, people."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from tests.launcher import Launcher
from tests.resuming import CLIPS, differences

from tutelage.cli import run_command
from tutelage.doctor.diagnosis import diagnose
from tutelage.feedback.store import Store
from tutelage.recipes import christiano as recipe
from tutelage.recipes.control_tasks import TASKS, backflip, task_of
from tutelage.report.clips import verdict
from tutelage.runs.files import read_lines

SMALL = [*CLIPS, "--checkpoint-seconds", "0"]


def run(out, *flags: str, env: str = "Pendulum-v1") -> dict:
    assert run_command(["recipe", "christiano", "--env", env, *SMALL, *flags, "--out", str(out)]) == 0
    return json.loads((out / "summary.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("christiano") / "whole"
    return out, run(out)


@pytest.mark.slow
def test_the_summary_says_what_was_gained_and_where_every_answer_went(whole):
    out, summary = whole
    named = {"true_return_preferences", "true_return_ppo", "true_return_random", "ratio", "labels_used", "labels_lost"}
    assert named <= summary.keys()
    assert summary["labels_used"] == 40 and summary["labels_lost"] == 0 and summary["labels_incomparable"] == 0
    base = summary["true_return_random"]
    assert summary["ratio"] == (summary["true_return_preferences"] - base) / (summary["true_return_ppo"] - base)
    labels = [row["labels"] for row in read_lines(out / "preferences" / "events.jsonl")]
    assert labels == sorted(labels) and labels[0] > 10 and labels[-1] == 40
    with Store.open(out / "feedback.db") as store:
        found = store.labels()
        assert not store.verify() and len(found) == 40
    assert {each.comparison.verdict.rater_kind for each in found} == {"synthetic"}
    # what was asked later is about the policy as it was then, and says with what chance it was asked
    policies = {each.comparison.candidates[0].policy for each in found}
    assert len(policies) == 4 and all(0 < each.comparison.asked_with <= 1 for each in found)
    last = read_lines(out / "preferences" / "events.jsonl")[-1]["reward_correlation"]
    assert -1 <= summary["reward_correlation"] <= 1 and summary["reward_correlation"] != last  # not the last batch's
    assert "correlation" not in str(verdict({**summary, "reward_correlation": None}))  # nothing to tell is not told
    report = (out / "report.html").read_text()
    assert f"{summary['reward_correlation']:.2f}" in report
    assert "of what the true reward would have gained" in report and report.count('class="strip"') == 12


@pytest.mark.slow
def test_every_metric_and_every_key_of_the_summary_is_documented(whole):
    docs = Path(__file__).parents[2] / "docs"
    metrics, page = ((docs / name).read_text() for name in ("metrics.md", "preferences-over-clips.md"))
    events = read_lines(whole[0] / "preferences" / "events.jsonl") + read_lines(whole[0] / "ppo" / "events.jsonl")
    assert not {name for name in set().union(*events) if f"`{name}`" not in metrics}
    known = {"env", "seed", "labels", "labeller", "seconds_total", "seconds_by_stage"}
    assert not {name for name in whole[1].keys() - known if f"`{name}`" not in page}


@pytest.mark.slow
def test_the_doctor_knows_clips_from_replies(whole):
    """No episode ends by itself, no clip has a text, and 50 steps add up: none of it is a disease here."""
    assert [each.disease for each in diagnose(whole[0]).findings] == []


@pytest.mark.slow
def test_the_same_settings_give_the_same_bits(whole, tmp_path):
    run(tmp_path / "again")
    assert not differences(whole[0], tmp_path / "again")


@pytest.mark.slow
def test_killed_with_sigkill_and_resumed_it_is_the_run_that_was_never_killed(whole, tmp_path):
    """Killed in the stage of PPO, and twice while answers are asked for and learned from."""
    launcher, out, killed = Launcher(), tmp_path / "killed", 0
    command = ["recipe", "christiano", "--env", "Pendulum-v1", *SMALL, "--out", str(out)]
    try:
        for mark in ("ppo/checkpoints/step-*", "clips/*.npy", "preferences/checkpoints/step-*"):
            process = launcher.start(command, log=tmp_path / "log")
            until = time.monotonic() + 200
            while not any(out.glob(mark)) and time.monotonic() < until:
                time.sleep(0.005)
            with contextlib.suppress(ProcessLookupError):  # on a machine that is full, it may be through by now
                os.kill(process, signal.SIGKILL)
            killed += launcher.wait() == -signal.SIGKILL
            command = ["resume", str(out)]
        assert launcher.run(command, log=tmp_path / "log") == 0, (tmp_path / "log").read_text()
    finally:
        launcher.close()
    assert killed >= 2
    assert not differences(whole[0], out), differences(whole[0], out)
    with Store.open(out / "feedback.db") as store:
        assert not store.verify() and len(store.labels()) == 40


@pytest.mark.slow
def test_verify_resume_replays_it_to_the_bit(whole, capsys):
    assert run_command(["verify-resume", str(whole[0])]) == 0
    assert capsys.readouterr().out.count("the same to the bit") == 2


@pytest.mark.slow
def test_the_learner_never_reads_the_true_reward(whole, tmp_path, monkeypatch):
    """Answers from the store as they are; the true rewards of everything that is sampled afterwards are another's."""
    out = tmp_path / "blind"
    real = recipe.improve

    def blind(config, batch, *rest):
        return real(config, batch.with_extras(true_rewards=batch.extras["true_rewards"] * np.nan), *rest)

    monkeypatch.setattr(recipe, "improve", blind)
    run(out, "--no-baseline")
    mine, theirs = (load_file(each / "preferences" / "policy.safetensors") for each in (out, whole[0]))
    assert all((mine[name] == theirs[name]).all() for name in theirs)


@pytest.mark.slow
def test_a_teacher_in_a_thread_of_its_own_loses_no_answer(tmp_path):
    """It answers in its own time while the policy goes on; every answer is learned from."""
    summary = run(tmp_path / "together", "--answer-seconds", "0.002", "--no-baseline")
    assert summary["labels_used"] == 40 and summary["labels_lost"] == 0
    with Store.open(tmp_path / "together" / "feedback.db") as store:
        assert not store.verify() and len(store.labels()) == 40


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ["--first-fraction", "1.0"],
        ["--clip-steps", "1"],
        ["--reward.members", "1"],
        ["--select", "uniform"],
        ["--reward.no-held-back"],
        ["--reward.objective", "returns"],
        ["--teacher.mistake", "0.2", "--teacher.skip", "0.3", "--teacher.equal", "0.1", "--teacher.myopic", "0.9"],
    ],
    ids=lambda flags: flags[0],
)
def test_every_ablation_keeps_the_budget(tmp_path, flags):
    summary = run(tmp_path / "run", *flags, "--no-baseline")
    assert summary["labels_used"] + summary["labels_incomparable"] == 40 and summary["labels_lost"] == 0
    assert "ratio" not in summary


@pytest.mark.slow
def test_buttons_learn_from_clips_too(tmp_path, monkeypatch):
    asked, correlation = [], recipe.correlation
    monkeypatch.setattr(recipe, "correlation", lambda scored: asked.append(scored) or correlation(scored))
    summary = run(tmp_path / "run", "--no-baseline", env="CartPole-v1")
    assert summary["labels_used"] == 40 and 0 <= summary["true_return_preferences"] <= 500
    # of one batch alone nothing can be told where the pole stands, or lies, all the time
    earned = [float(batch.extras["true_rewards"].sum()) / 4 for _, batch in asked[-1]]
    assert earned == [summary["true_return_random"], summary["true_return_preferences"]]
    assert summary["reward_correlation"] == correlation(asked[-1])


@pytest.mark.slow
def test_people_who_skip_undo_and_answer_late_are_heard(tmp_path):
    """A person in another process, here a thread: skips every fifth question, takes back every seventh answer."""
    out, stop = tmp_path / "run", threading.Event()

    def person() -> None:
        while not (out / "feedback.db").exists() and not stop.is_set():
            time.sleep(0.05)
        with Store.open(out / "feedback.db") as store:
            me, count = store.labeller("ann"), 0
            while not stop.is_set():
                for given in store.claim(me, kinds=["clip"]):
                    count += 1
                    if count % 5 == 0:
                        store.skip(me, given.id, given.lease, f"skip-{count}", "cannot judge")
                        continue
                    store.answer(me, given.id, given.lease, f"key-{count}", {"choice": given.shown[count % 2].id})
                    if count % 7 == 0:
                        again = store.undo(me, f"undo-{count}")
                        store.answer(me, again.id, again.lease, f"again-{count}", {"no_choice": "incomparable"})
                time.sleep(0.01)

    thread = threading.Thread(target=person)
    thread.start()
    try:
        summary = run(out, "--labeller", "human", "--without-page", "--no-baseline")
    finally:
        stop.set()
        thread.join()
    assert summary["labels_lost"] == 0
    assert summary["labels_used"] + summary["labels_incomparable"] >= 40
    assert summary["labels_incomparable"] >= 4


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--env", "Tennis-v0"], "there is no such task here. There are: Pendulum-v1"),
        (["--labels", "3"], "give 8 or more"),
        (["--first-fraction", "0"], "--first-fraction lies above 0"),
        (["--reward.members", "0"], "--reward.members is 0: expected 1 or more"),
        (["--labeller", "human", "--reward.objective", "returns"], "needs the true rewards"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(tmp_path, capsys, flags, says):
    assert run_command(["recipe", "christiano", *flags, "--out", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.slow
def test_answers_that_prefer_nothing_stop_the_run(tmp_path, capsys):
    flags = ["--teacher.skip", "9", "--no-baseline", "--out", str(tmp_path / "out")]
    assert run_command(["recipe", "christiano", *SMALL, *flags]) == 2
    assert "none of the first answers prefers" in capsys.readouterr().err


def test_tasks_have_episodes_of_one_length_that_hide_their_reward():
    for name in ("Pendulum-v1", "CartPole-v1"):
        task = task_of(name)
        assert task.environment(0).hides and task.piece % task.clip_steps == 0
    assert set(TASKS) == {"Pendulum-v1", "CartPole-v1", "HalfCheetah-v5", "Hopper-v5", "HopperBackflip"}


def test_the_backflips_reward_by_hand():
    """roll back at 2, at height 1.25, pushing with 1·1 + 0.5·2 − 1·3 = −1, moving forwards at 0.4."""
    observation = np.array([1.25, 0, 0, 0, 0, 0.4, 0, -2.0, 1.0, 2.0, 3.0])
    worth = 2.0 * (1 + 0.3 * 1.25 + 0.1 * -1.0 + 0.05 * -0.4)
    assert backflip(observation, np.array([1.0, 0.5, -1.0])) == pytest.approx(worth)
