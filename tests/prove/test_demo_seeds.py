"""What the demo claims, on the seeds it claims it for: `make prove`, an hour or so on two cores.

The table that docs/lab-log.md shows is printed by `python -m pytest tests/prove/test_demo_seeds.py -m prove -s`.
"""

from __future__ import annotations

import json

import pytest

from tutelage.cli import run_command
from tutelage.runs.files import read_lines

SEEDS = range(10)
COLUMNS = (
    "seed",
    "seconds_total",
    "reward_model_accuracy",
    "gold_score_sft",
    "gold_score_sft_best_quarter",
    "gold_score_best_of_4",
    "gold_score_best_of_16",
    "gold_score_ppo",
    "gold_score_ppo_on_gold",
    "win_rate_ppo_over_sft",
    "policy_breaks_sft",
    "policy_breaks_ppo",
    "kl_nats_per_sequence",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of the ten demos, through the command that a newcomer types."""
    root = tmp_path_factory.mktemp("demo")
    for seed in SEEDS:
        assert run_command(["demo", "--seed", str(seed), "--out", str(root / str(seed))]) == 0
    return [root / str(seed) for seed in SEEDS]


@pytest.mark.prove
def test_every_claim_of_the_demo_holds_on_every_seed(runs):
    found = [json.loads((run / "summary.json").read_text()) for run in runs]
    print("| " + " | ".join(COLUMNS) + " |")
    for summary in found:
        print("| " + " | ".join(f"{summary[name]:.3g}" for name in COLUMNS) + " |")
    rates = [summary["win_rate_ppo_over_sft"] for summary in found]
    assert sum(rates) / len(rates) >= 0.75
    assert min(rates) >= 0.70
    for run, summary in zip(runs, found, strict=True):
        assert summary["labels"] <= 2000
        assert summary["gold_score_ppo"] > summary["gold_score_best_of_4"]
        gain = summary["gold_score_ppo"] - summary["gold_score_sft"]
        assert gain >= 0.6 * (summary["gold_score_ppo_on_gold"] - summary["gold_score_sft"])
        assert 0.10 <= summary["policy_breaks_sft"] <= 0.40
        assert summary["policy_breaks_ppo"] <= summary["policy_breaks_sft"] / 2
        assert summary["seconds_total"] <= 360
        golds = [event["gold_score"] for event in read_lines(run / "ppo" / "events.jsonl")]
        assert min(golds[-(len(golds) // 4) :]) >= summary["gold_score_sft"]
