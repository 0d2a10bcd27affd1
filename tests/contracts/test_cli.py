"""The verbs on anyone's model and data: what they leave behind, and that it loads elsewhere."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from tutelage.cli import run_command
from tutelage.commands.verbs import VERBS
from tutelage.data.tokens import Codec, written
from tutelage.models.pretrained import load_sequence_classifier, load_tokenizer
from tutelage.rewards.language import RewardModel
from tutelage.runs.files import read_lines
from tutelage.trajectory import Batch

QUICK = ["--max-new-tokens", "5", "--steps", "2", "--trajectories", "6", "--epochs", "1"]


def count_of_a(prompts, responses):
    return [float(response.count("a")) for response in responses]


REWARD = f"{__name__}:count_of_a"


def finished(folder):
    """The summary of a run that left everything it should."""
    for name in ("config.json", "events.jsonl", "summary.json", "report.html"):
        assert (folder / name).is_file(), name
    assert json.loads((folder / "state.json").read_text())["status"] == "finished"
    return json.loads((folder / "summary.json").read_text())


def test_sft_leaves_a_model_that_transformers_loads(model_folder, files):
    out = files / "sft"
    command = ["sft", "--model", str(model_folder), "--data", str(files / "demonstrations.jsonl"), "--out", str(out)]
    assert run_command([*command, "--steps", "30", "--learning-rate", "3e-3", "--batch-size", "8"]) == 0
    summary = finished(out)
    assert summary["rows_read"] == 8 and summary["rows_dropped"] == 0
    losses = [event["loss"] for event in read_lines(out / "events.jsonl")]
    assert losses[-1] < losses[0] / 2
    AutoModelForCausalLM.from_pretrained(out / "model")


@pytest.fixture
def reward_folder(model_folder, files):
    out = files / "reward-model"
    command = ["reward-model", "--model", str(model_folder), "--data", str(files / "comparisons.jsonl")]
    assert run_command([*command, "--out", str(out), "--epochs", "8", "--learning-rate", "3e-3"]) == 0
    return out


def test_a_reward_model_learns_and_loads_as_a_classifier(reward_folder):
    summary = finished(reward_folder)
    assert summary["accuracy"] == 1.0 and summary["accuracy_low"] < 1.0
    assert summary["length_rule_accuracy"] == 1.0  # "a !" is longer than "ba": the rule stands beside the model
    assert {"rows_read", "rows_dropped", "rows_truncated", "accuracy_high"} <= summary.keys()
    model = AutoModelForSequenceClassification.from_pretrained(reward_folder / "model")
    codec = Codec(load_tokenizer(str(reward_folder / "model")))
    batch = Batch.of([written(*codec.pair("ab ", "a !"))])
    with torch.no_grad():
        theirs = model(input_ids=batch.observations).logits[0, 0] + model.config.score_bias
        ours = RewardModel(load_sequence_classifier(str(reward_folder / "model")))(batch)[0]
    assert codec.stop_tokens[0] == batch.observations[0, -1]  # read at the end of sequence, though pad was EOS
    assert torch.allclose(theirs, ours, atol=1e-5)


def test_ppo_against_a_reward_model(model_folder, files, reward_folder):
    out = files / "ppo"
    command = ["ppo", "--model", str(model_folder), "--data", str(files / "prompts.jsonl"), "--out", str(out)]
    assert run_command([*command, "--reward", str(reward_folder / "model"), *QUICK]) == 0
    assert finished(out)["steps"] == 2
    AutoModelForCausalLM.from_pretrained(out / "model")
    samples = read_lines(out / "samples.jsonl")
    assert [sum(each in row for row in samples) for each in ("prompt", "probe")] == [8 + 8, 8]  # two steps of four each


@pytest.mark.parametrize("extra", [[], ["--value-head"]])
def test_ppo_against_a_function(model_folder, files, extra):
    out = files / "ppo"
    command = ["ppo", "--model", str(model_folder), "--data", str(files / "prompts.jsonl"), "--out", str(out)]
    assert run_command([*command, "--reward", REWARD, *QUICK, *extra]) == 0
    finished(out)


def test_a_lora_policy_is_exported_as_an_adapter(model_folder, files):
    from peft import PeftModel

    out = files / "ppo"
    command = ["ppo", "--model", str(model_folder), "--data", str(files / "prompts.jsonl"), "--out", str(out)]
    assert run_command([*command, "--reward", REWARD, *QUICK, "--lora-rank", "2", "--learning-rate", "1e-2"]) == 0
    base = AutoModelForCausalLM.from_pretrained(model_folder)
    tokens = torch.tensor([[2, 3, 4]])
    with torch.no_grad():
        before = base(tokens).logits
        adapted = PeftModel.from_pretrained(base, out / "model")(tokens).logits
        again = AutoModelForCausalLM.from_pretrained(out / "model")(tokens).logits
    assert not torch.allclose(before, adapted, atol=1e-4)
    assert torch.allclose(adapted, again, atol=1e-5)


def test_best_of_n_keeps_the_best(model_folder, files):
    out = files / "best"
    command = ["best-of-n", "--model", str(model_folder), "--data", str(files / "prompts.jsonl"), "--out", str(out)]
    assert run_command([*command, "--reward", REWARD, "--n", "8", "--max-new-tokens", "5"]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["score_mean"] > summary["score_mean_of_one"]
    for row in read_lines(out / "samples.jsonl"):
        assert row["score"] == row["completion"].count("a")


def test_evaluate_a_model_against_itself_is_a_tie(model_folder, files):
    out = files / "evaluate"
    command = ["evaluate", "--model", str(model_folder), "--baseline", str(model_folder), "--out", str(out)]
    data = ["--data", str(files / "prompts.jsonl"), "--max-new-tokens", "5"]
    assert run_command([*command, *data, "--reward", REWARD]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["win_rate_low"] <= 0.5 <= summary["win_rate_high"]
    assert summary["kl_nats_per_sequence"] == pytest.approx(0.0, abs=1e-5)


def test_settings_come_from_a_file_and_flags_win(model_folder, files):
    (files / "settings.yaml").write_text("steps: 3\nlearning_rate: 1e-3\nbatch-size: 4\n")
    command = ["sft", "--model", str(model_folder), "--data", str(files / "demonstrations.jsonl")]
    command += ["--config", str(files / "settings.yaml"), "--steps", "2", "--out", str(files / "sft")]
    assert run_command(command) == 0
    settings = json.loads((files / "sft" / "config.json").read_text())["settings"]["settings"]
    assert (settings["steps"], settings["learning_rate"], settings["batch_size"]) == (2, 1e-3, 4)


def test_events_go_to_tensorboard(model_folder, files):
    command = ["sft", "--model", str(model_folder), "--data", str(files / "demonstrations.jsonl"), "--steps", "2"]
    assert run_command([*command, "--out", str(files / "sft"), "--track", "tensorboard"]) == 0
    assert list((files / "sft" / "tensorboard").glob("events.*"))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_its_flags(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_command([*verb.split(), "--help"])
    assert stopped.value.code == 0
    assert "--out" in capsys.readouterr().out


def test_chat_answers(model_folder, capsys, monkeypatch):
    said = iter(["ab", "cd", ""])
    monkeypatch.setattr("builtins.input", lambda asks: next(said))
    assert run_command(["chat", str(model_folder), "--max-new-tokens", "5"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
