"""Tiny models and batches that many tests share."""

from __future__ import annotations

import importlib.util
import json

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from tutelage.policies.language import LanguagePolicy

torch.set_num_threads(1)  # tiny tensors gain nothing from more, and a busy machine loses much


LONGEST = ("test_faults.py", "stories", "browser")  # files or folders; alone in the end, one would keep all waiting


def pytest_collection_modifyitems(items):
    """The longest first. vLLM pins its own torch and transformers, so it is not in the suite's environment."""
    items.sort(key=lambda item: next((i for i, name in enumerate(LONGEST) if name in item.path.parts), len(LONGEST)))
    if importlib.util.find_spec("vllm") is None:
        for item in items:
            if item.get_closest_marker("vllm"):
                item.add_marker(pytest.mark.skip(reason="needs vLLM: run by `make prove-vllm`"))


SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
TOKENS = {"vocab_size": 23, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}  # pad is EOS, on purpose


def llama_config(**changes):
    return LlamaConfig(**{**SIZES, **TOKENS, "max_position_embeddings": 64, "initializer_range": 0.2, **changes})


FAMILIES = {
    "llama": llama_config(),
    "llama-tied": llama_config(tie_word_embeddings=True),
    "gpt2": GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.2, **TOKENS),
    "qwen2": Qwen2Config(**SIZES, **TOKENS, max_position_embeddings=64, initializer_range=0.2),
    "mistral": MistralConfig(**SIZES, **TOKENS, max_position_embeddings=64, sliding_window=None, initializer_range=0.2),
    "gpt-neox": GPTNeoXConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.2,
        **TOKENS,
    ),
}


@pytest.fixture
def tiny_llama():
    torch.manual_seed(0)
    return LlamaForCausalLM(llama_config()).eval()


@pytest.fixture
def tiny_policy(tiny_llama):
    return LanguagePolicy(tiny_llama, temperature=0.7)


@pytest.fixture
def tiny_classifier():
    torch.manual_seed(1)
    return LlamaForSequenceClassification(llama_config(num_labels=1)).eval()


def letters_tokenizer(**special):
    """One token a letter; text comes back as it was."""
    vocabulary = {piece: index for index, piece in enumerate(["<bos>", "<eos>", *"abcdefghijklmnopqr !?"])}
    built = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    built.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    built.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=built, unk_token="?", **{"eos_token": "<eos>", **special})


@pytest.fixture
def model_folder(tiny_llama, tmp_path):
    """A tiny random causal LM whose tokens are letters, and whose tokenizer has no pad token."""
    folder = tmp_path / "tiny-model"
    tiny_llama.save_pretrained(folder)
    letters_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def files(tmp_path):
    """Small data of every kind."""
    rows = {
        "demonstrations.jsonl": [{"prompt": f"ab{c} ", "completion": "abc !"} for c in "abcdefgh"],
        "prompts.jsonl": [{"prompt": f"ab{c} "} for c in "abcdefgh"],
        "comparisons.jsonl": [
            {"prompt": f"a{c}{d} ", "chosen": "a !", "rejected": f"b{c}"} for c in "abcdef" for d in "abcdef"
        ],
    }
    for name, content in rows.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in content))
    return tmp_path


@pytest.fixture
def words_folder(tmp_path):
    """A tiny random causal LM whose tokens are bytes, so that it reads any text."""
    torch.manual_seed(0)
    folder = tmp_path / "words-model"
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: index for index, piece in enumerate(["<eos>", *pieces])}
    built = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    config = llama_config(vocab_size=len(vocabulary), bos_token_id=None, eos_token_id=0, max_position_embeddings=256)
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=built, eos_token="<eos>").save_pretrained(folder)
    return folder
