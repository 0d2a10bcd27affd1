"""Whether a change to the code changes one bit of what is trained: hashes of the runs of real commands, one thread.

    python benchmarks/same_bits.py --out before.json                            # the fast set, on this checkout
    python benchmarks/same_bits.py --against before.json                        # after the change: the same bits?
    python benchmarks/same_bits.py --source ../other --against before.json      # another checkout's src
    python benchmarks/same_bits.py --set full --only recipe-tamer loop          # parts of the full set

Every part is a command line of tutelage, run in a process of its own in a temporary folder, on tiny models and data
that this benchmark writes (same_bits_commands.py). Of every run it hashes the weight files by the names, types, shapes
and bytes of their tensors, and the summaries, events, samples, labels and model settings without clocks and facts of
the machine (LEFT_OUT, LEFT_OUT_BEGINNING). Hashes depend on the processor and on the versions of torch and
transformers, so they are compared on one machine and are never committed.

On one core of an AMD EPYC (2026-11-29): the fast set 118 s of CPU, the full set 201 s.
Not measured: checkpoints, reports, logs, preflight.json (sentences, free memory), feedback stores (random ids).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from same_bits_commands import KILL_AT, ROOT, SETS, Part, with_needs, write_inputs

# Keys that are left out of every hashed object, wherever they stand in it.
LEFT_OUT_BEGINNING = ("seconds",)  # clocks: seconds, seconds_total, seconds_sampling, seconds_by_stage ...
LEFT_OUT = {
    "answered_at",  # clocks
    "published_at",
    "_name_or_path",  # of a model's config.json: where it was loaded from
    "transformers_version",
    "snapshot",  # a random id
    "rater",  # of a label that was given by way of a store: a random id
    "store",  # a path
}
UNORDERED = {"target_modules"}  # of an adapter_config.json: peft writes a set, in another order each time
HASHED_ROWS = ("events.jsonl", "samples.jsonl", "comparisons.jsonl", "versions.jsonl")
HASHED_OBJECTS = ("summary.json", "ensemble.json")
HASHED_SETTINGS = ("config.json", "adapter_config.json")  # of models: only beside weights
PASSED_BY = {"checkpoints", "pieces"}

SERVER = """
import json, os, runpy, signal, sys
import peft, plotly.graph_objects, pydantic, sqlalchemy, torch, tyro
from transformers import AutoTokenizer, GPT2LMHeadModel, LlamaForCausalLM, LlamaForSequenceClassification
torch.set_num_threads(1)
print("ready", flush=True)
for line in sys.stdin:
    given = json.loads(line)
    process = os.fork()
    if process == 0:
        log = os.open(given["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(given["environment"])
        sys.argv[1:] = given["arguments"]
        code = 70
        try:
            runpy.run_module("tutelage.cli", run_name="__main__", alter_sys=True)
        except SystemExit as exit:
            code = exit.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    _, status, used = os.wait4(process, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime]), flush=True)
"""  # loads torch and transformers once (6 s); every command is then `python -m tutelage.cli` in a process of its own


class Workshop:
    """A temporary folder with the inputs, and a server that runs commands in it with the src of `source`."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder, self.cpu_seconds = folder, 0.0
        write_inputs(folder)
        one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}
        environment = {**os.environ, **one, **offline, "PYTHONPATH": str(source / "src")}
        refuse_other_source(source, environment, folder)
        self.server: Any = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self.server.stdout.readline().strip() != "ready":
            raise SystemExit("the process that runs the commands did not begin; its error is above.")

    def run(self, arguments: Sequence[str], environment: Mapping[str, str] | None = None, expected: int = 0) -> None:
        """One command, to its end. SystemExit with its output where it did not end as expected."""
        log = self.folder / "log.txt"
        log.unlink(missing_ok=True)
        given = {"arguments": list(arguments), "environment": dict(environment or {}), "log": str(log)}
        self.server.stdin.write(json.dumps(given) + "\n")
        self.server.stdin.flush()
        code, seconds = json.loads(self.server.stdout.readline())
        self.cpu_seconds += seconds
        if code != expected:
            raise SystemExit(f"tutelage {' '.join(arguments)}\nended with {code}, not {expected}:\n{log.read_text()}")

    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait(timeout=60)
        self.server.stdout.close()


def refuse_other_source(source: Path, environment: Mapping[str, str], folder: Path) -> None:
    """SystemExit where `tutelage` would be imported from elsewhere: the wrong code would be measured."""
    says = [sys.executable, "-c", "import tutelage; print(tutelage.__file__)"]
    done = subprocess.run(says, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode or not Path(done.stdout.strip()).is_relative_to((source / "src").resolve()):
        raise SystemExit(f"--source {source}: tutelage is not imported from its src: {done.stdout}{done.stderr}")


def run_part(workshop: Workshop, name: str, part: Part) -> None:
    out = f"runs/{name}"
    for each in part.before:
        workshop.run(each)
    if part.killed_at:
        workshop.run([*part.arguments, "--out", out], {KILL_AT: f"{out}/{part.killed_at}"}, expected=-9)
        workshop.run(["resume", out])
    else:
        workshop.run([*part.arguments, "--out", out])


# --- hashes


def artefacts(run: Path) -> Iterator[tuple[str, str]]:
    """(path in the run, hash) of everything that the code computed, in order."""
    for path in sorted(run.rglob("*")):
        inside = path.relative_to(run)
        if PASSED_BY & set(inside.parts) or not path.is_file():
            continue
        beside_weights = path.name in HASHED_SETTINGS and any(path.parent.glob("*.safetensors"))
        if path.suffix == ".safetensors":
            yield str(inside), hash_of_tensors(path)
        elif path.suffix == ".npy":
            yield str(inside), hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.name in HASHED_OBJECTS or beside_weights:
            yield str(inside), hash_of(json.loads(path.read_text(encoding="utf-8")))
        elif path.name in HASHED_ROWS:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            yield str(inside), hash_of(rows)


def hash_of_tensors(path: Path) -> str:
    """Of names, types, shapes and bytes, in the order of the names."""
    found = hashlib.sha256()
    with safe_open(path, framework="pt") as file:
        for name in sorted(file.keys()):
            tensor = file.get_tensor(name).contiguous()
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            found.update(tensor.view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return found.hexdigest()


def hash_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(without_clocks(content), sort_keys=True).encode()).hexdigest()


def without_clocks(content: Any) -> Any:
    """The same without the keys of LEFT_OUT, at any depth. JSON writes a float so that it comes back to the bit."""
    if isinstance(content, dict):
        kept = {name: without_clocks(each) for name, each in content.items() if not is_left_out(name)}
        return {name: sorted(each) if name in UNORDERED else each for name, each in kept.items()}
    return [without_clocks(each) for each in content] if isinstance(content, list) else content


def is_left_out(name: str) -> bool:
    return name in LEFT_OUT or name.startswith(LEFT_OUT_BEGINNING)


# --- the command


def measure(given: argparse.Namespace, keep: Path) -> dict[str, str]:
    """Runs the parts; "set/run/path" -> hash. Prints each line as soon as it is known."""
    parts = SETS[given.set]
    names = with_needs(parts, given.only or list(parts))
    workshop, found = Workshop(keep, given.source.resolve()), {}
    try:
        for name in names:
            began, before = time.monotonic(), workshop.cpu_seconds
            run_part(workshop, name, parts[name])
            of_run = dict(artefacts(keep / "runs" / name))
            if not of_run:
                raise SystemExit(f"{name}: the run left nothing to hash.")
            if parts[name].same_as:
                refuse_differences(of_run, dict(artefacts(keep / "runs" / parts[name].same_as)), name)
            found |= {f"{given.set}/{name}/{path}": value for path, value in of_run.items()}
            for path, value in of_run.items():
                print(f"{value}  {given.set}/{name}/{path}", flush=True)
            used = workshop.cpu_seconds - before
            print(f"{name}: {time.monotonic() - began:.1f} s, {used:.1f} s of CPU", file=sys.stderr)
        print(f"{len(found)} artefacts, {workshop.cpu_seconds:.0f} s of CPU", file=sys.stderr)
    finally:
        workshop.close()
    return found


def refuse_differences(found: Mapping[str, str], whole: Mapping[str, str], name: str) -> None:
    different = [each for each in sorted(found.keys() | whole.keys()) if found.get(each) != whole.get(each)]
    if different:
        raise SystemExit(f"{name} is not the run that was never killed: {', '.join(different)} differ.")


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """One line for each artefact that is missing, new or different."""
    lines = []
    for name in sorted(before.keys() | now.keys()):
        if name not in now:
            lines.append(f"MISSING    {name}")
        elif name not in before:
            lines.append(f"NEW        {name}")
        elif before[name] != now[name]:
            lines.append(f"DIFFERENT  {name}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=sorted(SETS), default="fast")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="parts of the set; what they read is run, too")
    parser.add_argument("--source", type=Path, default=ROOT, help="the checkout whose src is measured")
    parser.add_argument("--out", type=Path, help="write the hashes here, as JSON")
    parser.add_argument("--against", type=Path, help="hashes to compare with: exit code 1 where any differs")
    parser.add_argument("--keep", type=Path, help="a new folder for the runs, which stay there")
    given = parser.parse_args()
    unknown = sorted(set(given.only or ()) - SETS[given.set].keys())
    if unknown:
        parser.error(f"the {given.set} set has no part {unknown[0]!r}. It has: {', '.join(SETS[given.set])}.")
    if given.keep and given.keep.exists():
        parser.error(f"--keep {given.keep} is there already. Give a folder that is not.")
    before = read_hashes(parser, given.against) if given.against else None
    if given.keep:
        given.keep.mkdir(parents=True)
        found = measure(given, given.keep.resolve())
    else:
        with tempfile.TemporaryDirectory(prefix="same-bits-") as folder:
            found = measure(given, Path(folder).resolve())
    if given.out:
        given.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0 if before is None else compare(given, before, found)


def read_hashes(parser: argparse.ArgumentParser, path: Path) -> dict[str, str]:
    """Before anything is run, so that a wrong path costs nothing."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        parser.error(f"--against {path}: {error}. Give a file that --out has written.")


def compare(given: argparse.Namespace, before: Mapping[str, str], found: Mapping[str, str]) -> int:
    """With --only, what was measured is compared with the same runs of the file."""
    runs = {name.split("/")[1] for name in found}
    prefix = f"{given.set}/"
    wanted = {
        name: value
        for name, value in before.items()
        if name.startswith(prefix) and (not given.only or name.split("/")[1] in runs)
    }
    different = differences(wanted, found)
    for line in different:
        print(line)
    if different:
        print(f"{len(different)} of {len(wanted)} artefacts differ from {given.against}")
        return 1
    print(f"{len(found)} artefacts, the same bits")
    return 0


if __name__ == "__main__":
    sys.exit(main())
