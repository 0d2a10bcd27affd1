"""Tiny random models with a byte-level tokenizer, saved as folders, and data in words that they read."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

PIECES = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
TOKENS = {"vocab_size": len(PIECES), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, **TOKENS}
GROUPED = {**SIZES, "num_key_value_heads": 2, "max_position_embeddings": 256}
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**GROUPED),
    "gpt2": lambda: transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=256, **TOKENS),
    "cohere": lambda: transformers.CohereConfig(**GROUPED),
    "granite": lambda: transformers.GraniteConfig(**GROUPED),
    "codegen": lambda: transformers.CodeGenConfig(
        n_embd=32, n_layer=2, n_head=4, rotary_dim=4, n_positions=256, **TOKENS
    ),
    "xglm": lambda: transformers.XGLMConfig(d_model=32, ffn_dim=64, num_layers=2, attention_heads=4, **TOKENS),
    "mamba": lambda: transformers.MambaConfig(hidden_size=32, state_size=8, num_hidden_layers=2, **TOKENS),
    "rwkv": lambda: transformers.RwkvConfig(hidden_size=32, num_hidden_layers=2, **TOKENS),
    "lfm2": lambda: transformers.Lfm2Config(**GROUPED, layer_types=["conv", "full_attention"]),
    "llama4_text": lambda: transformers.Llama4TextConfig(
        **GROUPED, intermediate_size_mlp=64, head_dim=8, num_local_experts=2, interleave_moe_layer_step=2
    ),
    "bert": lambda: transformers.BertConfig(**SIZES),
    "t5": lambda: transformers.T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, **TOKENS),
    "bart": lambda: transformers.BartConfig(
        d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=64, decoder_ffn_dim=64, **TOKENS
    ),
}


def byte_tokenizer(**special):
    """One token a byte, after three special tokens."""
    built = Tokenizer(models.BPE(vocab={piece: index for index, piece in enumerate(PIECES)}, merges=[]))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    named = special or {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=built, **named)


def saved(family: str, folder: Path, kind=transformers.AutoModelForCausalLM, tokenizer=None, **settings) -> Path:
    """A model of this family in this folder, with weights at which attention matters."""
    torch.manual_seed(0)
    config = CONFIGS[family]()
    for name, value in settings.items():
        setattr(config, name, value)
    model = kind.from_config(config)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
                module.weight.normal_(0.0, 0.2)
    model.save_pretrained(folder)
    (tokenizer or byte_tokenizer()).save_pretrained(folder)
    return folder


WORDS = ["kettle", "lamp", "chair", "cup", "radio", "clock", "table", "shelf"]


def write_data(folder: Path) -> None:
    """demos.jsonl, prompts.jsonl and pairs.jsonl."""
    demos = [{"prompt": f"my {word} ", "completion": f"a new {word}"} for word in WORDS]
    pairs = [{"prompt": f"{a} {b} ", "chosen": "yes", "rejected": f"no {a}"} for a in WORDS[:4] for b in WORDS[:4]]
    files = {"demos": demos, "prompts": [{"prompt": each["prompt"]} for each in demos[:4]], "pairs": pairs}
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
