"""What the sentiment recipe claims, on its seeds; needs the real weights and data beside the repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tutelage.cli import run_command

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(3))
def test_every_claim_of_the_sentiment_recipe_holds(seed, tmp_path):
    if not DATA.is_dir():
        pytest.skip("the real weights and sentences are not beside this repository (../shared/data)")
    arguments = ["--model", str(DATA / "models/stories260K"), "--sentiment-data", str(DATA / "sentiment")]
    arguments += ["--prompts", str(DATA / "tinystories-sample/tinystories_a.txt"), "--labels", "5000"]
    out = tmp_path / "run"
    assert run_command(["recipe", "sentiment", *arguments, "--seed", str(seed), "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    initial = summary["gold_mean_initial"]
    assert summary["classifier_accuracy"] >= 0.80
    assert summary["gold_mean_ppo"] >= 0.85
    assert summary["kl_nats_per_sequence"] <= 10
    assert summary["gold_mean_ppo"] - initial >= 0.6 * (summary["gold_mean_optimal_at_same_kl"] - initial)
    assert summary["distinct_2_ppo"] >= 0.8 * summary["distinct_2_initial"]
    assert summary["seconds_total"] <= 600
