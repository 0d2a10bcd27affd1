"""The laboratory as a command, in the smallest size: every stage runs, what was interrupted goes on."""

from __future__ import annotations

import json

import pytest

from tutelage.cli import run_command

SMALL = [
    "--seeds",
    "2",
    "--labels",
    "16",
    "--widths",
    "16",
    "--members",
    "2",
    "--held-out-labels",
    "16",
    "--pool",
    "540",
]
SMALL += ["--best-of", "16", "--best-of-prompts", "2", "--evaluation-prompts", "8"]
SMALL += ["--evaluate-every", "2", "--patience", "3", "--sft.steps", "4", "--sft.batch-size", "8", "--skip-preflight"]
SMALL += ["--ppo.steps", "4", "--ppo.trajectories", "8", "--reward-model.epochs", "1"]
WANTED = (
    "labels proxy_parameters alpha_bon beta_bon r2_bon alpha_rl beta_rl r2_rl gold_peak gold_at_end gold_drop "
    "gold_drop_low gold_drop_high proxy_at_end sqrt_kl_at_peak"
)


@pytest.mark.slow
def test_the_laboratory_runs_and_goes_on_where_it_was_interrupted(tmp_path, capsys):
    out = tmp_path / "lab"
    assert run_command(["overoptimise", *SMALL, "--out", str(out)]) == 0
    whole = json.loads((out / "summary.json").read_text())
    assert set(WANTED.split()) <= whole["settings"][0].keys()
    assert "Gold against proxy" in (out / "report.html").read_text()
    last = "ppo-stopped-16-16-labels-width-16-seed-1"
    assert len((out / last / "samples.jsonl").read_text().splitlines()) % 8 == 0
    for name in (f"{last}/state.json", "state.json"):
        state = json.loads((out / name).read_text())
        (out / name).write_text(json.dumps({**state, "status": "interrupted"}))
    (out / "summary.json").unlink()
    assert run_command(["resume", str(out)]) == 0
    again = json.loads((out / "summary.json").read_text())
    assert {**again, "seconds_total": 0} == {**whole, "seconds_total": 0}
    assert run_command(["overoptimise", *SMALL, "--out", str(out)]) == 2
    assert "holds a run already" in capsys.readouterr().err
