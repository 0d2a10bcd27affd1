"""What the tests of resuming share: commands in small, and how two run folders differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

from tests.conftest import letters_tokenizer, llama_config
from tutelage.runs.files import read_lines

COMMANDS = ("sft", "reward-model", "ppo", "demo", "recipe sentiment", "recipe christiano", "dpo", "kto")
COMMANDS += ("online-dpo", "expert-iteration")
BUTTONS = "recipe christiano --env CartPole-v1"  # a categorical policy, and another body
DEMO = ["--demonstrations", "120", "--labels", "40", "--ppo-prompts", "40", "--evaluation-prompts", "16"]
DEMO += ["--best-quarter-steps", "3", "--sft.steps", "10", "--ppo.steps", "4", "--ppo.trajectories", "8"]
DEMO += ["--max-new-tokens", "12", "--width", "32", "--layers", "1", "--reward-model.epochs", "1", "--best-of", "16"]
CLIPS = ["--steps", "9600", "--labels", "40", "--evaluation-episodes", "4", "--reward.first-updates", "10"]
CLIPS += ["--reward.updates", "3"]
STORY_WORDS = ("once a dog ran home and hid", "a kind girl had fine bread", "bad rain fell on a mill")


def kind_of_run(name: str, root: Path) -> list[str]:
    """A command of this kind without --out, checkpointed at every step; its data lies in `root`."""
    every = ["--checkpoint-seconds", "0"]
    if name == "demo":
        return ["demo", *DEMO, *every]
    if name.startswith("recipe christiano"):
        return [*name.split(), *CLIPS, *every]
    model, files = small_model(root), small_data(root)
    if name == "sft":
        return ["sft", "--model", model, "--data", files["demonstrations"], "--steps", "20", *every]
    if name in ("dpo", "kto"):
        quick = ["--epochs", "4", "--batch-size", "8", "--learning-rate", "1e-3"]
        return [name, "--model", model, "--data", files["comparisons"], *quick, *every]
    if name == "reward-model":
        return ["reward-model", "--model", model, "--data", files["comparisons"], "--epochs", "8", *every]
    if name in ("online-dpo", "expert-iteration"):
        command = [name, "--model", model, "--data", files["prompts"], "--reward", "tests.resuming:count_of_a"]
        command += ["--steps", "5", "--trajectories", "8", "--samples", "4", "--epochs", "2", "--max-new-tokens", "5"]
        return [*command, "--learning-rate", "1e-3", *every]
    if name == "ppo":
        command = ["ppo", "--model", model, "--data", files["prompts"], "--reward", "tests.resuming:count_of_a"]
        command += [
            "--steps",
            "5",
            "--trajectories",
            "8",
            "--epochs",
            "2",
            "--minibatches",
            "2",
            "--max-new-tokens",
            "5",
        ]
        command += ["--held-out-reward", "tests.resuming:count_of_b", "--stop-at-peak", "500"]
        return [*command, "--learning-rate", "1e-3", "--kl-target-nats", "1", "--kl-horizon", "50", *every]
    command = ["recipe", "sentiment", "--model", model, "--prompts", files["stories"], "--sentiment-data", str(root)]
    command += ["--labels", "40", "--opening-tokens", "8", "--new-tokens", "6", "--evaluation-prompts", "12"]
    command += ["--frontier-prompts", "2", "--frontier-samples", "200", "--ppo.steps", "4", "--ppo.trajectories", "8"]
    return [*command, "--reward-model.epochs", "1", "--reward-model.batch-size", "8", *every]


def count_of_a(prompts: list[str], responses: list[str]) -> list[float]:
    return [float(response.count("a")) for response in responses]


def count_of_b(prompts: list[str], responses: list[str]) -> list[float]:
    return [float(response.count("b")) for response in responses]


def small_model(root: Path) -> str:
    folder = root / "model"
    if not folder.exists():
        torch.manual_seed(0)
        LlamaForCausalLM(llama_config()).save_pretrained(folder)
        letters_tokenizer().save_pretrained(folder)
    return str(folder)


def small_data(root: Path) -> dict[str, str]:
    letters = "abcdefgh"
    rows = {
        "demonstrations": [{"prompt": f"ab{c} ", "completion": "abc !"} for c in letters],
        "prompts": [{"prompt": f"ab{c} "} for c in letters],
        "comparisons": [
            {"prompt": f"a{c}{d} ", "chosen": "a !", "rejected": f"b{c}"} for c in letters for d in letters
        ],
    }
    for name, content in rows.items():
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    stories = [f"{a}{b} {line}" for a in letters for b in letters for line in STORY_WORDS]
    (root / "stories.txt").write_text("\n".join(stories))
    good, bad = ("a kind dog", "fine bread", "an honest girl"), ("a bad fall", "cold rain", "a mean mob")
    judged = [f"{line} {a}\t{label}" for label, lines in ((1, good), (0, bad)) for line in lines for a in letters]
    for name in ("sst2-train.tsv", "sst2-test.tsv"):
        (root / name).write_text("\n".join(judged))
    return {**{name: str(root / f"{name}.jsonl") for name in rows}, "stories": str(root / "stories.txt")}


def differences(first: Path, second: Path) -> list[str]:
    """What differs between two run folders, apart from times: weights to the bit, summaries, events, samples."""
    found = []
    names = {path.relative_to(first) for path in first.rglob("*") if path.suffix in (".safetensors", ".jsonl")}
    names |= {path.relative_to(first) for path in first.rglob("summary.json")}
    for name in sorted(names):
        if "checkpoints" in name.parts or "pieces" in name.parts:
            continue
        if not (second / name).exists():
            found.append(f"{name} is missing")
        elif content(first / name) != content(second / name):
            found.append(f"{name} differs")
    return found


def content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return {name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()}
    if path.name == "summary.json":
        return without_times(json.loads(path.read_text()))
    return [without_times(row) for row in read_lines(path)]


def without_times(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("seconds")}
