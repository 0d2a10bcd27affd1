"""A reward model trained by LoRA: its folder in peft's format, and one trunk for policy, reference and reward."""

from __future__ import annotations

import shutil

import peft
import pytest
import torch
from tests.conftest import letters_tokenizer
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, LlamaForCausalLM

from tutelage.cli import run_command
from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec, written
from tutelage.models.bytes import bytes_by_holder
from tutelage.models.pretrained import load_sequence_classifier, load_tokenizer
from tutelage.models.reward_adapters import is_reward_adapter, is_same_model
from tutelage.policies.language import Frozen, LanguagePolicy, SharedCritic
from tutelage.policies.loading import load_policy
from tutelage.rewards.language import RewardModel
from tutelage.rewards.scoring import scorer
from tutelage.runs.files import read_lines
from tutelage.training.models import critic_of
from tutelage.trajectory import Batch

CPU = torch.device("cpu")
PAD = ("--epochs", "2", "--batch-size", "8", "--learning-rate", "0.01")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """base: a language model; reward/model: an adapter on it, trained by `tutelage reward-model --lora-rank`."""
    from tests.conftest import llama_config

    where = tmp_path_factory.mktemp("shared-trunk")
    torch.manual_seed(0)
    LlamaForCausalLM(llama_config()).save_pretrained(where / "base")
    letters_tokenizer().save_pretrained(where / "base")
    rows = [f'{{"prompt": "a{c}{d} ", "chosen": "a !", "rejected": "b{c}"}}\n' for c in "abcdef" for d in "abcdef"]
    (where / "comparisons.jsonl").write_text("".join(rows))
    (where / "prompts.jsonl").write_text("".join(f'{{"prompt": "ab{c} "}}\n' for c in "abcdefgh"))
    assert reward_model(where, "reward", "base") == 0
    return where


def reward_model(where, out, model, *more):
    given = ["--model", str(where / model), "--data", str(where / "comparisons.jsonl"), "--lora-rank", "2"]
    return run_command(["reward-model", *given, *PAD, "--out", str(where / out), *more])


def batch_of(codec: Codec) -> Batch:
    return Batch.of([written(*codec.pair(*each)) for each in (("abc ", "a !"), ("b ", "bbbb"), ("cd ", "a"))])


def test_the_folder_is_an_adapter_that_peft_loads(place):
    folder = place / "reward" / "model"
    assert not list(folder.glob("model*.safetensors")) and not (folder / "config.json").exists()
    base = AutoModelForSequenceClassification.from_pretrained(place / "base", num_labels=1)
    base.config.pad_token_id = load_tokenizer(str(folder)).pad_token_id  # never the token that ends replies
    theirs = peft.PeftModel.from_pretrained(base, folder).eval()
    model = RewardModel(load_sequence_classifier(str(folder)))
    codec = Codec(letters_tokenizer())
    batch = batch_of(codec)
    assert float(model.bias_H) != 0  # normalised on held-out pairs; peft's scores lack it
    with torch.no_grad():
        ours = model(batch) - model.bias_H
        rows = zip(batch.observations, batch.lengths_B, strict=True)
        found = torch.cat([theirs(input_ids=row[None, : last + 1]).logits[:, 0] for row, last in rows])
    assert torch.allclose(ours, found, atol=1e-5) and float(found.std()) > 1e-3


def test_policy_reference_value_head_and_reward_share_one_trunk(place):
    folder = str(place / "reward" / "model")
    model, codec = load_policy(str(place / "base"), CPU, 2)
    policy, batch = LanguagePolicy(model), batch_of(codec)
    names, before = [name for name, _ in policy.named_parameters()], policy.log_probs(batch).detach()
    score, classifier = scorer(folder, codec, CPU, policy=model)
    alone, _ = scorer(folder, codec, CPU)
    found = bytes_by_holder(
        policy=policy, reference=Frozen(policy), critic=SharedCritic(policy), reward=score, alone=alone
    )
    adapter = sum(each.numel() * 4 for name, each in classifier.named_parameters() if ".lora_" in name)
    width = model.config.hidden_size
    assert found["reference"] == 0 and found["critic"] == 4 * (width + 1)
    assert found["reward"] <= adapter + 4 * width + 512 < found["alone"] / 2  # buffers and the bias: below 512 bytes
    together, apart = score(batch), alone(batch)
    assert torch.allclose(together, apart, atol=1e-5)  # the adapter beside the weights, and merged into them
    assert torch.equal(policy.log_probs(batch), before)
    assert [name for name, _ in policy.named_parameters()] == names
    optimizer = torch.optim.SGD([each for each in policy.parameters() if each.requires_grad], 0.5)
    policy.log_probs(batch).sum().backward()
    optimizer.step()
    assert not torch.equal(policy.log_probs(batch), before) and torch.equal(score(batch), together)
    assert not any(each.requires_grad for each in classifier.parameters())


def test_a_value_model_of_its_own_is_a_whole_copy(place):
    model, codec = load_policy(str(place / "base"), CPU, 2)
    score, classifier = scorer(str(place / "reward" / "model"), codec, CPU, policy=model)
    critic, batch = critic_of(LanguagePolicy(model), classifier), batch_of(codec)
    whole = critic.value.model
    assert is_reward_adapter(classifier) and not is_reward_adapter(whole)
    own = {each.data_ptr() for each in whole.parameters()}
    assert not own & {each.data_ptr() for each in model.parameters()}
    assert all(each.requires_grad for each in whole.parameters())
    with torch.no_grad():
        assert torch.allclose(RewardModel(whole)(batch), score(batch).sum(dim=1), atol=1e-5)


def test_an_adapter_on_other_weights_is_loaded_by_itself(place, tmp_path):
    folder = str(place / "reward" / "model")
    shutil.copytree(place / "base", tmp_path / "copy")
    assert is_same_model(str(place / "base"), str(tmp_path / "copy"))
    model, codec = load_policy(str(tmp_path / "copy"), CPU, 2)
    assert is_reward_adapter(scorer(folder, codec, CPU, policy=model)[1])
    other = AutoModelForCausalLM.from_pretrained(place / "base")
    with torch.no_grad():
        other.lm_head.weight.mul_(1.5)
    other.save_pretrained(tmp_path / "copy")
    model, codec = load_policy(str(tmp_path / "copy"), CPU, 2)
    assert not is_reward_adapter(scorer(folder, codec, CPU, policy=model)[1])
    whole, codec = load_policy(str(place / "base"), CPU)  # its weights learn: they cannot be the reward model's
    assert not is_reward_adapter(scorer(folder, codec, CPU, policy=whole)[1])


@pytest.mark.parametrize("critic", [["--value-head"], []], ids=["value-head", "value-model"])
def test_ppo_learns_on_the_shared_trunk(place, tmp_path, critic):
    given = ["--model", str(place / "base"), "--lora-rank", "2", "--data", str(place / "prompts.jsonl")]
    more = ["--reward", str(place / "reward" / "model"), "--max-new-tokens", "4", "--steps", "2", "--trajectories", "4"]
    assert run_command(["ppo", *given, *more, *critic, "--out", str(tmp_path / "ppo")]) == 0
    assert len(list(read_lines(tmp_path / "ppo" / "events.jsonl"))) >= 2
    assert (tmp_path / "ppo" / "model" / "adapter_config.json").exists()


def test_what_cannot_be_an_adapter_is_refused(place, capsys):
    for more, told in (
        (("--members", "2"), "give --shared-trunk"),
        (("--lora-rank", "-1"), "--lora-rank is -1"),
        (("--model", str(place / "reward" / "model")), "holds an adapter itself"),
    ):
        assert reward_model(place, "refused", "base", *more) == 2
        assert told in capsys.readouterr().err and not (place / "refused").exists()


def test_damaged_settings_of_an_adapter_are_refused(place, tmp_path):
    folder = tmp_path / "reward"
    shutil.copytree(place / "reward" / "model", folder)
    for damaged in ("[1]", '{"score_bias": "much"}', '{"score_bias'):
        (folder / "reward_model.json").write_text(damaged)
        with pytest.raises(InputError, match=r"reward_model\.json cannot be read"):
            load_sequence_classifier(str(folder))
    (folder / "reward_model.json").unlink()  # as peft or TRL saves one
    assert float(RewardModel(load_sequence_classifier(str(folder))).bias_H) == 0
