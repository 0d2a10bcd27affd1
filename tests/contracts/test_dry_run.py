"""What --dry-run says of memory and time, that it leaves nothing, and whom it refuses."""

from __future__ import annotations

import re
import tempfile
import time

import pytest
import torch
from tests.resuming import count_of_a
from transformers import AutoModelForCausalLM

from tutelage.cli import run_command
from tutelage.commands import dry_run
from tutelage.commands.dry_run import DryRun, count_saved, in_gib, in_time

COMMANDS = {
    "ppo": ["--reward", "tests.resuming:count_of_a", "--max-new-tokens", "5", "--trajectories", "4", "--steps", "50"],
    "sft": ["--steps", "50", "--batch-size", "4"],
    "reward-model": ["--epochs", "50", "--batch-size", "4"],
}
DATA = {"ppo": "prompts.jsonl", "sft": "demonstrations.jsonl", "reward-model": "comparisons.jsonl"}


@pytest.fixture
def command(model_folder, files, tmp_path, monkeypatch):
    """A verb's command; what it writes aside goes to a folder of the test's own."""
    (tmp_path / "aside").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "aside"))
    monkeypatch.setattr(dry_run, "ENOUGH_SECONDS", 0.0)

    def made(verb, *further):
        given = ["--model", model_folder, "--data", files / DATA[verb], "--out", tmp_path / "out", "--dry-run"]
        return [verb, *map(str, given), *COMMANDS[verb], *map(str, further)]

    return made


def told(capsys):
    """What was printed, by its first words."""
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    return {line[2:26].strip(): line[26:].strip() for line in lines}


@pytest.mark.parametrize("verb", COMMANDS)
def test_it_says_memory_and_time_and_leaves_nothing(verb, command, capsys, tmp_path):
    before = {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*")}
    assert run_command(command(verb)) == 0
    found = told(capsys)
    assert {"weights", "gradients and moments", "activations, counted", "peak memory, measured"} <= found.keys()
    assert re.fullmatch(r"\d+ (s|min) for [\d,]+ steps, \d+ (s|min) of them before the first step", found["whole run"])
    after = {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*")}
    assert {**after, tmp_path / "aside": 0} == {**before, tmp_path / "aside": 0}


def test_bytes_are_those_of_the_models(command, capsys, model_folder):
    """Policy and a frozen copy, and 12 bytes a weight that learns; a value head of one row learns, too."""
    size = sum(each.numel() for each in AutoModelForCausalLM.from_pretrained(model_folder).parameters())
    assert run_command(command("ppo", "--value-head", "--skip-preflight")) == 0
    found = told(capsys)
    learned = int(found["gradients and moments"].split(", ")[1].split()[0].replace(",", ""))
    assert 0 < learned - size <= 33
    assert f"policy {in_gib(4 * size)}, reference {in_gib(4 * size)}" in found["weights"]
    assert found["gradients and moments"].startswith(in_gib(12 * learned))


def test_activations_are_counted_once_and_weights_are_not():
    weight = torch.nn.Parameter(torch.ones(50, 20))
    rows = torch.ones(10, 50)

    def compute():
        states = rows @ weight  # keeps rows, 10 x 50, and the weight
        return {"loss": (states.tanh() * states.sigmoid()).sum()}  # keeps two results, each 10 x 20, once

    sums, kept = count_saved(compute, set())
    assert kept == 4 * (10 * 50 + 2 * 10 * 20)
    sums["loss"].backward()
    assert weight.grad is not None


def test_the_whole_run_is_the_start_the_first_step_and_the_others(tmp_path, capsys):
    run = DryRun(tmp_path, began=time.monotonic() - 60.0)
    run.learner = dry_run.CountingLearner({"policy": ([torch.nn.Parameter(torch.ones(1))], 0.1)})
    run.until_first_step, run.seconds, run.steps_planned = 60.0, [20.0, 9.0, 11.0], 101
    run.tell_result(1)
    found = told(capsys)
    assert found["seconds a step"].startswith("10; the first 20")
    assert found["whole run"] == f"{in_time(60 + 20 + 100 * 10)} for 101 steps, 60 s of them before the first step"


def test_a_run_that_does_not_fit_is_said_before_the_calibration(command, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(dry_run, "free_bytes", lambda device: 1000)
    monkeypatch.setattr("tests.resuming.count_of_a", lambda *given: pytest.fail("it was sampled"))
    assert run_command(command("ppo")) == 2
    assert "training needs about" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["demo", "best-of-n"])
def test_verbs_without_one_training_refuse_it(verb, capsys, tmp_path):
    further = [] if verb == "demo" else ["--model", "m", "--data", "d", "--reward", "r"]
    assert run_command([verb, *further, "--dry-run", "--out", str(tmp_path / "out")]) == 2
    assert f"not {verb}" in capsys.readouterr().err


def test_bad_input_is_told_as_without_it(command, capsys, files, tmp_path):
    (files / "prompts.jsonl").write_text("")
    assert run_command(command("ppo")) == 2
    assert "prompts.jsonl" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert count_of_a([], []) == []
