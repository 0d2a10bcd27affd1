"""`tutelage frontier` in small: every objective is a stage, goes on after a kill, and a table tells what came of it."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from tutelage.algorithms.multiplier import Charged, Multiplier
from tutelage.cli import run_command
from tutelage.evaluation.frontier import chosen, points
from tutelage.runs.files import read_lines
from tutelage.trajectory import Batch, Finish, Key, Trajectory

SMALL = ["--sft.steps", "25", "--labels", "60", "--reward-model.epochs", "0.5", "--evaluation-prompts", "24"]
SMALL += ["--ppo.steps", "4", "--ppo.trajectories", "8", "--kl-budgets", "4", "--rule-weights", "0", "1"]
SMALL += ["--keep-breaks-under", "0.05", "--checkpoint-seconds", "0"]


def batch(count):
    rows = [
        Trajectory(
            observations=torch.arange(4),
            actions=torch.arange(3),
            mask_T=torch.tensor([False, True, True]),
            behaviour_log_probs_T=torch.zeros(3),
            rewards_T=torch.zeros(3),
            finish=Finish.TERMINATED,
            key=Key(0, place),
        )
        for place in range(count)
    ]
    return Batch.of(rows)


def test_a_score_is_charged_with_the_price_of_now():
    multiplier = Multiplier(1.0, limit=0.25, rate=2.0)
    scored = Charged(
        lambda rows: rows.at_last_action(torch.tensor([2.0, 2.0])), lambda rows: torch.tensor([0.0, 1.0]), multiplier
    )
    assert scored(batch(2))[:, -1].tolist() == [1.0, 0.5]
    multiplier.saw(0.75)
    assert multiplier.value == 2.0
    assert scored(batch(2))[:, -1].tolist() == pytest.approx([2 / 3, 0.0])
    again = Multiplier(0.0, 0.25, 2.0)
    again.restore(multiplier.state())
    assert again.value == 2.0


def test_a_fixed_price_stays():
    fixed = Multiplier(1.5)
    fixed.saw(1.0)
    assert fixed.value == 1.5


def test_which_points_nothing_beats_and_which_to_take():
    def told(pleased, broken, kl):
        share = [float(place < broken) for place in range(100)]
        numbers = {"pleased": [pleased] * 100, "gold": [0.0] * 100, "broken": share, "kl_nats": [kl] * 100}
        return {"kind": "fixed weight", "weight": 0.0, "budget": 1.0, **numbers}

    rows = points({"a": told(1.0, 50, 4.0), "b": told(0.8, 1, 4.0), "c": told(0.7, 1, 5.0), "d": told(0.0, 30, 0.0)})
    assert {row["name"]: row["pareto_optimal"] for row in rows} == {"a": True, "b": True, "c": False, "d": True}
    assert chosen(rows, 0.02)["name"] == "b"
    assert chosen(rows, 0.6)["name"] == "a"
    assert chosen(rows, 0.001) is None
    assert rows[0]["broken_low"] < 0.5 < rows[0]["broken_high"]


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on_to_the_same_numbers(tmp_path, capsys):
    out = tmp_path / "run"
    assert run_command(["frontier", *SMALL, "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["runs"] == 3 and len(summary["objectives"]) == 4
    assert {row["kind"] for row in summary["objectives"]} == {"first policy", "fixed weight", "multiplier"}
    kept = read_lines(out / "kept-kl-4-seed-0" / "events.jsonl")
    prices, shares = ([row[name] for row in kept] for name in ("multiplier", "broken_fraction"))
    expected = [0.0]
    for share in shares:
        expected.append(max(0.0, expected[-1] + 1.0 * (share - 0.05)))
    assert prices == pytest.approx(expected[:-1])
    assert all(row["multiplier"] == 1.0 for row in read_lines(out / "weight-1-kl-4-seed-0" / "events.jsonl"))
    text = (out / "report.html").read_text()
    assert "Objectives" in text and "kept-kl-4-seed-0" in text

    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    for name in ("summary.json", "kept-kl-4-seed-0/summary.json"):
        (copy / name).unlink()
    for each in (copy, copy / "kept-kl-4-seed-0"):
        state = json.loads((each / "state.json").read_text())
        (each / "state.json").write_text(json.dumps({**state, "status": "interrupted"}))
    newest = max((copy / "kept-kl-4-seed-0" / "checkpoints").iterdir())
    shutil.rmtree(newest)
    assert run_command(["resume", str(copy)]) == 0
    again = json.loads((copy / "summary.json").read_text())
    assert again == summary


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--rule-weights", "-1"], "0 or more"),
        (["--kl-budgets", "0"], "above 0"),
        (["--keep-breaks-under", "1"], "below 1"),
        (["--multiplier-rate", "0"], "above 0"),
        (["--seeds", "0"], "1 or more"),
    ],
)
def test_nonsense_is_refused_before_anything_is_trained(flags, expected, tmp_path, capsys):
    assert run_command(["frontier", *flags, "--out", str(tmp_path / "run")]) == 2
    assert expected in capsys.readouterr().err
