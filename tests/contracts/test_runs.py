"""One folder a run: what stands in it, when, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from rich.console import Console

from tutelage.data.errors import InputError
from tutelage.runs.files import append_lines, read_json, read_lines, write_folder, write_json
from tutelage.runs.progress import Progress
from tutelage.runs.run import Run, as_plain
from tutelage.runs.settings import overridden


@dataclass(frozen=True)
class Inner:
    rate: float = 1e-3
    steps: int = 4


@dataclass(frozen=True)
class Outer:
    seed: int = 0
    settings: Inner = field(default_factory=Inner)


class Heard:
    def __init__(self):
        self.rows = []

    def log(self, step, metrics):
        self.rows.append((step, dict(metrics)))

    def close(self):
        pass


def test_settings_and_surroundings_are_written_before_the_first_step(tmp_path):
    run = Run.create(tmp_path / "r", Outer())
    config = read_json(run.path / "config.json")
    assert config["settings"] == {"seed": 0, "settings": {"rate": 1e-3, "steps": 4}}
    assert {"torch", "transformers", "tutelage"} <= config["versions"].keys()
    assert config["threads"] >= 1
    assert read_json(run.path / "state.json")["status"] == "running"


def test_a_record_goes_to_the_events_and_to_every_tracker(tmp_path):
    heard = Heard()
    run = Run.create(tmp_path / "r", {})
    run.trackers = (heard,)
    for step in run.steps(2):
        run.note(gold=0.5)
        run.record(step, {"loss": 1.0 / (step + 1)})
    events = read_lines(run.path / "events.jsonl")
    assert [(event["step"], event["loss"], event["gold"]) for event in events] == [(0, 1.0, 0.5), (1, 0.5, 0.5)]
    assert heard.rows[1] == (1, {"r/loss": 0.5, "r/gold": 0.5})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_stops_the_run_by_name(tmp_path, value):
    run = Run.create(tmp_path / "r", {})
    with pytest.raises(FloatingPointError, match=r"loss is .* at step 3"):
        run.record(3, {"loss": value})
    assert not (run.path / "events.jsonl").exists()


def test_a_finished_run_has_its_summary_first(tmp_path, monkeypatch):
    run = Run.create(tmp_path / "r", {})
    monkeypatch.setattr(run, "_write_state", lambda status: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run.mark_finished({"accuracy": 1.0})
    assert run.summary == {"accuracy": 1.0} and not run.finished


def test_an_unfinished_stage_begins_again_and_a_finished_one_is_kept(tmp_path):
    run = Run.create(tmp_path / "r", {})
    first = run.stage("first")
    first.mark_finished({"x": 1})
    second = run.stage("second")
    second.keep_samples(0, [{"text": "half"}])
    again = Run.create(tmp_path / "r", {}, resume=True)
    assert again.stage("first").summary == {"x": 1}
    assert not (again.stage("second").path / "samples.jsonl").exists()


def test_only_the_same_settings_are_resumed(tmp_path):
    Run.create(tmp_path / "r", Outer())
    Run.create(tmp_path / "r", Outer(), resume=True)
    with pytest.raises(InputError, match="other settings: seed"):
        Run.create(tmp_path / "r", Outer(seed=1), resume=True)


def test_a_folder_that_is_no_run_is_never_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for how in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(InputError, match="no run of tutelage"):
            Run.create(tmp_path, {}, **how)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert read_json(tmp_path / "a.json") == {"x": 1}

    def fill(folder):
        (folder / "half").write_text("half a model")
        raise OSError(28, "No space left on device")

    write_folder(tmp_path / "model", lambda folder: (folder / "whole").write_text("a model"))
    with pytest.raises(InputError, match="no space left"):
        write_folder(tmp_path / "model", fill)
    assert [each.name for each in (tmp_path / "model").iterdir()] == ["whole"]


def test_a_line_that_is_being_written_is_no_row_yet_and_a_damaged_one_is_named(tmp_path):
    append_lines(tmp_path / "events.jsonl", [{"step": 0}])
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"step": 1, "lo')
    assert read_lines(tmp_path / "events.jsonl") == [{"step": 0}]
    append_lines(tmp_path / "events.jsonl", [{"step": 2}])
    with pytest.raises(InputError, match=r"events\.jsonl, line 2"):
        read_lines(tmp_path / "events.jsonl")


def test_settings_of_a_file_take_the_type_they_had():
    found = overridden(Outer(), {"seed": 3, "rate": "1e-4", "settings": {"steps": 7}}, "x.yaml")
    assert found == Outer(3, Inner(1e-4, 7))
    assert as_plain(found)["settings"]["rate"] == 1e-4
    for wrong in ({"sead": 1}, {"seed": "many"}, {"seed": True}):
        with pytest.raises(InputError, match=r"x\.yaml"):
            overridden(Outer(), wrong, "x.yaml")


def test_progress_speaks_rate_time_left_and_the_numbers(capsys):
    console = Console(force_terminal=False, stderr=True)
    with Progress("ppo", 2, console=console) as progress:
        progress.advance({"score": 0.25})
        progress.advance({"score": 0.5})
    said = capsys.readouterr().err
    assert "ppo: 2/2" in said and "steps/s" in said and "s left" in said and "score 0.5" in said


def test_events_are_json_that_any_reader_takes(tmp_path):
    append_lines(tmp_path / "a.jsonl", [{"text": 'ü "quoted"\u2028new'}])
    assert json.loads((tmp_path / "a.jsonl").read_text(encoding="utf-8"))["text"] == 'ü "quoted"\u2028new'
    assert read_lines(tmp_path / "a.jsonl")[0]["text"].endswith("new")
