"""A real chat model (SmolLM2-135M-Instruct) beside generate, vLLM and TRL, beside a busy neighbor, and beside itself.

    python benchmarks/real_model.py --model FOLDER [--device cpu] [--only generate trl ...] [--tiny]

Prompts of HH (the first 32 that are no longer than 400 tokens), up to 64 new tokens, replies that end by themselves,
fp32, LoRA of rank 16 on every linear layer. Contenders take turns; medians of three rounds. It ends with one JSON
object; a value that could not be measured is null, and `reasons` says why. On a quiet machine the whole takes less than
40 minutes; `--tiny` goes through every part once with a few tokens, which measures nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tutelage  # isort: skip  # before torch, for the bound on spinning threads
import torch
from setting import HERE, finish, interleaved, medians, python_of, run_script, timed

from tutelage.data import sources
from tutelage.data.tokens import Codec
from tutelage.environments.language import Language
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.models.pretrained import hush, load_causal_lm, load_sequence_classifier, load_tokenizer
from tutelage.models.reward_adapters import save_reward_adapter, with_reward_lora
from tutelage.policies.language import LanguagePolicy, stop_tokens
from tutelage.rewards.language import start_head
from tutelage.trajectory import Key

KEYS = (
    "ratio_generate",
    "ratio_vllm",
    "ratio_trl_ppo_same_critic",
    "memory_same_critic",
    "ratio_trl_ppo",
    "memory_over_trl_ppo",
    "neighbour_sft",
    "neighbour_sampling",
    "neighbour_update",
    "side_by_side",
)
PROMPTS, LONGEST, RANK = 32, 400, 16
DATA = HERE.parent.parent / "shared" / "data" / "hh-rlhf" / "helpful-base.jsonl.gz"
Found = tuple[dict[str, Any], list[list[object]]]
"""(keys of the answer, rows of the table: what, peer, ours, ratio)."""


class NotMeasuredError(Exception):
    """A peer cannot be installed, or does not run here."""


def main() -> None:
    given = arguments()
    hush()
    asked = asked_of(given)
    answer: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    rows: list[list[object]] = []
    for name, (part, keys) in PARTS.items():
        if name not in given.only:
            reasons |= dict.fromkeys(keys, f"not asked for: --only {' '.join(given.only)}")
            continue
        began = time.perf_counter()
        try:
            found, told = part(asked)
        except NotMeasuredError as error:
            found, told = {}, []
            reasons |= dict.fromkeys(keys, str(error))
        answer |= found
        rows += told
        print(f"{name}: {time.perf_counter() - began:.0f} s {json.dumps(found)}", file=sys.stderr, flush=True)
    whole = {**dict.fromkeys(KEYS), **answer, "spin_count": os.environ.get("GOMP_SPINCOUNT"), "device": given.device}
    finish(rows, ["what", "peer", "ours", "ratio"], {**whole, "tiny": given.tiny, "reasons": reasons})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of the model")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--prompts", default=str(DATA), help="file of comparisons in the form of HH")
    parser.add_argument("--only", nargs="+", choices=[*PARTS], default=[each for each in PARTS if each != "spin"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="one round of a few tokens: whether every part runs")
    given = parser.parse_args()
    given.rounds = 1 if given.tiny else given.rounds
    return given


def asked_of(given: argparse.Namespace) -> dict[str, Any]:
    """What every part and every script is told, as JSON."""
    codec = Codec(load_tokenizer(given.model))
    texts = sources.prompts(given.prompts, codec)[0]
    longest = 60 if given.tiny else LONGEST
    tokens = [each for each in map(codec.prompt, dict.fromkeys(texts[:2000])) if len(each) <= longest]
    count = 4 if given.tiny else PROMPTS
    lengths = sorted(map(len, tokens[:count]))
    if len(lengths) < count:
        sys.exit(f"{given.prompts}: {len(lengths)} prompts of at most {longest} tokens, and {count} are needed.")
    print(f"{count} prompts of {lengths[0]} to {lengths[-1]} tokens, median {lengths[count // 2]}", file=sys.stderr)
    return {
        "policy": given.model,
        "data": given.prompts,
        "prompts": [list(each) for each in tokens[:count]],
        "stop_tokens": list(codec.stop_tokens),
        "pad_token": codec.tokenizer.unk_token or codec.tokenizer.pad_token,
        "new_tokens": 4 if given.tiny else 64,
        "rounds": given.rounds,
        "device": given.device,
        "lora_rank": RANK,
        "tokens_at_once": 1024,
        "tiny": given.tiny,
        "seconds": 0.1 if given.tiny else 12.0,
    }


def beside_generate(asked: dict[str, Any]) -> Found:
    """Tokens a second of the native sampler and of transformers' `generate` with its cache, batch 32."""
    model = load_causal_lm(asked["policy"], asked["device"])
    rates = medians(interleaved(asked["rounds"], generate=generate_of(model, asked), native=native_of(model, asked)))
    ratio = rates["native"] / rates["generate"]
    told = {"ratio_generate": ratio, "tokens_a_second": rates["native"], "generate_tokens_a_second": rates["generate"]}
    return told, [["sampling beside generate, tokens/s", rates["generate"], rates["native"], ratio]]


def native_of(model: Any, asked: dict[str, Any]) -> Callable[[], float]:
    policy = LanguagePolicy(model)
    sampler = NativeSampler(policy, stop_tokens_of(model, asked), 0, SamplingSettings(asked["new_tokens"]))
    environment, steps = Language(asked["prompts"]), iter(range(10**6))

    def native() -> float:
        step = next(steps)
        keys = [Key(step, prompt) for prompt in range(len(asked["prompts"]))]
        began = time.perf_counter()
        batch = sampler.sample(environment, keys)
        if asked["device"] != "cpu":
            torch.cuda.synchronize()
        return float(batch.mask_BT.sum()) / (time.perf_counter() - began)

    return native


def generate_of(model: Any, asked: dict[str, Any]) -> Callable[[], float]:
    """Prompts are padded on the left; what it draws after a row's end is not counted."""
    ends, longest = stop_tokens_of(model, asked), max(map(len, asked["prompts"]))
    tokens = torch.tensor([[ends[0]] * (longest - len(each)) + each for each in asked["prompts"]])
    mask = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in asked["prompts"]])
    options = {"do_sample": True, "top_k": 0, "top_p": 1.0, "temperature": 1.0, "max_new_tokens": asked["new_tokens"]}
    options |= {"eos_token_id": ends, "pad_token_id": ends[0], "repetition_penalty": 1.0}

    @torch.no_grad()
    def generate() -> float:
        drawn: list[torch.Tensor] = []
        ask = {"input_ids": tokens.to(asked["device"]), "attention_mask": mask.to(asked["device"]), **options}
        seconds = timed(lambda: drawn.append(model.generate(**ask)))
        ended = torch.isin(drawn[0][:, longest:].cpu(), torch.tensor(ends))
        before = ended.long().cumsum(dim=1) - ended.long() == 0  # up to the first end, which counts
        return float(before.sum()) / seconds

    return generate


def stop_tokens_of(model: Any, asked: dict[str, Any]) -> list[int]:
    return list(stop_tokens(model, Codec(load_tokenizer(asked["policy"]))))


def beside_vllm(asked: dict[str, Any]) -> Found:
    """Tokens a second of the native sampler and of vLLM's CPU build, a fresh process each round; start-up apart."""
    if asked["device"] != "cpu":
        raise NotMeasuredError("the peer is vLLM's build for CPUs")
    python = peer("vllm")
    native = native_of(load_causal_lm(asked["policy"]), asked)
    plain = {**asked, "through": False, "threads": torch.get_num_threads()}
    rates: dict[str, list[float]] = {"vllm": [], "native": []}
    native()
    for _ in range(asked["rounds"]):
        rates["vllm"].append(of_peer(python, "vllm_rollout.py", plain)["tokens_a_second"])
        rates["native"].append(native())
    found = medians(rates)
    ratio = found["native"] / found["vllm"]
    return {"ratio_vllm": ratio, "vllm_tokens_a_second": found["vllm"]}, [
        ["sampling beside vLLM, tokens/s", found["vllm"], found["native"], ratio]
    ]


def beside_trl(asked: dict[str, Any]) -> Found:
    """One PPO step of 16 episodes and 2 epochs: seconds and peak memory. TRL has a reward model and a value model of
    their own; ours once the same, once with everything on one trunk (a difference of architecture)."""
    python = peer("trl")
    with tempfile.TemporaryDirectory() as folder:
        step = ppo_step(asked, Path(folder))
        contenders = {
            "trl": lambda number: of_peer(python, "trl_ppo.py", {**step, "seed": number}),
            "same": lambda number: run_script(sys.executable, "our_ppo.py", {**step, "seed": number}),
            "shared": lambda number: run_script(sys.executable, "our_ppo.py", {**shared(step), "seed": number}),
        }
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        peaks: dict[str, list[float]] = {name: [] for name in contenders}
        held: dict[str, Any] = {}
        for number in range(asked["rounds"]):
            for name, run in contenders.items():
                found = run(number)
                seconds[name].append(statistics.median(found["seconds"][1:] or found["seconds"]))
                peaks[name].append(found["peak_bytes"])
                held[name] = found.get("bytes")
                print(f"  {name}: {seconds[name][-1]:.2f} s, {peaks[name][-1] / 2**30:.2f} GiB", file=sys.stderr)
    s, b = medians(seconds), medians(peaks)
    answer = {
        "ratio_trl_ppo_same_critic": s["trl"] / s["same"],
        "memory_same_critic": b["same"] / b["trl"],
        "ratio_trl_ppo": s["trl"] / s["shared"],
        "memory_over_trl_ppo": b["shared"] / b["trl"],
        "ppo_step_seconds": s,
        "ppo_step_peak_bytes": b,
        "bytes_by_holder": {"same": held["same"], "shared": held["shared"]},
    }
    return answer, [
        ["PPO step, same form of critic, s", s["trl"], s["same"], s["trl"] / s["same"]],
        ["its peak, GiB", b["trl"] / 2**30, b["same"] / 2**30, b["same"] / b["trl"]],
        ["PPO step, one shared trunk (another architecture), s", s["trl"], s["shared"], s["trl"] / s["shared"]],
        ["its peak, GiB", b["trl"] / 2**30, b["shared"] / 2**30, b["shared"] / b["trl"]],
    ]


def ppo_step(asked: dict[str, Any], where: Path) -> dict[str, Any]:
    """The files that everybody reads: a reward model with a fresh head, whole and as an adapter of the same rank."""
    classifier = load_sequence_classifier(asked["policy"], fresh_head=True)
    start_head(classifier, 0)
    classifier.config.pad_token_id = load_tokenizer(asked["policy"]).convert_tokens_to_ids(asked["pad_token"])
    for name in ("classifier", "adapter"):
        (where / name).mkdir()
        load_tokenizer(asked["policy"]).save_pretrained(where / name)
    classifier.save_pretrained(where / "classifier")
    adapted = with_reward_lora(classifier, asked["lora_rank"])
    torch.manual_seed(0)
    with torch.no_grad():
        for name, each in adapted.named_parameters():
            if "lora_B" in name:
                each.normal_(0.0, 1e-3)
    save_reward_adapter(adapted, where / "adapter")
    count = 2 if asked["tiny"] else 16
    return {
        **asked,
        "classifier": str(where / "classifier"),
        "adapter": str(where / "adapter"),
        "episodes": count,
        "epochs": 2,
        "minibatches": 1,
        "stops": True,
        "steps": 1 if asked["tiny"] else 2,
    }


def shared(step: dict[str, Any]) -> dict[str, Any]:
    return {**step, "value_head": True, "reward": step["adapter"]}


class Worker:
    """A process of real_work.py, loaded and warm."""

    def __init__(self, asked: dict[str, Any], work: str, **environment: str) -> None:
        rows = 2 if asked["tiny"] else {"sampling": 32, "update": 16}.get(work, 8)
        self.process: Any = subprocess.Popen(
            [sys.executable, str(HERE / "real_work.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false", **environment},
        )
        self._write(json.dumps({**asked, "work": work, "rows": rows}))
        self.expect("ready")

    def _write(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def expect(self, word: str = "") -> str:
        line = self.process.stdout.readline().strip()
        if not line or (word and line != word):
            raise RuntimeError(f"real_work.py ended without an answer: {line!r}")
        return line

    def start(self, seconds: float) -> None:
        self._write(str(seconds))

    def rate(self) -> dict[str, float]:
        """What `start` began: {"rate": units a second, "flops": FLOPs a second}."""
        found = json.loads(self.expect())
        return {"rate": found["units"] / found["seconds"], "flops": found["flops"] / found["seconds"]}

    def measure(self, seconds: float) -> float:
        self.start(seconds)
        return self.rate()["rate"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


class Neighbor:
    """Processes that keep every core busy while the block runs, and five minutes at most."""

    LOOP = "import time\nend = time.time() + 300\nwhile time.time() < end: pass"

    def __enter__(self) -> None:
        cores = len(os.sched_getaffinity(0))
        self.processes = [subprocess.Popen([sys.executable, "-c", self.LOOP]) for _ in range(cores)]
        time.sleep(0.5)

    def __exit__(self, *_: object) -> None:
        for each in self.processes:
            each.terminate()
            each.wait()


def quiet_and_beside(asked: dict[str, Any], work: str, **environment: str) -> dict[str, float]:
    """Medians of {"quiet", "beside" a neighbor, "share": beside over quiet}, in turn."""
    worker = Worker(asked, work, **environment)
    found: dict[str, list[float]] = {"quiet": [], "beside": [], "share": []}
    for _ in range(asked["rounds"]):
        found["quiet"].append(worker.measure(asked["seconds"]))
        with Neighbor():
            found["beside"].append(worker.measure(asked["seconds"]))
        found["share"].append(found["beside"][-1] / found["quiet"][-1])
    worker.close()
    return medians(found)


def neighbour(asked: dict[str, Any]) -> Found:
    """Throughput beside a process that keeps both cores busy, as a share of the throughput without it."""
    refuse_gpu(asked)
    answer, rows = dict[str, Any](), list[list[object]]()
    for work in ("sft", "sampling", "update"):
        found = quiet_and_beside(asked, work)
        answer |= {f"neighbour_{work}": found["share"], f"{work}_tokens_a_second": found["quiet"]}
        rows.append([f"{work} beside a busy neighbor, tokens/s", found["quiet"], found["beside"], found["share"]])
    return answer, rows


def side_by_side(asked: dict[str, Any]) -> Found:
    """Two runs of SFT at once, together, over one alone."""
    refuse_gpu(asked)
    first, second = Worker(asked, "sft"), Worker(asked, "sft")
    shares, alone, together = [], [], []
    for _ in range(asked["rounds"]):
        alone.append(first.measure(asked["seconds"]))
        for each in (first, second):
            each.start(2 * asked["seconds"])
        together.append(sum(each.rate()["rate"] for each in (first, second)))
        shares.append(together[-1] / alone[-1])
    for each in (first, second):
        each.close()
    share = statistics.median(shares)
    row = ["two runs side by side, tokens/s", statistics.median(alone), statistics.median(together), share]
    return {"side_by_side": share}, [row]


def trained(asked: dict[str, Any]) -> Found:
    """FLOPs a second of LoRA steps (4N a token), over those of the layers' products alone."""
    workers = {name: Worker(asked, name) for name in ("products", "sft", "reward")}
    rates: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(asked["rounds"]):
        for name, worker in workers.items():
            worker.start(asked["seconds"])
            rates[name].append(worker.rate()["flops"])
    for worker in workers.values():
        worker.close()
    found = medians(rates)
    shares = {name: found[name] / found["products"] for name in ("sft", "reward")}
    answer = {"train_sft": shares["sft"], "train_reward_model": shares["reward"], "products_flops": found["products"]}
    return answer, [
        [f"{name} by LoRA, GFLOP/s beside the products alone", found["products"] / 1e9, found[name] / 1e9, share]
        for name, share in shares.items()
    ]


def spin(asked: dict[str, Any]) -> Found:
    """Not in the whole: rates of every kind of work for some values of GOMP_SPINCOUNT, quiet and beside a neighbor."""
    refuse_gpu(asked)
    answer, rows = dict[str, Any](), list[list[object]]()
    for work in ("sft", "sampling", "update"):
        for count in ("300000", "10000", "3000", "2000", "1000"):
            found = quiet_and_beside(asked, work, GOMP_SPINCOUNT=count)
            answer[f"spin_{work}_{count}"] = [found["quiet"], found["beside"]]
            rows.append([f"{work}, GOMP_SPINCOUNT {count}, tokens/s", found["quiet"], found["beside"], found["share"]])
            print(rows[-1], file=sys.stderr, flush=True)
    return answer, rows


def refuse_gpu(asked: dict[str, Any]) -> None:
    if asked["device"] != "cpu":
        raise NotMeasuredError("of threads on the CPU")


def peer(name: str) -> str:
    try:
        return python_of(name)
    except (subprocess.CalledProcessError, OSError) as error:
        raise NotMeasuredError(f"{name} cannot be installed here: {error}") from error


def of_peer(python: str, script: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return run_script(python, script, asked)
    except RuntimeError as error:
        raise NotMeasuredError(f"{script} does not run here: {str(error)[-600:]}") from error


PARTS: dict[str, tuple[Callable[[dict[str, Any]], Found], tuple[str, ...]]] = {
    "generate": (beside_generate, KEYS[:1]),
    "vllm": (beside_vllm, KEYS[1:2]),
    "trl": (beside_trl, KEYS[2:6]),
    "neighbour": (neighbour, KEYS[6:9]),
    "side_by_side": (side_by_side, KEYS[9:]),
    "train": (trained, ("train_sft", "train_reward_model")),
    "spin": (spin, ()),
}
"""Name -> (the part, the keys that it fills)."""


if __name__ == "__main__":
    assert tutelage.SPIN_COUNT
    main()
