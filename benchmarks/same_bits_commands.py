"""The commands of benchmarks/same_bits.py: the models and data that they read, and their arguments, by set and part."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the tiny models are those of the tests; neither module imports tutelage

from tests.tiny_families import saved  # noqa: E402

KILL_AT = "SAME_BITS_KILL_AT"  # the name of a variable: a path; the process ends once it is there
JUDGE = f'''"""Rewards that the commands name; by_fives can end its process, as a power cut would."""

import os
import pathlib
import signal


def by_sevens(prompts, responses):
    return [sum(ord(letter) % 7 - 3 for letter in response) / 3 for response in responses]


def by_fives(prompts, responses):
    place = os.environ.get("{KILL_AT}")
    if place and pathlib.Path(place).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return [sum(ord(letter) % 5 - 2 for letter in response) / 2 for response in responses]
'''


@dataclass(frozen=True)
class Part:
    """A command that leaves a run. arguments: without --out; needs: parts whose runs it reads; before: commands first

    killed_at: a path in the run, after the writing of which it is killed by SIGKILL, and then resumed
    same_as: the part whose run it must equal
    """

    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()
    before: tuple[tuple[str, ...], ...] = ()
    killed_at: str = ""
    same_as: str = ""


# --- models and data

LETTERS = "abcdefgh"
PROMPTS = [f"{first}{second} " for first in LETTERS for second in LETTERS]
FOUR = ["a", "b !", "kk", "d d d"]
ROWS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "demonstrations": [{"prompt": p, "completion": f"{p[1]}{p[0]} !"} for p in PROMPTS],
    "prompts": [{"prompt": p} for p in PROMPTS[:24]],
    "pairs": [{"prompt": p, "chosen": "a !", "rejected": f"b{p[0]}"} for p in PROMPTS],
    "graded": [{"q": p, "a": "a !", "b": "bbb", "by": n % 4} for n, p in enumerate(PROMPTS)],
    "votes": [{"q": p, "a": "a !", "b": "bbb", "x": 1, "y": n % 3, "z": 2} for n, p in enumerate(PROMPTS)],
    "best": [{"prompt": p, "responses": FOUR, "choice": n % 4} for n, p in enumerate(PROMPTS)],
    "ranked": [{"q": p, "replies": FOUR, "ranks": [3, 1, 1, 2]} for p in PROMPTS],
    "good": [{"prompt": p, "completion": f" {c}", "label": c == "a"} for p in PROMPTS[:32] for c in "ab"],
    "stars": [{"q": p, "r": "abc"[n % 3], "help": 1 + n % 3, "length": 0.5} for n, p in enumerate(PROMPTS)],
    "axes": [{"q": p, "a": "a !", "b": "bbb", "vote": 1, "ok_a": 1, "ok_b": n % 2} for n, p in enumerate(PROMPTS)],
    "rules": [
        {"prompt": p, "completion": c, "rule": f"no {r}", "broken": c == r}
        for p in PROMPTS[:16] for c in "ab" for r in "ab"
    ],
    "records": [
        {
            "context": {"prompt": p},
            "candidates": [{"id": "x", "text": "a !"}, {"id": "y", "text": f"b{p[0]}"}],
            "verdict": {"choice": "xy"[n % 3 == 0], "rater": f"person {n % 3}", "rater_kind": "human"},
        }
        for n, p in enumerate(PROMPTS)
    ],
    "many": [{"prompt": f"{p}{c} "} for p in PROMPTS for c in LETTERS],
}  # fmt: skip
COLUMNS = {
    "graded": ["prompt=q", "responses=[a, b]", "preference={column: by, scale: [3, -3]}", "form=text"],
    "votes": [
        "prompt=q",
        "responses=[a, b]",
        "preference={column: [x, y, z], first: 1, second: 2, tie: 0}",
        "form=text",
    ],
    "ranked": ["prompt=q", "responses=replies", "ranking=ranks", "form=text"],
    "stars": ["prompt=q", "responses=r", "ratings={help: help, length: length}", "form=text"],
    "axes": [
        "prompt=q",
        "responses=[a, b]",
        "preference={column: vote, first: 1, second: 2}",
        "ratings={supported: {column: [ok_a, ok_b]}}",
        "form=text",
    ],
}
STORY_LINES = ("once a dog ran home and hid", "a kind girl had fine bread", "bad rain fell on a mill")
GOOD_LINES, BAD_LINES = ("a kind dog", "fine bread", "an honest girl"), ("a bad fall", "cold rain", "a mean mob")


def write_inputs(folder: Path) -> None:
    """Tiny models of fixed random weights, data in every shape, and judge.py with the rewards."""
    for family in ("llama", "gpt2"):
        saved(family, folder / family)
    for name, rows in ROWS.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stories = [f"{a}{b} {line}" for a in LETTERS for b in LETTERS for line in STORY_LINES]
    (folder / "stories.txt").write_text("\n".join(stories))
    sentences = ((1, GOOD_LINES), (0, BAD_LINES))
    rated = [f"{line} {letter}\t{label}" for label, lines in sentences for line in lines for letter in LETTERS]
    (folder / "sentiment").mkdir()
    for name in ("sst2-train.tsv", "sst2-test.tsv"):
        (folder / "sentiment" / name).write_text("\n".join(rated))
    (folder / "judge.py").write_text(JUDGE)


# --- commands


def words(line: str) -> tuple[str, ...]:
    return tuple(line.split())


def reward_model(kind: str, flags: str = "", model: str = "llama") -> Part:
    mapping = ["--columns", *COLUMNS[kind]] if kind in COLUMNS else []
    return Part(
        (*words(f"reward-model --model {model} --data {kind}.jsonl --epochs 2 --batch-size 8 {flags}"), *mapping)
    )


PPO = "--data prompts.jsonl --steps 4 --trajectories 8 --epochs 2 --minibatches 2 --max-new-tokens 6"
PPO += " --learning-rate 1e-3 --checkpoint-seconds 0"
OF_LETTERS = "--reward judge:by_sevens"
OF_MODEL = "--reward runs/reward-model-pairs/model"
KILLED = f"ppo --model llama {PPO} --reward judge:by_fives --held-out-reward judge:by_sevens --stop-at-peak 500"
KILLED += " --kl-target-nats 1 --kl-horizon 50"
SMALL_DEMO = "demo --demonstrations 120 --labels 40 --ppo-prompts 40 --evaluation-prompts 16 --best-of 16"
SMALL_DEMO += " --best-quarter-steps 3 --sft.steps 10 --ppo.steps 4 --ppo.trajectories 8 --max-new-tokens 12"
SMALL_DEMO += " --width 32 --layers 1 --reward-model.epochs 1"

FAST = {
    "demo": Part(words(SMALL_DEMO)),
    "sft": Part(words("sft --model llama --data demonstrations.jsonl --steps 12 --batch-size 8")),
    "sft-gpt2": Part(words("sft --model gpt2 --data demonstrations.jsonl --steps 12 --batch-size 8")),
    "sft-lora": Part(words("sft --model llama --data demonstrations.jsonl --steps 12 --batch-size 8 --lora-rank 4")),
    "reward-model-pairs": reward_model("pairs"),
    "reward-model-pairs-gpt2": reward_model("pairs", model="gpt2"),
    "reward-model-floored": reward_model("pairs", "--loss floored"),
    "reward-model-margins": reward_model("graded", "--margin-scale 1 --label-smoothing 0.1"),
    "reward-model-votes": reward_model("votes"),
    "reward-model-best-of-four": reward_model("best"),
    "reward-model-rankings": reward_model("ranked", "--loss plackett-luce"),
    "reward-model-good-or-bad": reward_model("good"),
    "reward-model-ratings": reward_model("stars", "--axis help"),
    "reward-model-grades": reward_model("stars", "--axis help --loss ordinal"),
    "reward-model-two-heads": reward_model("axes", "--auxiliary-axis supported"),
    "reward-model-rules": reward_model("rules", "--by-rule"),
    "reward-model-members": reward_model("pairs", "--members 2 --bootstrap"),
    "reward-model-shared-trunk": reward_model("pairs", "--members 2 --bootstrap --shared-trunk"),
    "reward-model-normalised-on-samples": reward_model(
        "pairs", "--normalise-on samples --normalise-samples 16 --normalise-new-tokens 6 --normalise-deviation 1"
    ),
    "reward-model-from-a-store": Part(
        words("reward-model --model llama --data store --epochs 2 --batch-size 8"),
        before=(words("feedback import store records.jsonl"),),
    ),
    "ppo-separate-critic": Part(words(f"ppo --model llama {PPO} {OF_MODEL}"), ("reward-model-pairs",)),
    "ppo-value-head": Part(words(f"ppo --model llama {PPO} {OF_MODEL} --value-head"), ("reward-model-pairs",)),
    "ppo-lora": Part(words(f"ppo --model llama {PPO} {OF_MODEL} --lora-rank 4"), ("reward-model-pairs",)),
    "ppo-lora-value-head": Part(words(f"ppo --model llama {PPO} {OF_LETTERS} --value-head --lora-rank 4")),
    "ppo-gpt2": Part(words(f"ppo --model gpt2 {PPO} {OF_LETTERS}")),
    "ppo-ensemble-top-k": Part(
        words(f"ppo --model llama {PPO} --reward runs/reward-model-members/model --top-k 40 --temperature 0.8"),
        ("reward-model-members",),
    ),
    "best-of-n": Part(
        words(f"best-of-n --model llama --data prompts.jsonl {OF_MODEL} --n 4 --max-new-tokens 6"),
        ("reward-model-pairs",),
    ),
    "ppo-whole": Part(words(KILLED)),
    "ppo-killed-and-resumed": Part(
        words(KILLED), ("ppo-whole",), killed_at="checkpoints/step-000002", same_as="ppo-whole"
    ),
}

CLIPS = "--steps 24000 --labels 100 --evaluation-episodes 6"
FULL = {
    "demo": Part(
        words(
            "demo --demonstrations 800 --labels 160 --ppo-prompts 160 --evaluation-prompts 32 --best-quarter-steps 10"
            " --sft.steps 40 --ppo.steps 3 --ppo.trajectories 16 --max-new-tokens 32 --reward-model.epochs 1"
        )
    ),
    "recipe-sentiment": Part(
        words(
            "recipe sentiment --model llama --prompts stories.txt --sentiment-data sentiment --labels 120"
            " --opening-tokens 8 --new-tokens 12 --evaluation-prompts 24 --frontier-prompts 2 --frontier-samples 200"
            " --ppo.steps 6 --ppo.trajectories 16 --reward-model.epochs 1 --reward-model.batch-size 8"
        )
    ),
    "recipe-christiano-pendulum": Part(words(f"recipe christiano --env Pendulum-v1 {CLIPS}")),
    "recipe-christiano-cartpole": Part(words(f"recipe christiano --env CartPole-v1 {CLIPS}")),
    "recipe-tamer": Part(
        words(
            "recipe tamer --seeds 2 --games 3 --most-placements 100 --sarsa-games 10 --sarsa-tuning-seeds 1"
            " --attempts 2 --most-steps 300"
        )
    ),
    "overoptimise-quick": Part(
        words(
            "overoptimise --quick --seeds 2 --further-seeds 1 --widths 32 --pool 600 --best-of 32 --best-of-prompts 4"
            " --evaluation-prompts 16 --sft.steps 30 --evaluate-every 2 --ppo.steps 8 --ppo.trajectories 16"
            " --ppo.learning-rate 3e-3"
        )
    ),
    "loop": Part(
        words(
            "loop --rounds 2 --labels-per-round 24 --evaluation-prompts 24 --sft.steps 30 --max-new-tokens 32"
            " --reward-model.epochs 1 --ppo.steps 3 --ppo.trajectories 16"
        )
    ),
}
SETS: Mapping[str, Mapping[str, Part]] = {"fast": FAST, "full": FULL}


def with_needs(parts: Mapping[str, Part], only: Sequence[str]) -> list[str]:
    """The names to run, in the order of the set: those asked for, and those whose runs they read."""
    wanted = list(only)
    for name in wanted:
        wanted += [each for each in parts[name].needs if each not in wanted]
    return [name for name in parts if name in wanted]
