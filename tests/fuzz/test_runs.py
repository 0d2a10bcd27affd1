"""Run folders, checkpoints and stores, a little wrong: whoever reads them refuses them clearly or reads them right."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.fuzz.fuzzing import outcome
from tests.fuzz.mutations import damaged, mutated
from tests.sick_runs import honest, ppo_run

from tutelage.cli import run_command
from tutelage.commands.resume import stored
from tutelage.data.errors import InputError
from tutelage.doctor.chart import read_stage
from tutelage.doctor.diagnosis import diagnose
from tutelage.report.page import write
from tutelage.runs.checkpoints import RANDOM, Checkpoints, content_hash
from tutelage.runs.files import append_lines, read_json
from tutelage.runs.run import Run

SHARE, WHOLE, READ_AT_LEAST = 250, 2_500, 0.3
SAMPLES = [{"prompt": f"p{i}", "response": f"We will refund it soon {i}", "score": 0.5} for i in range(24)]
FILES = ("state.json", "config.json", "summary.json", "events.jsonl", "samples.jsonl", "comparisons.jsonl")
INSIDE = (*FILES, "checkpoints/step-000002/manifest.json", "checkpoints/step-000002/state.pt")


def valid(folder: Path) -> set[str]:
    """A run with everything that is read; the hashes of its checkpoints' content."""
    ppo_run(folder, samples=SAMPLES)
    append_lines(folder / "comparisons.jsonl", [row.row() for row in honest(12)])
    found = Checkpoints(folder / "checkpoints")
    states = [{"learner": {"w": torch.arange(4.0) + step}, "random": RANDOM.state()} for step in (1, 2)]
    for step, state in enumerate(states, start=1):
        found.save(step, state, {"events.jsonl": 100 * step}, score=float(step))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "verb": "ppo"}))
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, "status": "interrupted"}))
    return {content_hash(state) for state in states}


def spoiled(rng: random.Random, path: Path) -> str:
    """Writes the file anew: another structure, or other bytes."""
    data, did = path.read_bytes(), "bytes"
    if path.suffix in (".json", ".jsonl") and rng.random() < 0.75:
        lines = data.decode().splitlines() if path.suffix == ".jsonl" else [data.decode()]
        found = mutated(rng, [json.loads(line) for line in lines])
        did = "; ".join(found.did) or "nothing"
        lines = [json.dumps(row) for row in found.rows]
        data = ("\n".join(lines) + "\n").encode() if path.suffix == ".jsonl" else lines[0].encode()
    elif rng.random() < 0.9:
        data, did = damaged(rng, data)
    path.write_bytes(data)
    return f"{path.name}: {did}"


def checkpoint(folder: Path) -> str:
    found = Checkpoints(folder / "checkpoints").latest()
    Checkpoints(folder / "checkpoints").best()
    return "" if found is None else content_hash(found.state)


@dataclass
class Learner:
    """What a checkpoint restores."""

    weights: Any = None

    def state(self) -> dict[str, Any]:
        return {"w": self.weights}

    def restore(self, state: Any) -> None:
        self.weights = state["w"]


def resumed(folder: Path) -> tuple[int, Learner]:
    """(the first step that is left, what it starts from) when the run goes on with the settings that it has."""
    run = Run.create(folder, read_json(folder / "config.json").get("settings"), resume=True)
    learner = Learner()
    first = next(iter(run.steps(30, state={"learner": learner})))
    return first, learner


READS: dict[str, Callable[[Path], Any]] = {
    "doctor": diagnose,
    "report": write,
    "checkpoints": checkpoint,
    "settings": stored,
    "resume": resumed,
}


def fuzzed(count: int, seed: int, tmp_path: Path) -> Counter[tuple[str, str]]:
    told: Counter[tuple[str, str]] = Counter()
    hashes = valid(tmp_path / "valid")
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        folder = tmp_path / "run"
        shutil.copytree(tmp_path / "valid", folder)
        did = spoiled(rng, folder / INSIDE[number % len(INSIDE)])
        name = list(READS)[(number // len(INSIDE)) % len(READS)]
        try:
            answer, refused = outcome(lambda name=name, folder=folder: READS[name](folder), [str(folder)])
            if not refused:
                read_right(name, answer, folder, hashes)
        except BaseException as error:
            raise AssertionError(f"{name} of {did}, number {number} of seed {seed}: {error!r:.300}") from error
        told[name, "refused" if refused else "read"] += 1
        shutil.rmtree(folder)
    return told


def read_right(name: str, answer: Any, folder: Path, hashes: set[str]) -> None:
    if name == "checkpoints":
        assert answer in {*hashes, ""}, "a checkpoint that nobody wrote"
    if name == "doctor":
        lines = (folder / "events.jsonl").read_bytes().count(b"\n")
        assert len(read_stage(folder).events) == lines, "events were lost"
    if name == "resume":
        first, learner = answer
        assert (first == 0) == (learner.weights is None)
        assert first == 0 or torch.equal(learner.weights, torch.arange(4.0) + first)
    if name == "settings":
        assert answer[0] == "ppo"


def counted(told: Counter[tuple[str, str]]) -> float:
    for name in READS:
        print(f"{name:12s} {told[name, 'read']:5d} read {told[name, 'refused']:5d} refused")
        assert told[name, "read"], name
    return sum(count for (_, how), count in told.items() if how == "read") / told.total()


@pytest.mark.slow
def test_some_run_folders(tmp_path, capsys):
    assert counted(fuzzed(SHARE, 0, tmp_path)) >= READ_AT_LEAST


@pytest.mark.prove
def test_many_run_folders(tmp_path, capsys):
    share = counted(fuzzed(WHOLE, 1, tmp_path))
    assert share >= READ_AT_LEAST


@pytest.mark.parametrize("place", range(0, 120_000, 9_000))
def test_a_store_that_is_damaged(place, tmp_path, capsys):
    """Feedback stores are SQLite: a page overwritten is refused, or what is read is part of what was written."""
    pairs = [{"prompt": f"p{i}", "chosen": "aa", "rejected": f"b{i}"} for i in range(5)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    project = tmp_path / "project"
    project.mkdir()
    assert run_command(["feedback", "import", str(project), str(tmp_path / "pairs.jsonl")]) == 0
    data = bytearray((project / "feedback.db").read_bytes())
    place = place % len(data)
    data[place : place + 200] = random.Random(place).randbytes(len(data[place : place + 200]))
    (project / "feedback.db").write_bytes(bytes(data))
    for command in (["doctor", str(project)], ["feedback", "verify", str(project)]):
        assert run_command(command) in (0, 1, 2)
    assert "Traceback" not in capsys.readouterr().err


def test_a_row_of_events_that_is_cut_off_is_no_row(tmp_path):
    valid(tmp_path / "run")
    path = tmp_path / "run" / "events.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    assert len(read_stage(tmp_path / "run").events) == 23


def test_the_report_names_what_is_wrong(tmp_path):
    valid(tmp_path / "run")
    (tmp_path / "run" / "summary.json").write_text('{"win_rate": "high"}')
    with pytest.raises(InputError, match=r"summary\.json.*edited by hand, or damaged"):
        write(tmp_path / "run")
