"""Models of others: no pickle is opened, no code of a repository runs, no weight is drawn at random, unless told."""

from __future__ import annotations

import json
import os
import pickle
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tutelage.cli import run_command
from tutelage.commands.verbs import VERBS
from tutelage.data.errors import InputError
from tutelage.models.pretrained import (
    Trust,
    load_causal_lm,
    load_sequence_classifier,
    load_tokenizer,
    reward_model_config,
)

CODE = """
from pathlib import Path
Path({flag!r}).write_text("ran")
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast
class OwnConfig(LlamaConfig):
    model_type = "own"
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
class OwnClassifier(LlamaForSequenceClassification):
    config_class = OwnConfig
class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""
REMOTE = {
    "AutoConfig": "own.OwnConfig",
    "AutoModelForCausalLM": "own.OwnModel",
    "AutoModelForSequenceClassification": "own.OwnClassifier",
}


class Bomb:
    """Opening it leaves a file behind."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self):
        return os.mkdir, (str(self.flag),)


def pickled(folder: Path, weights: object) -> Path:
    """The folder with its weights in a pickle."""
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    return folder


def test_pickled_weights_are_refused_and_never_opened(model_folder, tmp_path):
    flag = tmp_path / "ran"
    pickled(model_folder, {})
    (model_folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(flag)))
    for load in (load_causal_lm, load_sequence_classifier):
        with pytest.raises(InputError, match=r"pickled \(pytorch_model\.bin\).*--trust-pickles"):
            load(str(model_folder))
    assert not flag.exists()


def test_they_are_read_when_told(model_folder):
    before = load_causal_lm(str(model_folder)).state_dict()
    pickled(model_folder, load_file(model_folder / "model.safetensors"))
    after = load_causal_lm(str(model_folder), trust=Trust(trust_pickles=True)).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_pickle_beside_safetensors_is_not_touched(model_folder, tmp_path):
    (model_folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    load_causal_lm(str(model_folder))
    assert not (tmp_path / "ran").exists()


def test_a_pickled_adapter_is_refused(model_folder, tmp_path):
    """Beside the weights of its base, too."""
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(model_folder)}))
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(InputError, match="adapter_model"):
        load_causal_lm(str(adapter))
    save_file(load_file(model_folder / "model.safetensors"), adapter / "model.safetensors")
    with pytest.raises(InputError, match="adapter_model"):
        load_causal_lm(str(adapter))
    assert not (tmp_path / "ran").exists()


def own(folder: Path, flag: Path) -> Path:
    """The model as a repository that brings its own code along."""
    (folder / "own.py").write_text(CODE.format(flag=str(flag)))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": REMOTE, "architectures": ["OwnModel"]}
    (folder / "config.json").write_text(json.dumps(config))
    about = json.loads((folder / "tokenizer_config.json").read_text())
    about |= {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": [None, "own.OwnTokenizer"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return folder


LOADERS = {
    "model": load_causal_lm,
    "classifier": load_sequence_classifier,
    "config": reward_model_config,
    "tokenizer": load_tokenizer,
}


@pytest.mark.parametrize("name", LOADERS)
def test_code_of_a_repository_does_not_run_unasked(name, model_folder, tmp_path, monkeypatch):
    """Neither is anybody asked: an answer may be waiting on standard input."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody was asked"))
    folder, flag = own(model_folder, tmp_path / "ran"), tmp_path / "ran"
    with pytest.raises(InputError, match="--trust-remote-code"):
        LOADERS[name](str(folder))
    assert not flag.exists()


def test_it_runs_when_told(model_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = own(model_folder, tmp_path / "ran")
    model = load_causal_lm(str(folder), trust=Trust(trust_remote_code=True))
    assert type(model).__name__ == "OwnModel" and (tmp_path / "ran").read_text() == "ran"


@pytest.mark.parametrize("verb", ["sft", "ppo", "best-of-n", "reward-model"])
def test_every_verb_asks_for_trust(verb, model_folder, files, tmp_path, capsys):
    data = {"sft": "demonstrations", "reward-model": "comparisons"}.get(verb, "prompts")
    command = [verb, "--model", str(own(model_folder, tmp_path / "ran")), "--data", str(files / f"{data}.jsonl")]
    command += ["--reward", f"{__name__}:ones"] if verb in ("ppo", "best-of-n") else []
    assert run_command([*command, "--out", str(files / "out")]) == 2
    assert "--trust-remote-code" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def ones(prompts, responses):
    return [1.0] * len(responses)


def test_every_verb_that_takes_a_model_has_the_flags(capsys):
    """And by default each of them trusts nothing."""
    for name in VERBS:
        settings, _ = VERBS[name].load()
        fields = {key for key, each in settings.__dataclass_fields__.items() if not isinstance(each.default, bool)}
        takes_models = bool(fields & {"model", "policies", "baseline", "subject"})
        assert ("trust" in fields) == takes_models, name
    assert Trust() == Trust(trust_remote_code=False, trust_pickles=False)


def test_weights_that_are_missing_are_not_drawn_at_random(model_folder):
    path = model_folder / "model.safetensors"
    weights = load_file(path)
    lost = next(name for name in weights if "q_proj" in name)
    save_file({name: each for name, each in weights.items() if name != lost}, path, metadata={"format": "pt"})
    for load in (load_causal_lm, load_sequence_classifier):
        with pytest.raises(InputError, match=r"lack 1 tensors.*q_proj"):
            load(str(model_folder))


@pytest.mark.parametrize("damage", ["cut", "header", "empty", "text", "shape"])
def test_damaged_weights_are_one_clear_message(damage, model_folder):
    path = model_folder / "model.safetensors"
    data = path.read_bytes()
    if damage == "shape":
        weights = load_file(path)
        save_file({n: each[..., :-1].clone() for n, each in weights.items()}, path, metadata={"format": "pt"})
    else:
        cases = {"cut": data[:-100], "header": b"\xff" * 8 + data[8:], "empty": b"", "text": b"hello"}
        path.write_bytes(cases[damage])
    with pytest.raises(InputError, match=r"tiny-model: no causal language model could be loaded"):
        load_causal_lm(str(model_folder))


@pytest.mark.parametrize(
    "change", [{"hidden_size": "a"}, {"model_type": 3}, {"num_hidden_layers": -1}, {"vocab_size": None}, {"x": {}}]
)
def test_a_damaged_config_is_one_clear_message_or_no_harm(change, model_folder):
    config = json.loads((model_folder / "config.json").read_text())
    (model_folder / "config.json").write_text(json.dumps({**config, **change}))
    with nullcontext() if change == {"x": {}} else pytest.raises(InputError, match="tiny-model"):
        load_causal_lm(str(model_folder))
