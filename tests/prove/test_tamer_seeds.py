"""What docs/tamer.md claims of the recipe, over its ten seeds; and how soon a key has changed the weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tutelage.cli import run_command

ROOT = Path(__file__).parents[2]


@pytest.mark.prove
def test_every_claim_of_the_recipe_holds(tmp_path):
    assert run_command(["recipe", "tamer", "--out", str(tmp_path / "run")]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["seeds"] == 10 and summary["lines_game_3_median"] >= 50
    assert summary["sarsa_games_to_match"] is None or summary["sarsa_games_to_match"] >= 30
    conditions = {each["condition"]: each for each in summary["conditions"]}
    assert conditions["tamer"]["signals_a_placement"] <= 0.5
    for wrong in ("nobody-is-late", "far-too-late"):
        assert conditions[wrong]["factor_high"] < 1.0
    assert summary["mountain_car_third_attempt_highest"] < 200
    assert summary["mountain_car_learned_within_3_fraction"] >= 0.9


@pytest.mark.prove
@pytest.mark.browser
def test_a_key_has_changed_the_weights_within_200_milliseconds():
    command = [sys.executable, str(ROOT / "benchmarks" / "tamer_live.py"), "60"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(said.splitlines()[-1])["p95_ms"] <= 200
