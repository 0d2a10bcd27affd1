"""`tutelage ppo --environment module:make`: any text environment trains from the command line, and resumes."""

from __future__ import annotations

import json
import sys

import pytest
from tests.resuming import differences

from tutelage.cli import run_command
from tutelage.runs.files import read_lines

OWN = """
from pathlib import Path

from tutelage.environments.dialogue import Dialogue
from tutelage.trajectory import Finish, Step

OTHER_CALLS = []


def answer(dialogues):
    OTHER_CALLS.append(len(dialogues))
    if Path("interrupt").exists() and OTHER_CALLS.count(8) == int(Path("interrupt").read_text()):
        raise KeyboardInterrupt
    return [[4 + len(each[-1]), 5] for each in dialogues]


def talk(codec, prompts):
    return Dialogue([codec.prompt(each) for each in prompts], answer, turns=2)


def paying(dialogues):
    return [Step([5], 0.25 * len(each[-1])) for each in dialogues]


def paid(codec, prompts):
    assert prompts == []
    return Dialogue([codec.prompt(f"ab{c} ") for c in "abcdefgh"], paying, turns=2)


def stingy(codec, prompts):
    return Dialogue([codec.prompt("ab ")], answer, turns=2)


def score(prompts, responses):
    return [float(response.count("a")) for response in responses]


def broken(codec, prompts):
    return prompts[99]


def nothing(codec, prompts):
    return None


def empty(codec, prompts):
    return Dialogue([], answer)


def long(codec, prompts):
    return Dialogue([[0, 5], [3] * 62], answer)


def fewer(codec, prompts):
    return Dialogue([codec.prompt(each) for each in prompts], lambda dialogues: [[5]], turns=2)


def lists(codec, prompts):
    return Dialogue([codec.prompt(each) for each in prompts], lambda d: [Step([5], [1.0, 2.0]) for _ in d], turns=2)


def nan(codec, prompts):
    return Dialogue([codec.prompt(each) for each in prompts], lambda d: [Step([5], float("nan")) for _ in d], turns=2)


def alone(codec):
    return None


def gone(dialogues):
    raise ConnectionError("no route to host")


def unreachable(codec, prompts):
    return Dialogue([codec.prompt(each) for each in prompts], gone, turns=2)


def hangs_up(dialogues):
    return [Step((), 0.25 * len(each[-1]), Finish.TERMINATED) for each in dialogues]


def short(codec, prompts):
    return Dialogue([codec.prompt(f"ab{c} ") for c in "abcdefgh"], hangs_up, turns=2)
"""
FEW = ["--steps", "3", "--trajectories", "8", "--epochs", "1", "--max-new-tokens", "4", "--checkpoint-seconds", "0"]


@pytest.fixture
def here(files, model_folder, monkeypatch):
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_talk", raising=False)
    (files / "own_talk.py").write_text(OWN)
    yield files
    sys.modules.pop("own_talk", None)


def ppo(*arguments, out="out"):
    return run_command(["ppo", "--model", "tiny-model", "--learning-rate", "1e-3", *FEW, *arguments, "--out", out])


TALK = ["--environment", "own_talk:talk", "--data", "prompts.jsonl", "--reward", "own_talk:score"]


@pytest.mark.slow
def test_the_two_turn_dialogue_trains_and_resumes_to_the_bit(here, capsys):
    assert ppo(*TALK) == 0
    said = capsys.readouterr().out
    assert "FAIL" not in said and "preflight  pass  sampler is learner" in said
    calls = sys.modules["own_talk"].OTHER_CALLS
    assert calls.count(8) >= 3  # a step has 8 episodes, and all of them are answered together
    rows = list(read_lines(here / "out" / "samples.jsonl"))
    assert rows and all(len(row["tokens"]) == len(row["value"]) for row in rows)
    assert any(None in row["value"] for row in rows)  # the other side's tokens are no actions
    (here / "out").rename(here / "whole")
    (here / "interrupt").write_text(str(calls.count(8) - 1))  # in the last step but one
    calls.clear()
    assert ppo(*TALK) == 130
    assert json.loads((here / "out" / "state.json").read_text())["status"] == "interrupted"
    (here / "interrupt").unlink()
    assert run_command(["resume", "out"]) == 0
    assert differences(here / "whole", here / "out") == []
    assert run_command(["report", "out"]) == 0 and run_command(["doctor", "out"]) in (0, 1)


def test_an_environment_that_pays_needs_no_data_and_no_reward(here):
    assert ppo("--environment", "own_talk:paid") == 0
    events = list(read_lines(here / "out" / "events.jsonl"))
    assert all(row["environment_reward"] > 0 and row["score"] == 0 for row in events)
    scores = {row["score"] for row in read_lines(here / "out" / "samples.jsonl")}
    assert max(scores) > 0  # what was paid
    assert run_command(["resume", "out"]) == 0  # it is finished
    assert json.loads((here / "out" / "summary.json").read_text())["environment_reward"] > 0


def test_the_other_side_may_end_the_episode_after_a_turn_that_was_cut_off(here, capsys):
    assert ppo("--environment", "own_talk:short") == 0
    assert "FAIL" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--environment", "own_talk:tlak", "--data", "prompts.jsonl"], "Did you mean own_talk:talk?"),
        (["--environment", "own_tlak:talk"], "there is no own_tlak.py in"),
        (["--environment", "own_talk"], "Say which function of it: --environment own_talk:FUNCTION"),
        (["--environment", "own_talk.py:talk"], "expected a module's name, not a file. Give own_talk:talk"),
        (["--environment", "own_talk:alone"], "cannot be called with (codec, prompts)"),
        (["--environment", "own_talk:broken"], "the function raised IndexError ("),
        (["--environment", "own_talk:nothing"], "--environment own_talk:nothing is a NoneType without episode and"),
        (["--environment", "own_talk:empty"], "--environment own_talk:empty has no start: its length is 0"),
        (["--environment", "own_talk:long"], "start 2 has 62 tokens and a turn may have 4, but the model's context is"),
        (["--environment", "own_talk:fewer", "--data", "prompts.jsonl"], "gave 1 answers for 8 dialogues"),
        (["--environment", "own_talk:lists", "--data", "prompts.jsonl"], "paid [1.0, 2.0] (list) for a turn"),
        (["--environment", "own_talk:nan", "--data", "prompts.jsonl"], "the environment paid nan for a turn"),
        (["--environment", "own_talk:unreachable", "--data", "prompts.jsonl"], "`reply` raised ConnectionError ("),
        (["--environment", "own_talk:stingy"], "reward is not constant"),
        ([], "--data and --reward are missing"),
        (["--reward", "own_talk:score"], "--data is missing"),
        (["--data", "prompts.jsonl"], "--reward is missing"),
    ],
)
def test_what_cannot_be_used_is_one_clear_error_and_leaves_no_folder(here, capsys, arguments, sentence):
    assert ppo(*arguments) == 2
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said
    assert not (here / "out").exists()
