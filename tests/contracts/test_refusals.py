"""A command that refuses what it was given leaves the disk as it was, and works once it is corrected."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tutelage.cli import run_command
from tutelage.commands.verbs import VERBS
from tutelage.runs.files import read_lines

SHORT = ["--max-new-tokens", "5"]
JUDGED = ["--data", "prompts.jsonl", "--reward", "own:score", *SHORT]
ACTING = ("a2c", "nlpo", "rloo", "grpo", "online-dpo", "expert-iteration")
GROUPS = ["--steps", "2", "--trajectories", "4", "--max-new-tokens", "5", "--skip-preflight"]
PTX = ["--model", "tiny-model", "--pretraining-data", "text.txt"]
FEW = ["--steps", "2", "--trajectories", "4", "--epochs", "1", "--max-new-tokens", "5", "--skip-preflight"]


@pytest.fixture
def here(files, model_folder, monkeypatch):
    """A folder of a user's own: a model, data and a reward function; it is the current folder."""
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (files / "stingy.py").write_text("def score(prompts, responses):\n    return [1.0]\n")
    (files / "text.txt").write_text("one two three\n")
    (files / "wrong.jsonl").write_text(json.dumps({"question": "a", "answer": "b"}) + "\n")
    (files / "empty.jsonl").write_text("")
    (files / "thing").mkdir()
    return files


def corrected(verb):
    """A command of this verb that works, in the folder `here`."""
    return {
        "sft": ["--model", "tiny-model", "--data", "demonstrations.jsonl", "--steps", "2"],
        "reward-model": ["--model", "tiny-model", "--data", "comparisons.jsonl", "--epochs", "1"],
        "ppo": ["--model", "tiny-model", "--data", "prompts.jsonl", "--reward", "own:score", *FEW],
        **{
            key: ["--model", "tiny-model", "--data", "prompts.jsonl", "--reward", "own:score", *GROUPS]
            for key in ACTING
        },
        "ppo-ptx": [*PTX, "--data", "prompts.jsonl", "--reward", "own:score", *FEW],
        **{key: ["--model", "tiny-model", "--data", "comparisons.jsonl", "--steps", "2"] for key in ("dpo", "kto")},
        "recipe assistant": ["--model", "tiny-model", "--data", "comparisons.jsonl"],
        "best-of-n": ["--model", "tiny-model", "--data", "prompts.jsonl", "--reward", "own:score", *SHORT],
        "evaluate": ["--model", "tiny-model", "--baseline", "tiny-model", *JUDGED],
        "evaluate policies": ["tiny-model", "tiny-model", "--data", "prompts.jsonl", "--judge", "own:score"],
        "recipe sentiment": ["--model", "tiny-model", "--prompts", "text.txt", "--sentiment-data", "thing"],
        "evaluate reward-model": ["tiny-model", "--data", "comparisons.jsonl"],
        "evaluate learning-curve": ["--model", "tiny-model", "--data", "comparisons.jsonl"],
    }.get(verb, [])


JUDGE = "--labeller http://127.0.0.1:9/v1 --judge-model nobody"  # is not asked before a policy is there
OF_ACTING = [
    "--model thing",
    "--data wrong.jsonl",
    "--reward own:scor",
    "--trajectories 0",
    "--temperature 0",
    "--seed -1",
]
BAD = {
    **dict.fromkeys(("a2c", "nlpo"), OF_ACTING),
    **{key: [*OF_ACTING, "--samples 0"] for key in ("rloo", "grpo", "online-dpo", "expert-iteration")},
    "ppo-ptx": [*OF_ACTING, "--pretraining-data nowhere.txt", "--pretraining-data empty.jsonl", "--ptx-batch-size 0"],
    **{
        key: ["--model thing", "--data nowhere.jsonl", "--data wrong.jsonl", "--beta 0", "--batch-size 0", "--seed -1"]
        for key in ("dpo", "kto")
    },
    "compare": ["--algorithms trpo", "--learning-rates ppo=fast", "--seeds 0", "--ppo-steps 0", "--start.labels 0"],
    "recipe assistant": ["--model thing", "--data nowhere.jsonl", "--evaluation-prompts 0", "--seeds 0"],
    "sft": [
        "--model nowhere/model",
        "--model thing",
        "--data nowhere.jsonl",
        "--data wrong.jsonl",
        "--data empty.jsonl",
        "--steps 0",
        "--batch-size 0",
        "--learning-rate nan",
        "--device tpu9",
        "--max-tokens 1",
        "--track nobody",
    ],
    "reward-model": [
        "--model thing",
        "--data nowhere.jsonl",
        "--data wrong.jsonl",
        "--data prompts.jsonl",
        "--batch-size -1",
        "--members 0",
        "--learning-rate inf",
        "--seed -1",
    ],
    "ppo": [
        "--model thing",
        "--data empty.jsonl",
        "--data wrong.jsonl",
        "--reward thing",
        "--reward nowhere:score",
        "--reward own:scor",
        "--reward stingy:score",
        "--reward own",
        "--held-out-reward nowhere:score",
        "--trajectories 0",
        "--epochs 0",
        "--minibatches 0",
        "--temperature 0",
        "--temperature -1",
        "--gamma 2",
        "--max-new-tokens 0",
        "--max-new-tokens 64",
        "--top-p 0",
        "--top-k -1",
        "--stop-at-peak 3",
        "--lora-rank -1",
        "--clip-range -1",
        "--seed -1",
        "--tokens-at-once 0",
        "--kl-target-nats 0",
        "--checkpoint-seconds -1",
    ],
    "best-of-n": [
        "--model thing",
        "--data nowhere.jsonl",
        "--data wrong.jsonl",
        "--reward nowhere:score",
        "--n 0",
        "--reward own:scor",
        "--reward stingy:score",
        "--limit 0",
        "--limit -1",
        "--temperature 0",
        "--seed -1",
    ],
    "evaluate": [
        "--model thing",
        "--baseline thing",
        "--data nowhere.jsonl",
        "--reward own:scor",
        "--limit 0",
        "--reward stingy:score",
        "--temperature 0",
        "--max-new-tokens 0",
    ],
    "evaluate policies": [
        "--judge own:scor",
        "--judge nobody",
        "--data wrong.jsonl",
        "--judge stingy:score",
    ],
    "evaluate reward-model": [
        "--data nowhere.jsonl",
    ],
    "evaluate learning-curve": [
        "--data wrong.jsonl",
        "--model thing",
        "--seeds 0",
    ],
    "demo": [
        "--labeller nowhere/folder",
        "--labels 0",
        "--sft.steps 0",
        "--width 0",
        "--ppo.temperature 1",
    ],
    "loop": [
        "--model tiny-model",
        "--labeller nowhere/folder",
        "--rounds 0",
        "--labels-per-round 0",
        f"--model tiny-model --data nowhere.jsonl {JUDGE}",
        f"--model tiny-model --data wrong.jsonl {JUDGE}",
        f"--model thing --data prompts.jsonl {JUDGE}",
    ],
    "overoptimise": [
        "--seeds 0",
        "--labels 0",
        "--best-of 0",
        "--ppo.steps 0",
        "--members 0",
    ],
    "frontier": [
        "--seeds 0",
        "--kl-budgets 0",
        "--keep-breaks-under 2",
        "--labels 0",
        "--ppo.trajectories 0",
    ],
    "recipe christiano": [
        "--env nowhere",
        "--labels 0",
        "--seed -1",
    ],
    "recipe sentiment": [
        "--prompts nowhere.txt",
        "--sentiment-data nowhere",
        "--labels 0",
    ],
    "recipe tamer": [
        "--speaks 2",
        "--seeds 0",
        "--games 0",
        "--errs -1",
    ],
}


def given(verb, bad, out):
    """The corrected command with these flags in the place of its own."""
    flags, found = bad.split(), corrected(verb)
    for flag in flags[::2]:
        if flag in found:
            place = found.index(flag)
            found = found[:place] + found[place + 2 :]
    return [*verb.split(), *found, *flags, "--out", str(out)]


def code_of(command):
    try:
        return run_command(command)
    except SystemExit as ended:  # a flag that tyro refuses
        return ended.code


def test_every_verb_that_leaves_a_run_is_tried():
    assert BAD.keys() == VERBS.keys()


@pytest.mark.parametrize(("verb", "bad"), [(verb, bad) for verb, found in BAD.items() for bad in found])
def test_a_refused_command_leaves_no_folder(here, capsys, verb, bad):
    (here / "own.py").write_text(
        "def score(prompts, responses):\n    return [float(len(each)) for each in responses]\n"
    )
    before = sorted(here.rglob("*"))
    assert code_of(given(verb, bad, here / "deep" / "run")) == 2, capsys.readouterr().err
    assert "Traceback" not in capsys.readouterr().err
    assert [each for each in sorted(here.rglob("*")) if "__pycache__" not in each.parts] == before


@pytest.mark.parametrize("verb", ["sft", "reward-model", "ppo", "best-of-n", "evaluate"])
def test_the_corrected_command_works_in_the_same_place(here, verb):
    (here / "own.py").write_text(
        "def score(prompts, responses):\n    return [float(len(each)) for each in responses]\n"
    )
    out = here / "run"
    for bad in BAD[verb][:1] + BAD[verb][-1:]:
        assert run_command(given(verb, bad, out)) == 2
    assert run_command([verb, *corrected(verb), "--out", str(out)]) == 0
    assert json.loads((out / "state.json").read_text())["status"] == "finished"


def test_a_failed_preflight_leaves_no_folder(here, capsys):
    (here / "own.py").write_text("def score(prompts, responses):\n    return [1.0 for each in responses]\n")
    command = ["ppo", *(each for each in corrected("ppo") if each != "--skip-preflight"), "--out", str(here / "run")]
    assert run_command(command) == 2
    assert "preflight" in capsys.readouterr().err and not (here / "run").exists()


def test_what_stood_there_before_stays_as_it_was(here):
    out = here / "run"
    out.mkdir()
    assert run_command(given("sft", "--data nowhere.jsonl", out)) == 2
    assert list(out.iterdir()) == []
    (out / "config.json").write_text("{}")  # of a run that was killed before it began
    assert run_command(given("sft", "--data nowhere.jsonl", out)) == 2
    assert (out / "config.json").read_text() == "{}"
    assert run_command(["sft", *corrected("sft"), "--out", str(out)]) == 0
    before = {each: each.read_bytes() for each in out.rglob("*") if each.is_file()}
    for extra in ([], ["--overwrite"]):  # a refused --overwrite has not cost the run that it would have replaced
        assert run_command([*given("sft", "--data nowhere.jsonl", out), *extra]) == 2
        assert {each: each.read_bytes() for each in out.rglob("*") if each.is_file()} == before
    assert run_command(["sft", *corrected("sft"), "--seed", "3", "--out", str(out), "--overwrite"]) == 0
    assert json.loads((out / "config.json").read_text())["settings"]["settings"]["seed"] == 3
    assert not [each for each in here.iterdir() if each.name.startswith(".")]


def test_a_kill_while_a_run_is_being_replaced_loses_nothing(here):
    out = here / "run"
    assert run_command(["sft", *corrected("sft"), "--out", str(out)]) == 0
    out.rename(here / ".run.replaced")  # killed between moving it aside and beginning the new one
    assert run_command(["sft", *corrected("sft"), "--out", str(out)]) == 2
    assert (out / "summary.json").exists() and not (here / ".run.replaced").exists()
    shutil.copytree(out, here / ".run.replaced")  # killed before the new one had a result
    (out / "summary.json").unlink()
    assert run_command([*given("sft", "--data nowhere.jsonl", out), "--overwrite"]) == 2
    assert (out / "summary.json").exists()


CRASHES = """
calls = []
def score(prompts, responses):
    calls.append(1)
    if len(calls) == 3:  # the first two are of step 0: its episodes, and the prompts that are looked at
        raise {error}
    return [1.0] * len(responses)
"""


@pytest.mark.parametrize("error", ["ValueError('late')", "KeyboardInterrupt", "SystemExit(1)"])
def test_a_run_with_results_keeps_its_folder_whatever_ends_it(here, error, monkeypatch):
    monkeypatch.delitem(sys.modules, "own", raising=False)
    (here / "own.py").write_text(CRASHES.format(error=error))
    code = code_of(["ppo", *corrected("ppo"), "--checkpoint-seconds", "0", "--out", str(here / "run")])
    assert code in (1, 2, 130)
    assert len(read_lines(here / "run" / "events.jsonl")) == 1
    assert json.loads((here / "run" / "state.json").read_text())["status"] == "interrupted"


@pytest.fixture(autouse=True)
def fresh_own():
    """Each test writes its own module of that name."""
    for name in ("own", "stingy"):
        sys.modules.pop(name, None)
    yield
    for name in ("own", "stingy"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_resume_finds_data_and_reward_from_another_folder(here, tmp_path_factory, monkeypatch):
    monkeypatch.delitem(sys.modules, "own", raising=False)
    (here / "own.py").write_text(CRASHES.format(error="KeyboardInterrupt"))
    assert run_command(["ppo", *corrected("ppo"), "--checkpoint-seconds", "0", "--out", "run"]) == 130
    (here / "own.py").write_text("def score(prompts, responses):\n    return [1.0] * len(responses)\n")
    program = [sys.executable, "-m", "tutelage.cli", "resume", str(here / "run")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["OMP_NUM_THREADS"] = str(torch.get_num_threads())  # another number of threads is another run
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.rmtree(here / "__pycache__", ignore_errors=True)
    found = subprocess.run(program, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    assert json.loads((here / "run" / "state.json").read_text())["status"] == "finished"
