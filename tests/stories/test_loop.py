"""The loop as a command, in the smallest size: rounds, killed and resumed; live, with somebody at the store."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from tests.launcher import Launcher
from tests.resuming import small_data, small_model

from tutelage.cli import run_command
from tutelage.feedback.answering import ModelLabeller, NoVerdict
from tutelage.feedback.store import Store
from tutelage.runs.files import read_lines

SMALL = ["--rounds", "2", "--labels-per-round", "6", "--max-new-tokens", "6", "--skip-preflight"]
SMALL += ["--ppo.steps", "2", "--ppo.trajectories", "6", "--ppo.learning-rate", "1e-3", "--reward-model.epochs", "1"]


@pytest.fixture
def own(tmp_path) -> list[str]:
    """A command on a tiny policy and prompts of its own, judged by a reward model."""
    model, files = small_model(tmp_path), small_data(tmp_path)
    judge = ["reward-model", "--model", model, "--data", files["comparisons"], "--out", str(tmp_path / "judge")]
    assert run_command([*judge, "--epochs", "1"]) == 0
    prompts = tmp_path / "many.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"{a}{b} "}) + "\n" for a in "abcdefgh" for b in "abcdefgh"))
    return ["--model", model, "--data", str(prompts), "--labeller", str(tmp_path / "judge" / "model"), *SMALL]


def asked(out: Path) -> dict[str, tuple[str, ...]]:
    with Store.open(out / "feedback.db") as store:
        assert not store.verify()
        return {each.question: each.comparison.texts for each in store.labels()}


def without_times_and_names(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


@pytest.mark.slow
def test_rounds_ask_train_and_compare(own, tmp_path):
    out = tmp_path / "loop"
    select = ["--select", "disagreement", "--members", "2", "--candidates-per-label", "2"]
    assert run_command(["loop", *own, *select, "--seeds", "2", "--offline", "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert [each["name"] for each in summary["rounds"]] == ["first", "round-1", "round-2", "offline"]
    assert summary["share_model"] == 1.0 and summary["labels"] == len(asked(out)) <= 2 * (12 + 12)
    assert summary["gain_over_offline_low"] <= summary["gain_over_offline"] <= summary["gain_over_offline_high"]
    learned = [json.loads((out / f"seed-0-round-{n}-questions" / "summary.json").read_text()) for n in (1, 2)]
    assert learned[0]["labels"] < learned[1]["labels"]  # the second round learns from the answers of both
    rows = read_lines(out / "seed-0-round-2-questions" / "comparisons.jsonl")
    chances = [row.get("asked_with", 1.0) for row in rows[-learned[1]["asked"] :]]
    assert all(0.1 * 6 / 12 - 1e-9 <= each <= 1.0 for each in chances) and min(chances) < 1.0
    lineage = json.loads((out / "seed-1-round-2-reward-model" / "model" / "feedback.json").read_text())
    with Store.open(out / "feedback.db") as store:
        frozen = store.snapshot_labels(lineage["snapshot"])
        assert {each.question.split("-round-")[0] for each in frozen} == {"seed-1"}
        assert set(store.lineage(frozen[0].id)) > {lineage["snapshot"]}  # of the first round, so in both snapshots


@pytest.mark.slow
def test_killed_again_and_again_it_asks_nothing_twice_and_comes_to_the_same_end(own, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_command(["loop", *own, "--out", str(whole)]) == 0
    launcher = Launcher()
    try:
        kills = 0
        for number in range(40):
            command = ["loop", *own, "--out", str(killed), *(["--resume"] if (killed / "config.json").exists() else [])]
            child = launcher.start(command, log=tmp_path / "killed.log")
            if number < 6:
                time.sleep(0.25 + 0.2 * number)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            if launcher.wait() == 0:
                break
            kills += 1
        assert kills >= 3
    finally:
        launcher.close()
    assert asked(killed) == asked(whole)
    assert without_times_and_names(killed) == without_times_and_names(whole)


@pytest.mark.slow
def test_live_somebody_answers_while_it_trains(own, tmp_path):
    out, stop = tmp_path / "live", threading.Event()

    def answers() -> None:
        while not (out / "feedback.db").exists() and not stop.is_set():
            time.sleep(0.05)
        with Store.open(out / "feedback.db") as store:
            person, number, skips = store.labeller("ada"), 0, 0
            while not stop.is_set():
                for given in store.claim(person):
                    if number == 0 and skips < 10:  # nearly all that is open: others must be asked in their place
                        store.skip(person, given.id, given.lease, f"skip-{skips}", "unclear")
                        skips += 1
                        continue
                    shortest = min(given.shown, key=lambda each: len(each.text or ""))
                    store.answer(person, given.id, given.lease, f"key-{number}", {"choice": shortest.id})
                    number += 1
                time.sleep(0.05)

    ada = threading.Thread(target=answers)
    ada.start()
    try:
        # a --labeller that is a folder would answer by itself; people are waited for
        at = own.index("--labeller") + 1
        command = ["loop", "--live", *own[:at], "human", *own[at + 1 :], "--labels-at-once", "3", "--without-page"]
        assert run_command([*command, "--ppo-steps", "1", "--out", str(out)]) == 0
    finally:
        stop.set()
        ada.join()
    summary, told = json.loads((out / "summary.json").read_text()), json.loads((out / "live.json").read_text())
    assert summary["share_human"] == 1.0 and summary["labels"] >= 12
    rows = read_lines(out / "live" / "versions.jsonl")
    learned = [each for row in rows for each in row["new"]]
    assert len(learned) == len(set(learned)) >= 12
    assert all(0 < row["seconds_from_answer"] < 60 for row in rows)
    assert told["labels"] >= 12 and told["waiting"] and {"win_rate", "kl_nats", "wins"} <= told.keys()
    with Store.open(out / "feedback.db") as store:
        assert {each.id for each in store.snapshot_labels(rows[0]["snapshot"])} == set(rows[0]["new"])


@pytest.mark.slow
def test_a_round_that_nobody_answers_leaves_its_questions_open(own, tmp_path, capsys):
    out, at = tmp_path / "loop", own.index("--labeller") + 1
    command = ["loop", *own[:at], "human", *own[at + 1 :], "--without-page", "--wait-s", "0.2", "--out", str(out)]
    assert run_command(command) == 2
    assert "nobody answered" in capsys.readouterr().err
    with Store.open(out / "feedback.db") as store:
        assert len(store.open_questions()) > 0


def no_verdict(prompt: str, first: str, second: str) -> float:
    raise NoVerdict("it said 'hm'")


@pytest.mark.slow
def test_live_a_judge_without_verdicts_ends_the_run_with_a_word(own, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tutelage.commands.loop.labeller_of", lambda *given: ModelLabeller("mumbler", no_verdict))
    assert run_command(["loop", "--live", *own, "--out", str(tmp_path / "live")]) == 2
    assert "gave no verdict" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--select", "disagreement"], "--members 2 or more"),
        (["--model", "somewhere"], "belong together"),
        (["--rounds", "0"], "1 or more"),
        (["--live", "--offline"], "--live has one seed"),
        (["--labeller", "nobody"], "neither synthetic nor human"),
        (["--labeller", "http://127.0.0.1:9/v1"], "--judge-model"),
    ],
)
def test_contradictions_are_told_before_anything_is_trained(given, says, tmp_path, capsys):
    assert run_command(["loop", *given, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error
    assert not (tmp_path / "out" / "policy").exists()
