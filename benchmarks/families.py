"""Eight commands on a tiny random model of every causal family of transformers; the table of docs/models.md.

    python benchmarks/families.py --rows=families.jsonl                   # every family: 15 CPU minutes and more
    python benchmarks/families.py --rows=families.jsonl llama mamba bert  # these
    python benchmarks/families.py --rows=families.jsonl --write           # also writes the table into docs/models.md

Each family gets two layers of width 32, random weights and a byte-level tokenizer, in a process of its own; families
that the rows hold already are not measured again. A command *works* where it exits with 0 (PPO passes its preflight);
a family is *refused* where sft, reward-model, ppo and best-of-n exit with 2 because of the model. Gap: the largest
|log π_sampler(a) − log π(a)| over four replies of up to 40 tokens, the second from transformers' own forward pass over
each whole reply alone, for the model itself and for its PPO adapter. Path: whether replies are drawn with a cache.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import math
import multiprocessing
import os
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY = 384
MOST_PARAMETERS = 1_000_000
SECONDS = 300  # of one family
LARGEST_GAP = 1e-4
BEGINS, ENDS = "<!-- families: begin -->", "<!-- families: end -->"
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), 512),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "word_embed_proj_dim", "embedding_size"), 32),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim", "n_inner", "dff"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    "num_key_value_heads": 2,
    "head_dim": 8,
    "ffn_hidden_size": 64,
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k", "moe_topk", "num_experts_per_token"), 2),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 32),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace", "n_shared_experts"), 1),
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "index_head_dim": 8,
    "index_n_heads": 2,
    "index_topk": 64,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "mamba_d_state": 8,
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_ssm": 64,
    "state_size": 8,
}
SMALL |= {"chunk_size": 16, "mamba_chunk_size": 16}  # of scans: a short text is padded to it
LATENT: dict[str, Any] = {"num_key_value_heads": 4}  # multi-head latent attention
LONGER: dict[str, Any] = {"num_hidden_layers": 4}  # a hybrid whose first attention layer is the third or fourth
ROTARY: dict[str, Any] = {"rotary_dim": 4}
SHARED: dict[str, Any] = {  # a transformer layer that several state-space layers share
    "num_hidden_layers": 4,
    "layer_types": ["mamba", "hybrid"] * 2,
    "num_key_value_heads": 4,
    "attention_hidden_size": 64,
    "attention_head_dim": 16,
}
DELTA: dict[str, Any] = {  # Kimi's delta attention
    "num_hidden_layers": 4,
    "num_key_value_heads": 4,
    "linear_head_dim": 8,
    "linear_num_heads": 4,
    "num_experts_per_token": 2,
    "qk_head_dim": 16,
    "head_dim": 8,
}
INKLING: dict[str, Any] = {
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 2,
    "swa_head_dim": 8,
    "d_rel": 8,
    "rel_extent": 64,
    "logits_mup_width_multiplier": 1.0,
}
OWN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite"), LATENT),
    **dict.fromkeys(("glm_moe_dsa", "minicpm3", "youtu", "longcat_flash"), LATENT),
    **dict.fromkeys(("qwen3_5_moe_text", "qwen3_5_text", "qwen3_next", "lfm3", "recurrent_gemma"), LONGER),
    **dict.fromkeys(("codegen", "gptj"), ROTARY),
    "bailing_hybrid": {**DELTA, "layer_group_size": 2, "num_expert_group": 1, "topk_group": 1},
    "bamba": {"attn_layer_indices": [1]},
    "cpmant": {"dim_ff": 64, "prompt_length": 4, "dim_head": 8, "position_bias_num_buckets": 32},
    "gemma3n_text": {
        "num_kv_shared_layers": 0,
        "vocab_size_per_layer_input": VOCABULARY,
        "hidden_size_per_layer_input": 8,
        "layer_types": ["sliding_attention", "full_attention"],
        "laurel_rank": 8,
        "intermediate_size": [64, 64],
        "activation_sparsity_pattern": [0.0, 0.0],
    },
    "gemma4_text": {"vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "dots3_note_text": LATENT,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 16},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    **dict.fromkeys(("inkling_text", "inkling2_text"), INKLING),
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": {**DELTA, "layer_types": ["linear_attention", "full_attention"] * 2},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "longcat_flash": {**LATENT, "zero_expert_num": 2},
    "minicpm3": {**LATENT, "dim_model_base": 32, "scale_emb": 1},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "nemotron_h": {
        "mamba_num_heads": 8,
        "mamba_head_dim": 8,
        "ssm_state_size": 8,
        "n_groups": 1,
        "moe_shared_expert_intermediate_size": 32,
    },
    "reformer": {"is_decoder": True, "axial_pos_embds_dim": [16, 16], "axial_pos_shape": [16, 32]},
    "xmod": {"default_language": "en_XX"},
    "zamba": {**SHARED, "mamba_dt_rank": 4, "n_mamba_heads": 2},
    "zamba2": {
        **SHARED,
        "hybrid_layer_ids": [1, 3],
        "mamba_headdim": 8,
        "n_mamba_heads": 8,
        "num_mem_blocks": 1,
        "kv_channels": 8,
        "num_query_groups": 4,
        "adapter_rank": 4,
    },
    "zaya": {"num_experts_per_tok": 1},
}
DECODING = {f"{family} (is_decoder)": family for family in ("bert", "roberta", "electra")}
"""Encoders that are set to look back only: causal language models like any other."""
TWO_SIDED = {f"{family} (encoder-decoder)": family for family in ("bart", "mbart", "pegasus", "t5")}
NEITHER = ("gemma4_assistant", "gemma4_unified_assistant", "musicgen", "musicgen_melody", "trocr", "whisper", "moshi")
"""Decoders that read another model's states or several codebooks, not text alone."""
BEYOND_TEXT = (
    *("blt", "emu3", "fuyu", "gemma3", "gemma3n", "gemma4", "gemma4_unified", "git", "got_ocr2", "llama4", "mllama"),
    *("dots3_note", "moss_transcribe_diarize", "phi4_multimodal", "qwen3_5", "qwen3_5_moe", "qwen4_exp"),
)
"""Models of pictures or sound whose text part is a family of its own or that need more than a small config."""


def byte_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """At most 384 tokens: every byte, and some words of what the data say."""
    built = Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    built.train_from_iterator(
        ["where is my order the kettle arrived broken please send a refund thank you "] * 5, trainer
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=built, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def config_of(family: str) -> Any:
    kind = transformers.CONFIG_MAPPING[(DECODING | TWO_SIDED).get(family, family)]
    settings = {name: value for name, value in SMALL.items() if _has(kind, name)} | OWN.get(family, {})
    if family in DECODING:
        settings["is_decoder"] = True
    return kind(**settings)


def _has(kind: Any, name: str) -> bool:
    """Whether a config of this kind can be given this setting."""
    try:
        return hasattr(kind(), name) and not isinstance(getattr(kind, name, None), property)
    except Exception:  # some settings differ from layer to layer, and asking for them raises
        return True


def make(family: str, folder: Path) -> int:
    """Writes a tiny model of the family with its tokenizer; returns its number of parameters."""
    config = config_of(family)
    auto = transformers.AutoModelForSeq2SeqLM if family in TWO_SIDED else transformers.AutoModelForCausalLM
    with torch.device("meta"):
        size = sum(each.numel() for each in auto.from_config(config).parameters())
    if size > MOST_PARAMETERS:
        raise ValueError(f"{size:,} parameters at the smallest size that its config allows here")
    torch.manual_seed(0)
    model = auto.from_config(config_of(family))
    with torch.no_grad():  # weights at which attention matters: at the usual 0.02 all logits are nearly flat
        for module in model.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Embedding) and module.weight.dim() == 2:
                module.weight.normal_(0.0, 0.15)
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return size


def write_data(folder: Path) -> None:
    words = ["kettle", "lamp", "chair", "cup", "radio", "clock", "table", "shelf", "spoon", "towel"]
    demos = [{"prompt": f"my {word} arrived broken ", "completion": f"we send a new {word}"} for word in words]
    pairs = [
        {"prompt": f"{a} {b} ", "chosen": "thank you", "rejected": f"no {a}"} for a in words[:5] for b in words[:4]
    ]
    for name, rows in {
        "demos": demos,
        "pairs": pairs,
        "prompts": [{"prompt": each["prompt"]} for each in demos[:4]],
    }.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def commands(here: Path) -> dict[str, list[str]]:
    model, reward = ["--model", f"{here}/model"], ["--reward", f"{here}/reward-model/model"]
    prompts, short = ["--data", f"{here}/prompts.jsonl"], ["--max-new-tokens", "8"]
    once = ["--steps", "1", "--trajectories", "8", "--epochs", "1", "--minibatches", "1"]
    learn = ["--data", f"{here}/demos.jsonl", "--epochs", "1", "--batch-size", "5"]
    judge = ["--data", f"{here}/pairs.jsonl", "--batch-size", "8", "--held-out-fraction", "0.3"]
    compared = ["--model", f"{here}/ppo/model", "--baseline", f"{here}/model"]
    return {
        "sft": ["sft", *model, *learn],
        "sft-lora": ["sft", *model, *learn, "--lora-rank", "2"],
        "reward-model": ["reward-model", *model, *judge],
        "ppo": ["ppo", *model, *prompts, *reward, *short, *once],
        "ppo-lora": ["ppo", *model, *prompts, *reward, *short, *once, "--lora-rank", "2"],
        "best-of-n": ["best-of-n", *model, *prompts, *reward, *short, "--n", "2"],
        "evaluate": ["evaluate", *compared, *prompts, *reward, *short],
        "chat": ["chat", f"{here}/ppo-lora/model", *short],
    }


def attempt(name: str, arguments: list[str], here: Path) -> dict[str, Any]:
    """One command in this process: what it exited with, what it said last, how long it took."""
    from tutelage.cli import run_command

    began, out, error = time.monotonic(), io.StringIO(), io.StringIO()
    where = [] if name == "chat" else ["--out", f"{here}/{name}"]
    with (
        mock.patch("tutelage.cli.write_report", lambda path: path),  # the same for every family
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
        mock.patch("sys.stdin", io.StringIO("hi\n\n")),
    ):
        try:
            code: Any = run_command([*arguments, *where, "--device", "cpu"])
        except SystemExit as leaving:
            code = leaving.code
        except Exception as failure:
            code = f"{type(failure).__name__} {traceback.extract_tb(failure.__traceback__)[-1].filename[-60:]}"
            error.write(f"\n{type(failure).__name__}: {' '.join(str(failure).split())}")
    said = error.getvalue().strip().splitlines()
    return {"code": code, "said": said[-1] if said and code != 0 else "", "seconds": time.monotonic() - began}


@torch.no_grad()
def sampler_gap(folder: Path) -> tuple[float, str]:
    """(largest difference of log-probs between sampler and transformers' forward pass, nats; the decoder)."""
    from tutelage.environments.language import Language
    from tutelage.execution.native import NativeSampler, SamplingSettings
    from tutelage.models.pretrained import load_causal_lm, load_tokenizer
    from tutelage.policies.language import LanguagePolicy
    from tutelage.trajectory import Key

    tokenizer = load_tokenizer(str(folder))
    policy = LanguagePolicy(load_causal_lm(str(folder)))
    prompts = [list(tokenizer(text)["input_ids"]) for text in ("my kettle ", "where is", "thank you for the new", "no")]
    sampler = NativeSampler(policy, [2], 0, SamplingSettings(40))
    batch = sampler.sample(Language(prompts), [Key(0, place) for place in range(len(prompts))])
    model, worst = plain_model(folder), 0.0
    for row in range(len(batch)):
        length = int(batch.lengths_B[row])
        tokens = batch.observations[row, : length + 1]
        log_probs = model(input_ids=tokens[None], use_cache=False).logits[0, :-1].float().log_softmax(-1)
        gap = log_probs.gather(1, tokens[1:, None])[:, 0] - batch.behaviour_log_probs_BT[row, :length]
        worst = max(worst, float(gap[batch.mask_BT[row, :length]].abs().max()))
    return worst, type(sampler.decoder).__name__


def plain_model(folder: Path) -> Any:
    """The model as transformers and peft load it, without tutelage."""
    if not (folder / "adapter_config.json").exists():
        return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    from peft import PeftModel

    base = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    return PeftModel.from_pretrained(plain_model(Path(base)), str(folder)).eval()


def one_family(family: str) -> dict[str, Any]:
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity(50)
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        try:
            size = make(family, here / "model")
        except Exception as failure:
            return {"family": family, "not_made": f"{type(failure).__name__}: {' '.join(str(failure).split())[:160]}"}
        write_data(here)
        found: dict[str, Any] = {"family": family, "parameters": size, "gaps": {}}
        found["classifier"] = classifier_of(here / "model")
        found["commands"] = {name: attempt(name, arguments, here) for name, arguments in commands(here).items()}
        for name, place in {"model": here / "model", "ppo-lora": here / "ppo-lora" / "model"}.items():
            try:
                found["gaps"][name], found["path"] = sampler_gap(place)
            except Exception as failure:
                found["gaps"][name] = f"{type(failure).__name__}: {' '.join(str(failure).split())[:160]}"
        return found


def classifier_of(folder: Path) -> str:
    """The class of the family's reward models."""
    from tutelage.data.errors import InputError
    from tutelage.models.classifiers import score_class

    try:
        return score_class(transformers.AutoConfig.from_pretrained(folder), "").__name__
    except InputError:
        return ""


def _child(family: str, place: str) -> None:
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    Path(place).write_text(json.dumps(one_family(family)))


def measured(families: Sequence[str], kept: Path) -> list[dict[str, Any]]:
    """One row a family, each measured in a process of its own; those that `kept` holds already are read from there."""
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {row["family"] for row in rows}
    for family in families:
        if family not in done:
            rows.append(in_a_process(family))
            with kept.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(line_of(rows[-1]), flush=True)
    return sorted((row for row in rows if row["family"] in families), key=lambda row: row["family"])


def in_a_process(family: str) -> dict[str, Any]:
    """The row of a family; a process that has everything imported already starts at once."""
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "row.json"
        child = context.Process(target=_child, args=(family, str(place)))
        child.start()
        child.join(SECONDS)
        if child.is_alive():
            child.terminate()
            child.join()
        return json.loads(place.read_text()) if place.exists() else {"family": family, "not_made": "no result in time"}


def line_of(row: dict[str, Any]) -> str:
    if "not_made" in row:
        return f"{row['family']:26s} not made: {row['not_made']}"
    codes = " ".join(f"{name}={each['code']}" for name, each in row["commands"].items() if each["code"] != 0)
    first = next((each["said"] for each in row["commands"].values() if each["code"] != 0), "")
    gaps = " ".join(f"{gap:.1e}" if isinstance(gap, float) else gap for gap in row["gaps"].values())
    seconds = sum(each["seconds"] for each in row["commands"].values())
    return f"{row['family']:26s} {seconds:5.1f}s gaps {gaps} {codes or 'all work'} {first[:300]}"


def outcome(row: dict[str, Any]) -> str:
    """works, refused, fails or not made."""
    if "not_made" in row:
        return "not made"
    codes = {name: each["code"] for name, each in row["commands"].items()}
    gaps = [gap if isinstance(gap, float) else math.inf for gap in row["gaps"].values()]
    if all(code == 0 for code in codes.values()) and max(gaps) <= LARGEST_GAP:
        return "works"
    about_the_model = [row["commands"][name]["said"] for name in ("sft", "reward-model", "ppo", "best-of-n")]
    if all(code == 2 for code in codes.values()) and all("/model: " in each for each in about_the_model):
        return "refused"
    return "fails"


def reason(row: dict[str, Any]) -> str:
    if "not_made" in row:
        return row["not_made"]
    said = next((f"{name}: {each['said']}" for name, each in row["commands"].items() if each["code"] != 0), "gap")
    return re.sub(r"/tmp/\S+?/", "", said).replace("tutelage: ", "").removeprefix("sft: model: ")


def table(rows: Sequence[dict[str, Any]]) -> str:
    by_outcome = {
        name: [row for row in rows if outcome(row) == name] for name in ("works", "refused", "fails", "not made")
    }
    causal = [row for row in rows if outcome(row) in ("works", "fails")]
    peft = importlib.metadata.version("peft")
    share = f"{len(by_outcome['works'])} of {len(causal)}"
    lines = [
        f"transformers {transformers.__version__}, peft {peft}, torch {torch.__version__}: "
        f"**{share} causal families that could be made small work for all eight commands**, "
        f"{len(by_outcome['refused'])} are refused at load, {len(by_outcome['not made'])} were not made.",
        "",
        "| family | reward model's class | replies are drawn | gap, model | gap, PPO + LoRA |",
        "|---|---|---|---|---|",
    ]
    for row in by_outcome["works"]:
        how = "with a cache" if row["path"] == "Slots" else "without a cache"
        first, second = (f"{gap:.0e}" for gap in row["gaps"].values())
        lines.append(f"| {row['family']} | {row['classifier']} | {how} | {first} | {second} |")
    for name in ("refused", "fails", "not made"):
        if by_outcome[name]:
            lines += ["", f"| {name} | reason |", "|---|---|"]
            lines += [f"| {row['family']} | {reason(row)} |" for row in by_outcome[name]]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    passed = (*BEYOND_TEXT, *NEITHER)
    every = [*(each for each in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if each not in passed), *DECODING, *TWO_SIDED]
    options = [each for each in arguments if each.startswith("--rows=")]
    kept = Path(options[0].removeprefix("--rows=")) if options else Path(tempfile.mkdtemp()) / "families.jsonl"
    chosen = [each for each in arguments if not each.startswith("--")]
    one_family("llama")  # imports what commands import when they run
    rows = measured(chosen or every, kept)
    print(table(rows))
    if "--write" in arguments:
        page = Path(__file__).parents[1] / "docs" / "models.md"
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGINS)
        page.write_text(f"{before}{BEGINS}\n{table(rows)}\n{ENDS}{rest.partition(ENDS)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
