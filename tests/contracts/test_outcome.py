"""What became of a run: it crashed, was killed, was interrupted, finished, or goes on; and what it printed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import dataclass

import psutil
import pytest
from rich.console import Console
from tests.sick_runs import ppo_run

from tutelage.cli import run_command
from tutelage.commands.verbs import VERBS, Verb
from tutelage.data.errors import InputError
from tutelage.doctor.diagnosis import diagnose
from tutelage.report.page import write as write_report
from tutelage.runs import log as log_module
from tutelage.runs.log import LOG, Log, OutputLog
from tutelage.runs.outcome import KEPT_LINES, outcome_of
from tutelage.runs.progress import Progress
from tutelage.runs.run import Run


@dataclass(frozen=True)
class Job:
    """Prints, then ends as it is told."""

    ends: str = "well"
    laps: int = 2


def act(job, run):
    print("this goes to the terminal")
    print("and this, too", file=sys.stderr)
    for step in run.steps(job.laps):
        run.record(step, {"loss": 1.0})
    if job.ends == "badly":
        return [][0]
    if job.ends == "with a secret":
        raise RuntimeError("no answer from https://me:hunter22@models.example/v1?api_key=hunter22")
    if job.ends == "interrupted":
        raise KeyboardInterrupt
    if job.ends == "in a stage":
        stage = run.stage("second")
        for step in stage.steps(3):
            stage.record(step, {"loss": 1.0})
            if step == 1:
                raise ZeroDivisionError("nothing to divide by")
    return {"steps": job.laps}


@pytest.fixture
def verb(monkeypatch, tmp_path):
    """ends -> the folder of a run of the command line that ended so."""
    monkeypatch.setitem(VERBS, "job", Verb("a job", lambda: (Job, act), "runs/job"))

    def carried_out(ends, *flags):
        out = tmp_path / ends.replace(" ", "-")
        command = ["job", "--ends", ends, "--out", str(out), *flags]
        if ends in ("badly", "with a secret", "in a stage"):
            with pytest.raises((IndexError, RuntimeError, ZeroDivisionError)):
                run_command(command)
        else:
            run_command(command)
        return out

    return carried_out


def doctor(path, capsys, *flags):
    """(exit code, what it said)."""
    capsys.readouterr()
    code = run_command(["doctor", str(path), *flags])
    return code, capsys.readouterr().out


# --- how it ended


def test_a_run_that_crashed_is_not_cleared(verb, capsys):
    out = verb("badly", "--laps", "0")
    code, said = doctor(out, capsys)
    assert code == 3
    assert "no diagnosis: the run ended at step 0 with IndexError: list index out of range" in said
    assert "nothing found" not in said and "return [][0]" in said
    error = json.loads((out / "state.json").read_text())["error"]
    assert error["type"] == "IndexError" and error["message"] == "list index out of range"
    assert error["traceback"][-1] == "IndexError: list index out of range" and len(error["traceback"]) <= KEPT_LINES


def test_the_crash_of_a_stage_names_the_stage(verb, capsys):
    code, said = doctor(verb("in a stage"), capsys)
    assert code == 3 and "ended in stage second at step 1 with ZeroDivisionError: nothing to divide by" in said


def test_a_crash_hides_no_disease(tmp_path, capsys):
    ill = {"kl_nats_per_sequence": lambda i: 60.0, "kl_nats_per_action": lambda i: 2.0}
    ppo_run(tmp_path / "run", **ill, stopped_by="MemoryError")
    code, said = doctor(tmp_path / "run", capsys)
    assert code == 1 and "KL runaway" in said and "with MemoryError" in said


def test_a_healthy_run_that_crashed_late_is_not_cleared_either(tmp_path, capsys):
    ppo_run(tmp_path / "run", stopped_by="MemoryError")
    code, said = doctor(tmp_path / "run", capsys)
    assert code == 3 and "no diagnosis: the run ended at step" in said


def test_where_no_rule_applies_nothing_is_cleared(tmp_path, capsys):
    run = Run.create(tmp_path / "sft", {})
    for step in range(20):
        run.record(step, {"loss": 1.0, "perplexity": 2.0})
    run.mark_finished({})
    code, said = doctor(run.path, capsys)
    assert code == 3 and "no diagnosis: none of the rules applies to supervised fine-tuning" in said


def test_a_healthy_run_is_cleared_of_what_its_records_can_tell(tmp_path, capsys):
    ppo_run(tmp_path / "run")
    code, said = doctor(tmp_path / "run", capsys)
    known = len(diagnose(tmp_path / "run").known)
    assert code == 0 and f"nothing found of {known} diseases" in said and known < 27


def test_of_several_runs_an_alarm_counts_more_than_a_missing_diagnosis(verb, tmp_path, capsys):
    ppo_run(tmp_path / "well")
    ppo_run(tmp_path / "ill", kl_nats_per_sequence=lambda i: 60.0, kl_nats_per_action=lambda i: 2.0)
    crashed = verb("badly")
    assert run_command(["doctor", str(tmp_path / "well"), str(crashed)]) == 3
    assert run_command(["doctor", str(tmp_path / "well"), str(crashed), str(tmp_path / "ill")]) == 1


def test_json_says_it_too(verb, capsys):
    code, said = doctor(verb("badly"), capsys, "--json")
    (row,) = json.loads(said)
    assert code == 3 and row["no_diagnosis"].startswith("the run ended")
    assert row["outcome"]["status"] == "crashed" and row["outcome"]["error"] == "IndexError" and row["findings"] == []


def test_interrupted_killed_and_finished_are_told_apart(verb, tmp_path, capsys):
    assert outcome_of(verb("well")).status == "finished"
    assert outcome_of(verb("interrupted")).status == "interrupted"
    assert outcome_of(verb("badly")).status == "crashed"
    killed = tmp_path / "killed"
    act(Job(), Run.create(killed, Job()))  # never says that it is over
    assert outcome_of(killed).status == "running"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    state = json.loads((killed / "state.json").read_text())
    state["process"] |= {"id": gone.pid, "started": psutil.Process(gone.pid).create_time()}
    gone.wait()
    (killed / "state.json").write_text(json.dumps(state))
    assert outcome_of(killed).status == "killed" and outcome_of(killed).step == 1
    code, said = doctor(killed, capsys)
    assert code == 3 and "no diagnosis: the run was killed after step 1" in said


def test_a_run_killed_before_its_first_state_has_no_diagnosis(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"verb": "ppo", "settings": {}}')
    code, said = doctor(tmp_path, capsys)
    assert code == 3 and "killed before it recorded a step" in said


def test_a_run_of_another_machine_is_not_called_killed(tmp_path):
    state = {"status": "running", "name": "r", "step": 0, "process": {"id": 1, "started": 0.0, "machine": "elsewhere"}}
    (tmp_path / "state.json").write_text(json.dumps(state))
    assert outcome_of(tmp_path).status == "running"


@pytest.mark.parametrize(
    "state",
    [
        {"status": "interrupted", "stopped_by": "IndexError", "step": 3},
        {"status": "interrupted", "stopped_by": "IndexError", "step": 3, "error": None},
        {"status": "interrupted", "stopped_by": "IndexError", "step": 3, "error": {"type": 5, "traceback": [1, None]}},
    ],
)
def test_folders_of_older_versions_still_open(state, tmp_path, capsys):
    (tmp_path / "state.json").write_text(json.dumps({"tutelage": "run", "name": "old", **state}))
    code, said = doctor(tmp_path, capsys)
    assert code == 3 and "ended at step 3 with" in said
    assert "ended at step 3 with" in write_report(tmp_path).read_text()


def test_the_report_shows_the_crash(verb):
    text = write_report(verb("badly")).read_text()
    assert "The run ended at step 1 with IndexError: list index out of range." in text and "return [][0]" in text
    assert "No diagnosis" in text


def test_no_secret_stands_in_the_state_or_in_the_log(verb):
    out = verb("with a secret")
    assert "hunter22" not in (out / "state.json").read_text() + (out / LOG).read_text()
    assert "models.example" in (out / LOG).read_text()


def test_a_resumed_run_forgets_its_crash_but_its_log_goes_on(verb, capsys, monkeypatch):
    out = verb("badly")
    monkeypatch.setitem(VERBS, "job", Verb("a job", lambda: (Job, lambda job, run: print("again") or {}), "x"))
    assert run_command(["job", "--ends", "badly", "--out", str(out), "--resume"]) == 0
    assert outcome_of(out).status == "finished" and "error" not in json.loads((out / "state.json").read_text())
    log = (out / LOG).read_text()
    assert log.index("IndexError") < log.index("--resume") < log.index("again")


# --- what it printed


def test_the_log_holds_what_was_printed_and_the_traceback(verb, capsys):
    log = (verb("badly") / LOG).read_text()
    assert "this goes to the terminal\nand this, too\n" in log
    assert "Traceback" in log and "IndexError: list index out of range" in log
    seen = capsys.readouterr()
    assert "this goes to the terminal" in seen.out and "and this, too" in seen.err  # the terminal loses nothing


def test_the_log_is_there_while_the_run_goes_on(tmp_path):
    before = (sys.stdout, sys.stderr)
    log = OutputLog(tmp_path, "tutelage job")
    print("half way")
    assert "half way\n" in (tmp_path / LOG).read_text()
    log.end()
    assert (sys.stdout, sys.stderr) == before
    print("after the end")
    assert "after" not in (tmp_path / LOG).read_text()


def test_a_refusal_is_one_line(verb, monkeypatch, tmp_path, capsys):
    def refuse(job, run):
        run.record(0, {"loss": 1.0})
        raise InputError("the reward was no number")

    monkeypatch.setitem(VERBS, "job", Verb("a job", lambda: (Job, refuse), "runs/job"))
    assert run_command(["job", "--out", str(tmp_path / "refused")]) == 2
    log = (tmp_path / "refused" / LOG).read_text()
    assert log.splitlines()[-1] == "tutelage: the reward was no number" and "Traceback" not in log


def test_bars_that_are_drawn_over_leave_few_lines(tmp_path, monkeypatch):
    """A thousand states of a tqdm bar and of a rich one on a terminal: the last of each, and one a minute."""
    log = Log(tmp_path / LOG)
    for step in range(1000):
        log.write(2, f"\r{step / 10:5.1f} %|{'#' * (step // 50)}|")
    log.write(2, "\n")
    console = Console(file=Into(log), force_terminal=True, width=80)
    with Progress("ppo", 1000, console=console) as progress:
        for step in range(1000):
            progress.advance({"score": float(step)})
            if step == 500:
                console.print("said in between")
    log.close()
    lines = (tmp_path / LOG).read_text().splitlines()
    assert len(lines) < 12
    assert any("99.9 %" in line for line in lines) and any("1000/1000" in line for line in lines)
    assert "said in between" in lines and not any("\x1b" in line for line in lines)


class Into(io.StringIO):
    """What a terminal would be given."""

    def __init__(self, log):
        super().__init__()
        self.log = log

    def write(self, text):
        self.log.write(1, text)
        return len(text)


def test_once_a_minute_a_bar_is_kept(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(log_module.time, "monotonic", lambda: now[0])
    log = Log(tmp_path / LOG)
    for second in range(600):
        now[0] = float(second)
        log.write(2, f"\rstep {second}")
    log.close()
    assert 9 <= len((tmp_path / LOG).read_text().splitlines()) <= 12


def test_a_log_of_any_length_keeps_its_beginning_and_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(log_module, "LARGEST", 20_000)
    monkeypatch.setattr(log_module, "HEAD", 2_000)
    monkeypatch.setattr(log_module, "TAIL", 5_000)
    log = Log(tmp_path / LOG)
    for step in range(3000):
        log.write(1, f"line {step}\n")
    log.close()
    text = (tmp_path / LOG).read_text()
    assert len(text) <= 20_100 and text.startswith("line 0\n") and text.endswith("line 2999\n")
    assert text.count("were left out here") == 1
    assert all(each.startswith(("line ", "[... ")) or not each for each in text.splitlines())


def test_a_log_that_cannot_be_written_ends_the_log_and_not_the_run(tmp_path, capfd):
    (tmp_path / LOG).mkdir()
    log = OutputLog(tmp_path, "tutelage job")
    print("still said")
    log.end()
    assert "still said" in capfd.readouterr().out
