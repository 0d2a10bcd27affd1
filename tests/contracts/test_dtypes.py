"""--dtype: a checkpoint's own dtype is kept in memory and in what is saved, and small updates are not lost in it."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.tiny_families import saved, write_data
from torch import nn

from tutelage.cli import run_command
from tutelage.environments.language import Language
from tutelage.execution.learner import LocalLearner
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.formulas.parity import parity_gap
from tutelage.models.pretrained import Trust, load_causal_lm, load_sequence_classifier
from tutelage.policies.language import LanguagePolicy
from tutelage.trajectory import Key

OWN = Trust(dtype="checkpoint")
MIXTURES = {
    "norms in fp32": ("norm", "ln_"),
    "embedding in fp32": ("embed", "wte"),
    "attention in fp32": ("attn",),
    "half of the layers in fp32": ("layers.0", "h.0"),
}


def length(prompts, responses):
    return [float(len(response)) for response in responses]


def cast(folder, kind=lambda name: torch.bfloat16):
    """The folder with each of its tensors in the dtype that `kind` gives to its name."""
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: each.to(kind(name)) for name, each in tensors.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dtypes")
    write_data(folder)
    cast(saved("llama", folder / "base"))
    return folder


def kinds(folder):
    return {name: each.dtype for name, each in load_file(folder / "model.safetensors").items()}


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32])
def test_loading_and_saving_keeps_dtype_and_bits(tmp_path, kind):
    cast(saved("llama", tmp_path / "base"), lambda name: kind)
    model = load_causal_lm(str(tmp_path / "base"), trust=OWN)
    assert {each.dtype for each in model.parameters()} == {kind}
    model.save_pretrained(tmp_path / "again")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "again"))
    assert before.keys() == after.keys()
    assert all(before[name].dtype == after[name].dtype and torch.equal(before[name], after[name]) for name in before)
    assert {each.dtype for each in load_causal_lm(str(tmp_path / "base")).parameters()} == {torch.float32}
    lower = load_causal_lm(str(tmp_path / "base"), trust=Trust(dtype="bfloat16"))
    assert {each.dtype for each in lower.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("name", MIXTURES)
def test_several_dtypes_in_one_checkpoint_are_kept_tensor_by_tensor(tmp_path, name, family):
    """And the model still samples and learns: what it says of its replies agrees within bf16's rounding."""
    folder = cast(
        saved(family, tmp_path / "base"),
        lambda key: torch.float32 if any(part in key for part in MIXTURES[name]) else torch.bfloat16,
    )
    assert set(kinds(folder).values()) == {torch.float32, torch.bfloat16}
    model = load_causal_lm(str(folder), trust=OWN)
    policy = LanguagePolicy(model)
    sampler = NativeSampler(policy, [2], 0, SamplingSettings(24))
    batch = sampler.sample(Language([[5, 6], [8]]), [Key(0, number % 2, number) for number in range(8)])
    log_probs = policy.log_probs(batch)
    assert parity_gap(log_probs.detach(), batch.behaviour_log_probs_BT, batch.mask_BT).within(0.0, policy.rounding)
    log_probs[batch.mask_BT].mean().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in model.parameters())
    model.save_pretrained(tmp_path / "again")
    assert kinds(tmp_path / "again") == kinds(folder)
    assert type(model).__name__ == json.loads((tmp_path / "again" / "config.json").read_text())["architectures"][0]


def test_small_updates_are_not_lost_and_a_copy_of_the_state_goes_on(tmp_path):
    """An update of 1e-5 of a weight of 1 is below half a unit of bf16: without a copy in fp32 nothing would move."""

    class Rows:
        weight, lengths_B = 1.0, torch.ones(1, dtype=torch.long)

        def select(self, part):
            return self

    weight = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    learner = LocalLearner({"policy": ([weight], 1e-5)}, max_grad_norm=1e9)
    for _ in range(400):
        learner.update(Rows(), lambda part: {"loss": weight.float().sum()})
    assert weight.dtype == torch.bfloat16 and float(weight.detach()[0]) == pytest.approx(1 - 400e-5, abs=2e-3)
    assert learner.masters["policy"][0].dtype == torch.float32
    other = nn.Parameter(torch.zeros(4, dtype=torch.bfloat16))
    again = LocalLearner({"policy": ([other], 1e-5)}, max_grad_norm=1e9)
    again.restore(learner.state())
    assert torch.equal(other, weight) and torch.equal(again.masters["policy"][0], learner.masters["policy"][0])


def run(place, verb, model, out, *flags):
    data = {"sft": "demos", "reward-model": "pairs"}.get(verb, "prompts")
    small = {
        "sft": ["--epochs", "3", "--batch-size", "4", "--learning-rate", "3e-3"],
        "reward-model": ["--batch-size", "8", "--held-out-fraction", "0.3"],
        "ppo": ["--steps", "2", "--trajectories", "8", "--epochs", "1", "--minibatches", "1", "--max-new-tokens", "8"],
    }.get(verb, ["--max-new-tokens", "8"])
    where = ["--model", str(place / model), "--data", str(place / f"{data}.jsonl"), "--out", str(place / out)]
    return run_command([verb, *where, *small, "--device", "cpu", "--dtype", "checkpoint", *flags])


def losses(folder):
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [each["loss"] for each in events if "loss" in each]


@pytest.mark.slow
def test_every_command_works_in_the_dtype_of_the_checkpoint(place, capsys):
    assert run(place, "sft", "base", "sft") == 0
    assert losses(place / "sft")[-1] < losses(place / "sft")[0] - 0.1
    assert run(place, "reward-model", "sft/model", "reward") == 0
    reward = ["--reward", str(place / "reward" / "model")]
    assert run(place, "ppo", "sft/model", "ppo", *reward) == 0
    assert "fail" not in capsys.readouterr().out.replace("0 failed", "")
    for stage in ("sft", "reward", "ppo"):
        assert set(kinds(place / stage / "model").values()) == {torch.bfloat16}, stage
    before, after = (load_file(place / stage / "model" / "model.safetensors") for stage in ("sft", "ppo"))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert run(place, "ppo", "sft/model", "adapted", *reward, "--lora-rank", "2") == 0
    assert run(place, "best-of-n", "ppo/model", "best", *reward, "--n", "2") == 0
    assert run(place, "evaluate", "adapted/model", "judged", *reward, "--baseline", str(place / "sft" / "model")) == 0
    classifier = load_sequence_classifier(str(place / "reward" / "model"), trust=OWN)
    assert {each.dtype for each in classifier.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("flags", [[], ["--lora-rank", "2"]])
def test_weights_in_fp16_are_sampled_and_not_trained(place, tmp_path, capsys, flags):
    cast(saved("llama", place / "half"), lambda name: torch.float16)
    assert run(place, "best-of-n", "half", f"best-{len(flags)}", "--reward", f"{__name__}:length", "--n", "2") == 0
    capsys.readouterr()
    assert run(place, "sft", "half", f"refused-{len(flags)}", *flags) == 2
    said = capsys.readouterr().err
    assert "weights in fp16 cannot be trained" in said and "--dtype bfloat16" in said and "Traceback" not in said
