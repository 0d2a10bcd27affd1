"""An adapter's folder is a model like any other: it goes on learning or is merged, and it is never lost."""

from __future__ import annotations

import json
import shutil

import peft
import pytest
import torch
import transformers
from tests.tiny_families import byte_tokenizer, saved, write_data

from tutelage.cli import run_command
from tutelage.data.errors import InputError
from tutelage.data.tokens import written
from tutelage.environments.language import Language
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.models.pretrained import load_causal_lm, load_sequence_classifier, load_tokenizer
from tutelage.policies.language import Frozen, LanguagePolicy
from tutelage.policies.loading import load_policy
from tutelage.rewards.language import RewardModel
from tutelage.rewards.scoring import scorer
from tutelage.trajectory import Batch, Key

CPU = torch.device("cpu")


def length(prompts, responses):
    return [float(len(response)) for response in responses]


REWARD = f"{__name__}:length"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A base model, an adapter that SFT trained on it, and data."""
    folder = tmp_path_factory.mktemp("adapters")
    saved("llama", folder / "base")
    write_data(folder)
    assert run(folder, "sft", "base", "sft", "--lora-rank", "4", "--learning-rate", "0.05") == 0
    return folder


def run(folder, verb, model, out, *flags):
    data = {"sft": "demos", "reward-model": "pairs"}.get(verb, "prompts")
    small = {
        "sft": ["--epochs", "1", "--batch-size", "4"],
        "reward-model": ["--batch-size", "8", "--held-out-fraction", "0.3"],
        "ppo": ["--steps", "1", "--trajectories", "8", "--epochs", "1", "--minibatches", "1", "--max-new-tokens", "8"],
    }.get(verb, ["--max-new-tokens", "8"])
    where = ["--model", str(folder / model), "--data", str(folder / f"{data}.jsonl"), "--out", str(folder / out)]
    return run_command([verb, *where, *small, "--device", "cpu", *flags])


def rows():
    tokenizer = byte_tokenizer()
    encode = [(tokenizer("my lamp ")["input_ids"], tokenizer(text)["input_ids"]) for text in ("a new lamp", "no")]
    return Batch.of([written(prompt, [*reply, 2]) for prompt, reply in encode])


@torch.no_grad()
def log_probs(model):
    return LanguagePolicy(model).log_probs(rows())


@torch.no_grad()
def as_peft_loads(folder):
    """log-probs of the folder, loaded by transformers and peft alone."""
    config = peft.PeftConfig.from_pretrained(str(folder))
    base = transformers.AutoModelForCausalLM.from_pretrained(config.base_model_name_or_path)
    return log_probs(peft.PeftModel.from_pretrained(base, str(folder)).eval())


def test_ppo_on_an_adapter_starts_and_stays_near_the_fine_tuned_policy(place, capsys):
    """Case 01: it began at the base model, with the base model as its reference."""
    tuned, base = as_peft_loads(place / "sft" / "model"), log_probs(load_causal_lm(str(place / "base")))
    assert (tuned - base).abs().max() > 0.1
    model, _ = load_policy(str(place / "sft" / "model"), CPU, 4)
    policy = LanguagePolicy(model)
    reference = Frozen(policy)
    assert torch.allclose(policy.log_probs(rows()), tuned, atol=1e-5)
    assert torch.allclose(reference(rows()), tuned, atol=1e-5)
    with torch.no_grad():  # what learns is not the reference's
        for name, each in model.named_parameters():
            if "lora_B" in name:
                each.add_(0.1)
    assert torch.allclose(reference(rows()), tuned, atol=1e-5)
    weights = {id(each) for each in model.parameters() if not each.requires_grad}
    assert weights & {id(each) for each in reference.policy.parameters()}  # a large model is not held twice
    assert run(place, "ppo", "sft/model", "ppo", "--lora-rank", "4", "--reward", REWARD, "--learning-rate", "1e-9") == 0
    assert "pass  policy is the loaded model" in capsys.readouterr().out
    config = json.loads((place / "ppo" / "model" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["r"]) == (str(place / "base"), 4)
    assert sorted(each.name for each in (place / "ppo" / "model").iterdir() if each.is_dir()) == []
    assert torch.allclose(as_peft_loads(place / "ppo" / "model"), tuned, atol=1e-3)


@pytest.mark.slow
def test_sft_goes_on_with_the_adapter_or_merges_it(place):
    tuned = as_peft_loads(place / "sft" / "model")
    assert run(place, "sft", "sft/model", "again", "--lora-rank", "4", "--learning-rate", "1e-9") == 0
    assert torch.allclose(as_peft_loads(place / "again" / "model"), tuned, atol=1e-3)
    assert run(place, "sft", "sft/model", "whole", "--learning-rate", "1e-9") == 0
    whole = transformers.AutoModelForCausalLM.from_pretrained(place / "whole" / "model")
    assert torch.allclose(log_probs(whole), tuned, atol=1e-3)
    model, _ = load_policy(str(place / "sft" / "model"), CPU)
    assert all(each.requires_grad for each in model.parameters())


def test_a_reward_model_starts_from_the_merged_trunk(place):
    assert run(place, "reward-model", "sft/model", "reward", "--learning-rate", "1e-9") == 0
    classifier = transformers.AutoModelForSequenceClassification.from_pretrained(place / "reward" / "model")
    merged = load_causal_lm(str(place / "sft" / "model"))
    base = load_causal_lm(str(place / "base"))
    for name, weight in merged.model.state_dict().items():
        assert torch.allclose(weight, classifier.model.state_dict()[name], atol=1e-5)
    assert not torch.allclose(merged.model.layers[0].mlp.up_proj.weight, base.model.layers[0].mlp.up_proj.weight)


@pytest.mark.slow
def test_an_adapter_is_sampled(place):
    tuned = log_probs(load_causal_lm(str(place / "sft" / "model")))
    assert torch.allclose(tuned, as_peft_loads(place / "sft" / "model"), atol=1e-5)
    assert run(place, "best-of-n", "sft/model", "best", "--reward", REWARD, "--n", "2") == 0
    flags = ["--baseline", str(place / "base"), "--reward", REWARD]
    assert run(place, "evaluate", "sft/model", "evaluated", *flags) == 0


@pytest.mark.parametrize("verb", ["sft", "ppo"])
def test_another_rank_is_refused(place, verb, capsys):
    flags = ["--reward", REWARD] if verb == "ppo" else []
    assert run(place, verb, "sft/model", f"refused-{verb}", "--lora-rank", "8", *flags) == 2
    said = capsys.readouterr().err
    assert "adapter of rank 4" in said and "--lora-rank 4" in said and "Traceback" not in said


def test_an_adapter_whose_base_is_elsewhere(place, tmp_path, monkeypatch):
    """A relative base is read from the current folder or the adapter's; one that is gone is named."""
    shutil.copytree(place / "base", tmp_path / "base")
    shutil.copytree(place / "sft" / "model", tmp_path / "tuned")
    tuned = as_peft_loads(place / "sft" / "model")
    path = tmp_path / "tuned" / "adapter_config.json"
    config = json.loads(path.read_text())
    for relative, current in {"base": tmp_path, "../base": tmp_path / "base"}.items():
        path.write_text(json.dumps({**config, "base_model_name_or_path": relative}))
        monkeypatch.chdir(current)
        assert torch.allclose(log_probs(load_causal_lm(str(tmp_path / "tuned"))), tuned, atol=1e-5)
    path.write_text(json.dumps({**config, "base_model_name_or_path": str(tmp_path / "gone")}))
    with pytest.raises(InputError, match=r"adapter on .*gone, and there is no such folder.*base_model_name_or_path"):
        load_causal_lm(str(tmp_path / "tuned"))
    path.write_text(json.dumps({**config, "base_model_name_or_path": None}))
    with pytest.raises(InputError, match="does not name the model below it"):
        load_causal_lm(str(tmp_path / "tuned"))


def test_an_adapter_of_another_model_is_refused(place, tmp_path):
    saved("gpt2", tmp_path / "other")
    shutil.copytree(place / "sft" / "model", tmp_path / "tuned")
    path = tmp_path / "tuned" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": str(tmp_path / "other")}))
    with pytest.raises(InputError, match="adapter"):
        load_causal_lm(str(tmp_path / "tuned"))


def test_an_adapter_whose_config_has_another_rank_than_its_weights_is_refused(place, tmp_path):
    shutil.copytree(place / "sft" / "model", tmp_path / "tuned")
    path = tmp_path / "tuned" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "r": 2}))
    with pytest.raises(InputError, match=r"tuned: the adapter's weights have other shapes than the layers of .*base"):
        load_causal_lm(str(tmp_path / "tuned"))


def test_an_adapter_on_a_base_of_another_width_is_refused(place, tmp_path):
    """The folder of its base holds another model by now."""
    shutil.copytree(place / "sft" / "model", tmp_path / "tuned")
    config = transformers.AutoConfig.from_pretrained(place / "base")
    config.hidden_size, config.head_dim = 2 * config.hidden_size, 2 * config.head_dim
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "wider")
    path = tmp_path / "tuned" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": str(tmp_path / "wider")}))
    with pytest.raises(InputError, match=r"other shapes than the layers of .*wider\. Is this the model"):
        load_causal_lm(str(tmp_path / "tuned"))


LINEAR = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
SHAPES = {
    "a whole head beside it": {**LINEAR, "modules_to_save": ["lm_head"]},
    "on the head": {**LINEAR, "target_modules": ["q_proj", "lm_head"]},
    "on the embedding": {**LINEAR, "target_modules": ["q_proj", "embed_tokens"]},
    "with magnitudes": {**LINEAR, "use_dora": True},
    "with dropout": {**LINEAR, "use_rslora": True, "lora_dropout": 0.5},
}


@pytest.mark.filterwarnings("ignore:Setting .save_embedding_layers.")
@pytest.mark.parametrize("settings", SHAPES.values(), ids=SHAPES)
def test_adapters_of_other_shapes_are_kept_whole(place, tmp_path, settings):
    """Merged, to train, and as the reference: what peft computes; and the sampler draws from that."""
    model = transformers.AutoModelForCausalLM.from_pretrained(place / "base")
    wrapped = peft.get_peft_model(model, peft.LoraConfig(**settings))
    torch.manual_seed(0)
    with torch.no_grad():
        for each in wrapped.parameters():
            if each.requires_grad:
                each.add_(0.1 * torch.randn_like(each))
    wrapped.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    theirs = as_peft_loads(tmp_path)
    for rank in (0, 4):
        policy = LanguagePolicy(load_policy(str(tmp_path), CPU, rank)[0])
        assert torch.allclose(policy.log_probs(rows()), theirs, atol=1e-5)
        assert torch.allclose(Frozen(policy)(rows()), theirs, atol=1e-5)
        batch = NativeSampler(policy, [2], 0, SamplingSettings(16)).sample(
            Language([[5, 6], [8]]), [Key(0, 0), Key(0, 1)]
        )
        with torch.no_grad():
            gap = policy.log_probs(batch) - batch.behaviour_log_probs_BT
        assert gap[batch.mask_BT].abs().max() <= 1e-4


@pytest.mark.parametrize("method", [peft.PromptTuningConfig, peft.PrefixTuningConfig])
def test_an_adapter_that_has_no_merge_is_refused(place, tmp_path, method):
    model = transformers.AutoModelForCausalLM.from_pretrained(place / "base")
    peft.get_peft_model(model, method(num_virtual_tokens=2, task_type="CAUSAL_LM")).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="cannot be merged into the weights"):
        load_policy(str(tmp_path), CPU)
    with pytest.raises(InputError, match="is not trained further here"):
        load_policy(str(tmp_path), CPU, 4)


def test_an_adapter_without_a_tokenizer_has_that_of_its_base(place, tmp_path):
    shutil.copytree(place / "sft" / "model", tmp_path / "tuned")
    for each in (tmp_path / "tuned").glob("tokenizer*"):
        each.unlink()
    assert load_tokenizer(str(tmp_path / "tuned")).get_vocab() == byte_tokenizer().get_vocab()


def test_a_reward_model_may_be_an_adapter(place, tmp_path):
    """As TRL saves one: a LoRA adapter and the head beside it."""
    base = transformers.AutoModelForSequenceClassification.from_pretrained(place / "base", num_labels=1)
    wrapped = peft.get_peft_model(base, peft.LoraConfig(r=2, task_type="SEQ_CLS", target_modules="all-linear")).eval()
    with torch.no_grad():
        for each in wrapped.parameters():
            if each.requires_grad:
                each.normal_(0.0, 0.3)
        last_B = rows().lengths_B
        theirs = [wrapped(input_ids=rows().observations[row : row + 1, : last_B[row] + 1]).logits for row in (0, 1)]
    wrapped.save_pretrained(tmp_path / "reward")
    byte_tokenizer().save_pretrained(tmp_path / "reward")
    ours = RewardModel(load_sequence_classifier(str(tmp_path / "reward")))(rows())
    assert torch.allclose(ours, torch.cat(theirs)[:, 0], atol=1e-4)
    codec = load_policy(str(place / "base"), CPU)[1]
    score, critic = scorer(str(tmp_path / "reward"), codec, CPU)
    assert torch.allclose(score(rows()).sum(dim=1), ours, atol=1e-4) and critic is not None


def test_an_adapter_of_a_policy_is_no_reward(place, capsys):
    assert run(place, "best-of-n", "base", "refused", "--reward", str(place / "sft" / "model")) == 2
    assert "is a language model (an adapter of one" in capsys.readouterr().err
