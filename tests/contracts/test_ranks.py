"""Ranks other than 0 train, read and stop with rank 0; they write and print nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
import torch
from tests.conftest import llama_config
from tests.resuming import kind_of_run
from transformers import LlamaForCausalLM

from tutelage.algorithms.peak import WINDOW
from tutelage.algorithms.ppo import PPOConfig, ppo
from tutelage.cli import run_command
from tutelage.data.errors import InputError
from tutelage.doctor.watching import Diseased, Watch
from tutelage.environments.language import Language
from tutelage.execution import ranks
from tutelage.execution.learner import LocalLearner, NotFinite
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.policies.language import Frozen, LanguagePolicy, SharedCritic
from tutelage.runs import trackers
from tutelage.runs.checkpoints import content_hash
from tutelage.runs.files import read_json, write_json
from tutelage.runs.log import OutputLog
from tutelage.runs.run import Run
from tutelage.trajectory import Key, Task


@pytest.fixture
def other_rank(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")


@pytest.fixture
def no_tracker(monkeypatch):
    def opened(folder):
        raise AssertionError(f"a tracker was opened in {folder}")

    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", opened)


def test_the_environment_says_which_rank_this_is(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (ranks.rank(), ranks.world_size(), ranks.is_main_rank()) == (0, 1, True)
    monkeypatch.setenv("RANK", "3")
    assert (ranks.rank(), ranks.world_size(), ranks.is_main_rank()) == (3, 4, False)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert ranks.world_size() == 8
    monkeypatch.setenv("RANK", "")
    assert ranks.is_main_rank()


def test_a_rank_beyond_the_number_of_ranks_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="RANK is 5 and WORLD_SIZE 2: expected a rank from 0 to 1"):
        ranks.rank()


@pytest.mark.parametrize("given", ["one", "-1", "1.5", "²"])
def test_a_rank_that_is_no_number_is_refused_in_one_sentence(given, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("RANK", given)
    with pytest.raises(InputError, match=r"environment variable RANK is .* whole number of 0 or more"):
        ranks.rank()
    assert run_command(["sft", "--model", "m", "--data", "d", "--out", str(tmp_path / "x")]) == 2
    assert "RANK" in capsys.readouterr().err and not (tmp_path / "x").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sft", "reward-model", "ppo"])
def test_another_rank_trains_and_leaves_nothing(name, tmp_path, other_rank, no_tracker, monkeypatch, capfd):
    command = kind_of_run(name, tmp_path)
    capfd.readouterr()
    updates, update = [], LocalLearner.update
    monkeypatch.setattr(LocalLearner, "update", lambda self, *rows: updates.append(1) or update(self, *rows))
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert run_command([*command, "--out", str(tmp_path / "x"), "--track", "tensorboard"]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    assert updates and capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_another_rank_in_a_process_of_its_own(tmp_path):
    environment = {**os.environ, "RANK": "1", "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tutelage.cli", *kind_of_run("sft", tmp_path), "--out", str(tmp_path / "x")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "x").exists()


def test_another_rank_says_what_ends_it(tmp_path, other_rank, capsys):
    assert run_command(["sft", "--model", str(tmp_path / "no"), "--data", "d", "--out", str(tmp_path / "x")]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("tutelage: rank 1: ") and not (tmp_path / "x").exists()


@pytest.mark.parametrize("verb", ["demo", "recipe christiano", "loop"])
def test_stages_that_read_files_need_rank_0(verb, tmp_path, other_rank, capsys):
    assert run_command([*verb.split(), "--out", str(tmp_path / "x")]) == 2
    assert "reads files that rank 0 writes, and RANK is 1" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    with pytest.raises(InputError, match="several stages"):
        Run.create(tmp_path / "x", {}).stage("first")


def test_work_of_one_process_is_refused(other_rank, capsys):
    assert run_command(["report", "runs/demo"]) == 2
    assert "is work of one process, and RANK is 1" in capsys.readouterr().err


class Counter:
    def __init__(self):
        self.value = torch.zeros(1)

    def state(self):
        return {"value": self.value.clone()}

    def restore(self, state):
        self.value = state["value"].clone()


def counted(run, steps, stop_at=None):
    counter, done = Counter(), []
    for step in run.steps(steps, ("loss",), state={"counter": counter}):
        if step == stop_at:
            raise KeyboardInterrupt
        done.append(step)
        counter.value += step
        run.record(step, {"loss": float(counter.value)})
        run.keep_samples(step, [{"prompt": "p"}])
    return counter.value, done


def test_a_run_writes_nothing_and_knows_its_own_results(tmp_path, other_rank, capfd):
    run = Run.create(tmp_path / "x", {"a": 1}, checkpoint_seconds=0)
    log = OutputLog(run.path, "here")
    run.trackers = (trackers.tracker("tensorboard", run.path),)
    value, done = counted(run, 4)
    run.piece("part", lambda: {"n": 1})
    run.mark_finished({"loss": 6.0})
    run.interrupted()
    log.end()
    assert (float(value), done, run.step_count(), run.summary, run.finished) == (
        6.0,
        [0, 1, 2, 3],
        4,
        {"loss": 6.0},
        True,
    )
    assert not list(tmp_path.iterdir()) and capfd.readouterr() == ("", "")


def test_another_rank_reads_the_checkpoints_of_a_resumed_run_only(tmp_path, monkeypatch):
    first = Run.create(tmp_path / "x", {"a": 1}, checkpoint_seconds=0)
    with pytest.raises(KeyboardInterrupt):
        counted(first, 6, stop_at=3)
    monkeypatch.setenv("RANK", "1")
    before = {each: each.read_bytes() for each in (tmp_path / "x").rglob("*") if each.is_file()}
    assert counted(Run.create(tmp_path / "x", {"a": 1}, resume=True, checkpoint_seconds=0), 6)[1] == [3, 4, 5]
    assert counted(Run.create(tmp_path / "x", {"a": 1}, overwrite=True), 6)[1] == [0, 1, 2, 3, 4, 5]
    with pytest.raises(InputError, match="other settings: a"):
        Run.create(tmp_path / "x", {"a": 2}, resume=True)
    assert {each: each.read_bytes() for each in (tmp_path / "x").rglob("*") if each.is_file()} == before


def says(decision):
    """In the place of a broadcast: rank 0 said so."""
    return lambda own: decision


@pytest.mark.parametrize("where", ["learner", "record", "doctor"])
def test_another_rank_stops_where_rank_0_does(where, tmp_path, other_rank, monkeypatch):
    run = Run.create(tmp_path / "x", {})
    weight = torch.nn.Parameter(torch.ones(1))
    learner = LocalLearner({"policy": ([weight], 0.1)})
    watch = Watch("stop")
    watch.records[str(run.path)] = 100
    acts = {
        "learner": (NotFinite, lambda: learner.update(Rows(), lambda rows: {"loss": weight.sum()})),
        "record": (FloatingPointError, lambda: run.record(0, {"loss": 1.0})),
        "doctor": (Diseased, lambda: watch(run)),
    }
    error, act = acts[where]
    act()
    watch.next_look.clear()
    monkeypatch.setattr(ranks, "rank_0_decides", says(True))
    with pytest.raises(error):
        act()


class Rows:
    lengths_B, weight = torch.ones(1, dtype=torch.long), 1.0

    def select(self, part):
        return self


def test_a_rank_that_cannot_go_on_does_not_wait_for_rank_0_to_agree(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "rank_0_decides", says(False))
    with pytest.raises(FloatingPointError, match="loss is nan"):
        Run.create(tmp_path / "x", {}).record(0, {"loss": float("nan")})


def steps_until_peak(folder, held_out):
    """(steps recorded, the step that the weights went back to, a hash of them) of PPO on a tiny policy."""
    torch.manual_seed(0)
    policy = LanguagePolicy(LlamaForCausalLM(llama_config()).eval())
    reference, critic = Frozen(policy), SharedCritic(policy)
    config = PPOConfig(steps=20, trajectories=4, epochs=1, stop_at_peak=3, learning_rate=1e-3)
    learner = LocalLearner({"policy": (critic.parameters(), config.learning_rate)})

    def score(batch):
        return batch.at_last_action(batch.lengths_B.float())

    task = Task(
        Language([[0, 5, 6], [0, 7]]), score, lambda step: [Key(step, n % 2, n) for n in range(4)], held_out=held_out
    )
    run = Run.create(folder, {})
    sampler = NativeSampler(policy, [1], 0, SamplingSettings(4))
    peak = ppo(config, task, critic, reference, sampler, learner, run)
    weights = {name: each.detach().clone() for name, each in critic.named_parameters()}
    return run.step_count(), peak, content_hash(weights)


def read_in_the_next_stage(folder):
    """What rank 0 wrote in the stage before."""
    run = Run.create(folder, {})
    first = run.stage("first")
    time.sleep(0.2)
    write_json(first.path / "made.json", {"number": 1})
    first.mark_finished({})
    run.stage("second")
    return read_json(folder / "first" / "made.json")["number"]


def peaked(number, store, folder, results):
    """Rank `number` of two, whose held-out score falls from the fourth step on on rank 0 and rises on rank 1."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=number, world_size=2)

    def held_out(batch):
        step = batch.keys[0].step
        value = float(min(step, 6 - step)) if number == 0 else float(step)
        return batch.at_last_action(torch.full((len(batch),), value))

    try:
        assert read_in_the_next_stage(folder.with_name("stages")) == 1
        results.put((number, *steps_until_peak(folder, held_out)))
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_stop_at_the_peak_of_rank_0(tmp_path):
    context = torch.multiprocessing.get_context("spawn")
    results = context.Queue()
    both = [context.Process(target=peaked, args=(n, tmp_path / "store", tmp_path / "x", results)) for n in range(2)]
    for each in both:
        each.start()
    found = sorted(results.get(timeout=90) for _ in both)
    for each in both:
        each.join(60)
    (_, steps_0, *weights_0), (_, steps_1, *weights_1) = found
    assert steps_0 == steps_1 < 20 and steps_0 >= WINDOW
    assert weights_0 == weights_1
    assert (tmp_path / "x" / "events.jsonl").read_text().count("\n") == steps_0
