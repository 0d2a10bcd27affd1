"""Run folders as other machines leave them, written without the package: for the pages that look at runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PIECES = [" Dear", " Ana", ",", " I", " will", " replace", " your", " lamp", ".", "<eos>"]


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def event(step: int, lift: float = 0.0) -> dict[str, Any]:
    """What PPO records of a step, as smooth curves."""
    rise = 1 - math.exp(-step / 8)
    wave = 0.1 * math.sin(1.7 * step)
    return {
        "step": step,
        "seconds": round(1.5 * (step + 1), 3),
        "score": 2.2 * rise - 0.2 + wave + lift,
        "gold_score": 1.4 * rise - 0.3 + wave / 2 + lift / 2,
        "kl_nats_per_sequence": (3.0 + 2 * lift) * rise + 0.1 * wave,
        "actions": 25 + 3 * wave + 4 * lift * rise,
        "entropy_nats": 1.2 - (0.5 + 0.3 * lift) * rise,
        "win_rate_by_reward_model": 0.5 + (0.35 + 0.1 * lift) * rise,
        "seconds_sampling": 0.6 + 0.1 * wave + 0.1 * lift * rise,
        "seconds_scoring": 0.1,
        "seconds_learning": 0.7 - 0.1 * wave,
        "policy_loss": -0.02 + 0.01 * wave,
        "value_loss": 0.5 - 0.3 * rise,
        "explained_variance": 0.6 * rise,
        "clip_fraction": 0.1 + 0.02 * wave,
        "kl_coefficient": 0.2,
    }


def sample(step: int, number: int, words: str = "") -> dict[str, Any]:
    """A reply with what each of its tokens was worth."""
    count = len(PIECES)
    values = [round(math.sin(0.9 * (place + step + number)), 4) for place in range(count)]
    return {
        "step": step,
        "prompt": f"Customer: My lamp number {number} of step {step} arrived broken. {words}\nAgent:",
        "response": "".join(PIECES[:-1]),
        "score": 0.1 * step,
        "tokens": PIECES,
        "log_ratio_nats": values,
        "value": [0.5 * value for value in values],
        "advantage": [-value for value in values],
        "reward": [0.0] * (count - 1) + [0.1 * step],
    }


def finished(path: Path, steps: int = 30, lift: float = 0.0, settings: Mapping[str, Any] | None = None) -> Path:
    """A run of PPO that is over, with samples of every other step."""
    chosen = {"reward": "runs/reward-model/model", "settings": {"steps": steps, "kl_coefficient": 0.2, "seed": 0}}
    write(path / "config.json", {"verb": "ppo", "settings": {**chosen, **(settings or {})}, "versions": {"torch": "2"}})
    write_lines(path / "events.jsonl", [event(step, lift) for step in range(steps)])
    samples = [sample(step, number) for step in range(0, steps, 2) for number in range(3)]
    write_lines(path / "samples.jsonl", samples)
    write(path / "summary.json", {"seconds_total": 1.5 * steps, "win_rate": 0.75})
    write(path / "state.json", {"tutelage": "run", "name": path.name, "status": "finished", "step": steps})
    return path


def probed(path: Path, steps: int = 30) -> Path:
    """A run that answered two fixed prompts at every tenth step and at the last."""
    finished(path, steps)
    with (path / "samples.jsonl").open("a") as file:
        for step in [*range(0, steps, 10), steps - 1]:
            for place, prompt in enumerate(("Customer: Where is my order?", "Customer: My lamp is broken.")):
                row = {**sample(step, place), "probe": place, "prompt": prompt, "response": f"reply {place} of {step}"}
                file.write(json.dumps({name: row[name] for name in row if name not in ("advantage", "reward")}) + "\n")
    return path


def crashed(path: Path, steps: int = 3) -> Path:
    """A run that an exception ended, with what it had printed."""
    finished(path, steps)
    (path / "summary.json").unlink()
    message = "list index out of range"
    lines = ["Traceback (most recent call last):", '  File "mine.py", line 3, in score', f"IndexError: {message}"]
    error = {"type": "IndexError", "message": message, "traceback": lines}
    state = {"tutelage": "run", "name": path.name, "status": "interrupted", "step": steps}
    write(path / "state.json", {**state, "stopped_by": "IndexError", "error": error})
    (path / "log.txt").write_text("--- 2026-11-29 20:00:00 +0000 tutelage ppo\nppo: 3/30\n" + "\n".join(lines) + "\n")
    return path


def going(path: Path, steps: int = 12) -> Path:
    """A run that is being written: its last line is half there."""
    finished(path, 40)
    (path / "summary.json").unlink()
    write_lines(path / "events.jsonl", [event(step) for step in range(steps)])
    with (path / "events.jsonl").open("a") as file:
        file.write(json.dumps(event(steps))[:60])
    write(path / "state.json", {"tutelage": "run", "name": path.name, "status": "running", "step": steps})
    return path


def broken(root: Path) -> dict[str, Path]:
    """Folders of runs with which something is wrong, by what it is."""
    made = {name: finished(root / name, 10) for name in ("cut", "foreign", "without-config", "garbage", "no-state")}
    (made["cut"] / "state.json").write_text('{"tutelage": "run", "na')
    (made["foreign"] / "config.json").write_text('["not", "ours"]')
    (made["without-config"] / "config.json").unlink()
    (made["garbage"] / "events.jsonl").write_bytes(b"\x00\xff\n[1, 2]\n{}\nnull\n" + b"[" * 5000 + b"\n")
    (made["no-state"] / "state.json").unlink()
    return made


def pipeline(path: Path) -> Path:
    """A run in stages, as the demo leaves it; models are folders with a config alone."""
    kinds = {"sft": "LlamaForCausalLM", "reward-model": "LlamaForSequenceClassification", "ppo": "LlamaForCausalLM"}
    write(path / "config.json", {"verb": "demo", "settings": {"seed": 0, "labels": 4}})
    for stage in ("sft", "labels", "reward-model", "ppo"):
        write(path / stage / "state.json", {"tutelage": "run", "name": stage, "status": "finished", "step": 0})
        write(path / stage / "summary.json", {"labels": 4, "accuracy": 0.75})
    write_lines(path / "labels" / "comparisons.jsonl", [])
    write_lines(path / "ppo" / "events.jsonl", [event(step) for step in range(20)])
    write_lines(path / "ppo" / "samples.jsonl", [sample(step, 0) for step in range(0, 20, 5)])
    for stage, architecture in kinds.items():
        write(path / stage / "model" / "config.json", {"architectures": [architecture]})
    write(path / "summary.json", {"seconds_total": 60.0, "win_rate_ppo_over_sft": 0.82})
    write(path / "state.json", {"tutelage": "run", "name": path.name, "status": "finished", "step": 0})
    return path


def steep(path: Path, steps: int = 30) -> Path:
    """A run of PPO whose KL runs away."""
    finished(path, steps)
    write_lines(
        path / "events.jsonl",
        [{**event(s), "kl_nats_per_sequence": 4.0 * s, "kl_nats_per_action": 0.2 * s} for s in range(steps)],
    )
    return path


def overoptimised(path: Path) -> Path:
    """Two curves of the shape that Gao et al. (2022) fit to PPO: gold d(a - b log d), the proxy nearly straight."""
    grid = [0.25 * place for place in range(25)]
    curves = []
    for labels, b in ((400, 0.45), (4000, 0.25)):
        gold = [d * (0.8 - b * math.log(d)) if d else 0.0 for d in grid]
        lines = {"gold": gold, "proxy": [0.85 * d - 0.02 * d * d for d in grid]}
        ends = (("low", -0.05), ("high", 0.05))
        bands = {
            f"{name}_{end}": [v + k * d for v, d in zip(line, grid)] for name, line in lines.items() for end, k in ends
        }
        curves.append({"method": "PPO", "labels": labels, "width": 64, "sqrt_kl": grid, **lines, **bands})
    finished(path)
    write(path / "summary.json", {"curves": curves})
    return path


def swept(path: Path) -> Path:
    """A sweep of objectives, as `tutelage frontier` leaves it."""
    finished(path)
    rows = []
    for place in range(8):
        kind = ("price", "budget")[place % 2]
        pleased, broken = 0.55 + 0.05 * place - 0.06 * (kind == "budget"), 0.02 + 0.004 * place**2
        row = {
            "name": f"{kind} {place}",
            "kind": kind,
            "weight": 4.0 / (1 + place),
            "budget": 2.0 + place,
            "kl_nats": 2.0 + place,
        }
        for axis, middle, mean in (("pleased", pleased, "pleased_mean"), ("broken", broken, "broken_fraction")):
            row |= {mean: middle, f"{axis}_low": middle - 0.015, f"{axis}_high": middle + 0.015}
        rows.append({**row, "pareto_optimal": kind == "price"})
    write(path / "summary.json", {"objectives": rows, "keep_breaks_under": 0.1, "best_name": "price 4"})
    return path
