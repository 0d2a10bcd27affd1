"""The demo in a hurry: every stage for a few steps, interrupted between two and continued."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from tutelage.cli import run_command
from tutelage.data.records import Comparison
from tutelage.recipes import demo as demo_recipe
from tutelage.runs.files import read_lines

SMALL = ["--demonstrations", "200", "--labels", "60", "--ppo-prompts", "60", "--evaluation-prompts", "24"]
SMALL += [
    "--best-quarter-steps",
    "3",
    "--max-new-tokens",
    "16",
    "--width",
    "32",
    "--layers",
    "1",
    "--reward-model.epochs",
    "1",
    "--sft.steps",
    "15",
    "--ppo.steps",
    "4",
    "--ppo.trajectories",
    "8",
]
PROMISED = {
    "seed", "seconds_total", "seconds_by_stage", "labels", "reward_model_accuracy", "gold_score_sft",
    "gold_score_sft_best_quarter", "gold_score_best_of_4", "gold_score_best_of_16", "gold_score_ppo",
    "gold_score_ppo_on_gold", "win_rate_ppo_over_sft", "win_rate_low", "win_rate_high", "policy_breaks_sft",
    "policy_breaks_ppo", "kl_nats_per_sequence",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "run"
    assert run_command(["demo", "--out", str(out), *SMALL]) == 0
    return out


@pytest.mark.slow
def test_the_folder_holds_what_was_promised(folder):
    summary = json.loads((folder / "summary.json").read_text())
    assert summary.keys() >= PROMISED
    assert summary["labels"] == 60
    assert 0 <= summary["win_rate_low"] <= summary["win_rate_ppo_over_sft"] <= summary["win_rate_high"] <= 1
    assert {row["name"] for row in summary["methods"]} >= {"SFT", "best of 4", "best of 16", "PPO", "PPO on gold"}
    assert len([row for row in read_lines(folder / "samples.jsonl") if "before" in row]) == 6
    assert (folder / "report.html").stat().st_size > 1_000_000  # the plots' script is inside
    rows = [Comparison.model_validate(row) for row in read_lines(folder / "labels" / "comparisons.jsonl")]
    assert len(rows) == 60 and all(row.verdict.rater_kind == "synthetic" for row in rows)
    assert sum(row.verdict.shown[0] != row.candidates[0].id for row in rows) > 10  # the order shown is shuffled
    for stage in ("sft", "ppo", "ppo-on-gold", "sft-best-quarter"):
        AutoModelForCausalLM.from_pretrained(folder / stage / "model")
    AutoModelForSequenceClassification.from_pretrained(folder / "reward-model" / "model")


@pytest.mark.slow
def test_the_reward_model_is_centred_on_the_demonstrations(folder):
    from tutelage.data.helpdesk import demonstrations
    from tutelage.data.tokens import Codec
    from tutelage.models.pretrained import load_sequence_classifier, load_tokenizer
    from tutelage.rewards.language import ModelScore, RewardModel
    from tutelage.training.speaker import encoded

    path = str(folder / "reward-model" / "model")
    rows = encoded(Codec(load_tokenizer(path)), demonstrations.demonstrations(500, 0))
    scores = ModelScore(RewardModel(load_sequence_classifier(path)))(rows).sum(dim=1)
    assert float(scores.mean()) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.slow
def test_its_own_labels_train_a_reward_model_by_the_verb(folder, tmp_path):
    data = str(folder / "labels" / "comparisons.jsonl")
    command = ["reward-model", "--model", str(folder / "sft" / "model"), "--data", data, "--out", str(tmp_path / "r")]
    assert run_command(command) == 0
    assert json.loads((tmp_path / "r" / "summary.json").read_text())["rows_read"] == 60


@pytest.mark.slow
def test_interrupted_between_stages_and_resumed_it_is_the_same_run(folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    whole, stage = dict(demo_recipe.STAGES), demo_recipe.STAGES["ppo-on-gold"]

    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setitem(demo_recipe.STAGES, "ppo-on-gold", interrupted)
    assert run_command(["demo", "--out", str(out), *SMALL]) == 130
    assert "ppo-on-gold" in capsys.readouterr().err
    monkeypatch.setitem(demo_recipe.STAGES, "ppo-on-gold", stage)
    for name in ("sft", "labels", "reward-model", "ppo"):
        monkeypatch.setitem(demo_recipe.STAGES, name, interrupted)  # finished ones are not begun again
    assert run_command(["demo", "--out", str(out), *SMALL, "--resume"]) == 0
    assert list(whole) == list(demo_recipe.STAGES)
    first, second = (json.loads((each / "summary.json").read_text()) for each in (folder, out))
    for key in first.keys() - {"seconds_total", "seconds_by_stage"}:
        assert first[key] == second[key], key
    ours, theirs = (AutoModelForCausalLM.from_pretrained(each / "ppo" / "model").state_dict() for each in (folder, out))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
def test_a_reply_is_followed_token_by_token(folder, capsys):
    assert run_command(["correspondence", str(folder)]) == 0
    table = capsys.readouterr().out.strip().splitlines()
    assert "advantage" in table[0] and len(table) >= 3
    assert run_command(["correspondence", str(folder / "sft")]) == 2
