"""How much memory saving takes beside what is saved: a checkpoint, and a model's folder.

A child process makes a model of SmolLM2-135M's shape with random weights and Adam's two moments, and saves it. The
parent samples its resident memory (psutil). For each way of saving it prints:

    saved MB          what is written: weights and both moments of a checkpoint, the weights of a model's folder
    increase MB       highest resident memory while saving, less that just before
    peak / saved      (saved + increase) / saved: 1.0 is no memory beside what is saved

    python benchmarks/checkpoint_memory.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

SAMPLES_S = 0.002  # between two looks at the memory
WAYS = ("checkpoint", "model folder")


def child(way: str, folder: Path) -> None:
    """Prints the bytes that are saved when all is there, waits for a line, saves, and says so."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tutelage.execution.learner import LocalLearner
    from tutelage.models.pretrained import hush
    from tutelage.runs.checkpoints import Checkpoints

    hush()
    torch.set_num_threads(1)
    shape = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "vocab_size": 49152}
    heads = {"num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True}
    model = LlamaForCausalLM(LlamaConfig(**shape, **heads))
    weights = sum(each.numel() * each.element_size() for each in model.parameters())
    learner = LocalLearner({"policy": (model.parameters(), 1e-4)})
    for group in learner.optimiser.param_groups:  # the moments, as after an update
        for each in group["params"]:
            zeros = {name: torch.randn_like(each) for name in ("exp_avg", "exp_avg_sq")}
            learner.optimiser.state[each] = {"step": torch.tensor(1.0), **zeros}
    Checkpoints(folder / "warm-up").save(0, {"small": torch.zeros(3)}, {})  # what is loaded once is not counted
    print(3 * weights if way == "checkpoint" else weights, flush=True)
    sys.stdin.readline()
    if way == "checkpoint":
        Checkpoints(folder / "checkpoints").save(1, {"learner": learner.state()}, {})
    else:
        model.save_pretrained(folder / "model")
    (folder / "saved").touch()


def measure(way: str) -> tuple[int, int, float]:
    """(bytes saved, bytes of resident memory that saving added at most, seconds)."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, way, folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None and process.stdout is not None
            saved = int(process.stdout.readline())
            looked_at = psutil.Process(process.pid)
            before = highest = looked_at.memory_info().rss
            process.stdin.write("save\n")
            process.stdin.flush()
            began, path = time.monotonic(), Path(folder)
            while not (path / "saved").exists():
                if process.poll() is not None:
                    raise SystemExit(f"the process that saves ended with code {process.returncode}")
                highest = max(highest, looked_at.memory_info().rss)
                time.sleep(SAMPLES_S)
            seconds = time.monotonic() - began
            process.communicate()
    return saved, highest - before, seconds


def main() -> None:
    print(f"{'way':14s} {'saved MB':>9s} {'increase MB':>12s} {'peak / saved':>13s} {'seconds':>8s}")
    for way in WAYS:
        saved, increase, seconds = measure(way)
        print(f"{way:14s} {saved / 1e6:9.0f} {increase / 1e6:12.1f} {1 + increase / saved:13.3f} {seconds:8.1f}")


if __name__ == "__main__":
    child(sys.argv[1], Path(sys.argv[2])) if len(sys.argv) > 1 else main()
