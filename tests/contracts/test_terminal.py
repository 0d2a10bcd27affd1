"""What reaches the terminal: our own words only, quiet ends, and progress that says something true."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from rich.console import Console

from tutelage.cli import run_command
from tutelage.commands.verbs import ASIDES, VERBS
from tutelage.runs import terminal
from tutelage.runs.progress import Progress, ProgressSettings, in_words
from tutelage.runs.run import Run

SOURCE = str(Path(__file__).parents[2] / "src")
QUIET = {**os.environ, "PYTHONPATH": SOURCE, "PYTHONWARNINGS": ""}
READS_NOTHING = """
import os, sys, traceback
from tutelage import cli
from tutelage.commands import verbs
for verb in verbs.VERBS.values():
    verb.load()  # once, before the children are forked
for arguments, both in [(each, both) for each in {commands} for both in (False, True)]:
    child = os.fork()
    if not child:
        read, write = os.pipe()
        os.close(read)
        os.dup2(write, 1)
        os.dup2(write, 2) if both else None
        code = 0
        try:
            cli.main(arguments)
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            code = 70
        sys.stdout.flush()
        os._exit(code)
    print(arguments, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow
def test_every_verb_ends_quietly_where_nobody_reads():
    """As `tutelage VERB --help | true` and `tutelage VERB --help 2>&1 | true`."""
    commands = [[*verb.split(), "--help"] for verb in (*VERBS, *(each for each in ASIDES if "resume" not in each))]
    commands += [["--help"], ["--version"], []]
    program = READS_NOTHING.format(commands=commands)
    found = subprocess.run([sys.executable, "-c", program], env=QUIET, capture_output=True, text=True, timeout=300)
    assert found.stderr == ""
    assert found.stdout.splitlines() == [f"{each} {terminal.PIPE_CLOSED}" for each in commands for _ in range(2)]


def test_a_run_whose_reader_left_is_withdrawn_or_says_where_it_stopped(files, model_folder, monkeypatch):
    def nobody(*arguments, **options):
        raise BrokenPipeError

    monkeypatch.setattr("tutelage.data.sources.demonstrations", nobody)
    command = ["sft", "--model", str(model_folder), "--data", str(files / "demonstrations.jsonl"), "--steps", "2"]
    assert terminal.run_until_pipe_closes(lambda: 3) == 3
    monkeypatch.setattr(terminal, "_discard_output", lambda: None)
    assert terminal.run_until_pipe_closes(lambda: run_command([*command, "--out", str(files / "out")])) == 141
    assert not (files / "out").exists()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("evalute", "tutelage evaluate"),
        ("evaluate polices", "tutelage evaluate policies"),
        ("evaluate rewardmodel A", "tutelage evaluate reward-model"),
        ("bestofn", "tutelage best-of-n"),
        ("best_of_n --n 3", "tutelage best-of-n"),
        ("rewardmodel", "tutelage reward-model"),
        ("recipe tammer", "tutelage recipe tamer"),
        ("recipe", "tutelage recipe christiano"),
        ("Demo", "tutelage demo"),
        ("overoptimize", "tutelage overoptimise"),
        ("docter runs/ppo", "tutelage doctor"),
        ("chats", "tutelage chat"),
        ("resum runs/ppo", "tutelage resume"),
    ],
)
def test_a_misspelt_verb_is_asked_about(capsys, given, meant):
    assert run_command(given.split()) == 2
    said = capsys.readouterr().err
    assert "Did you mean" in said and f"`{meant}`" in said


def test_a_word_that_is_near_to_nothing_gets_the_list(capsys):
    assert run_command(["xyzzy"]) == 2
    said = capsys.readouterr().err
    assert "Did you mean" not in said and "best-of-n" in said


def test_warnings_of_libraries_are_hidden_and_our_own_are_one_line(capsys, monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", [])
    others: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: others.append(str(message))
        terminal.hide_library_warnings()
        library = str(Path(sys.modules["torch"].__file__ or "").parent / "x.py")
        warnings.warn_explicit("`is_gradient_checkpointing` is deprecated", FutureWarning, library, 1)
        warnings.warn_explicit("called by us", FutureWarning, f"{SOURCE}/tutelage/policies/language.py", 1)
        assert capsys.readouterr().err == ""
        warnings.warn_explicit("the store is old", UserWarning, f"{SOURCE}/tutelage/feedback/database.py", 1)
        assert capsys.readouterr().err == "tutelage: warning: the store is old\n"
        warnings.warn_explicit("mine", UserWarning, "/home/somebody/mine.py", 1)
        assert others == ["mine"]


@pytest.mark.slow
def test_training_an_adapter_says_nothing_of_libraries(files, model_folder):
    program = [sys.executable, "-m", "tutelage.cli"]
    data = ["--data", "demonstrations.jsonl", "--steps", "1", "--lora-rank", "2", "--out", "run"]
    command = [*program, "sft", "--model", "tiny-model", *data]
    found = subprocess.run(command, cwd=files, env=QUIET, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0
    assert [line for line in found.stderr.splitlines() if not line.startswith("run: ")] == []


# --- progress


@pytest.fixture
def console():
    return Console(force_terminal=False, stderr=True)


def test_lines_come_by_time_and_the_last_one_always(console, capsys):
    with Progress("ppo", 400, console=console) as progress:
        for _ in range(400):
            progress.advance({"score": 0.5})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("ppo: 400/400")


def test_a_long_step_says_its_phase_in_the_middle(console, capsys):
    settings = ProgressSettings(("sampling", "scoring", "learning"), seconds=0.1)
    with Progress("ppo", 3, console=console, settings=settings) as progress:
        for phase in settings.phases:
            time.sleep(0.25)
            progress.end_phase(phase)
        progress.advance({})
        time.sleep(0.25)
    lines = capsys.readouterr().err.splitlines()
    for phase in settings.phases:
        assert f"ppo: 0/3, {phase}" in lines
    assert any(line.startswith("ppo: 1/3, sampling, ") and line.endswith(" left") for line in lines)
    assert 4 <= len(lines) <= 11


def test_nothing_is_said_of_the_time_left_before_a_step_is_over_or_where_people_are_waited_for(console, capsys):
    settings = ProgressSettings(("waiting for answers", "learning"), "labels", timed=False, seconds=0.0)
    with Progress("live", 24, console=console, settings=settings) as progress:
        progress.advance({"kl_nats_to_first": 0.25}, done=5)
    assert capsys.readouterr().err.splitlines()[0] == "live: 5/24, waiting for answers  kl_nats_to_first 0.25"


def test_steps_are_counted_by_a_metric_where_one_is_worth_several(tmp_path, monkeypatch, capsys):
    run = Run.create(tmp_path / "r", {})
    told = ProgressSettings(("waiting", "learning"), "labels", timed=False)
    for step in run.steps(10, told=told):
        if step == 2:
            break
        run.enter_phase("learning")
        run.record(step, {"labels": 5.0 * (step + 1)})
    assert capsys.readouterr().err.splitlines()[0] == "r: 10/10"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (27.4, "27 s"), (720, "12 min"), (11_100, "3 h 5 min"), (540_890, "6 d 6 h")],
)
def test_durations_are_in_units_a_person_reads(seconds, words):
    assert in_words(seconds) == words
