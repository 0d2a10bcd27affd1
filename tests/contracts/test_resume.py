"""A run goes on from its last checkpoint as if it had never stopped; what is damaged is noticed and passed over."""

from __future__ import annotations

import errno
import gc
import io
import json
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from tests.launcher import Launcher
from tests.resuming import COMMANDS, differences, kind_of_run

from tutelage.cli import run_command
from tutelage.commands import loop
from tutelage.data.errors import InputError
from tutelage.runs import run as run_module
from tutelage.runs.checkpoints import Checkpoints, DamagedError, RandomGenerators, content_hash
from tutelage.runs.files import Disk, read_lines
from tutelage.runs.run import Run

IN_PROCESS = ("sft", "reward-model", "ppo", "recipe sentiment")


class Counter:
    """Something that changes at every step."""

    def __init__(self):
        self.value = torch.zeros(3)

    def state(self):
        return {"value": self.value.clone()}

    def restore(self, state):
        self.value = state["value"].clone()


def counted(run, steps, stop_at=None):
    counter = Counter()
    for step in run.steps(steps, state={"counter": counter}):
        if step == stop_at:
            raise KeyboardInterrupt
        counter.value += step + 1
        run.record(step, {"loss": float(counter.value[0])})
        run.keep_samples(step, [{"prompt": str(step)}])
    return counter.value


@pytest.fixture
def interrupted(tmp_path):
    """A run of ten steps that was stopped in step 6, with a checkpoint after each."""
    run = Run.create(tmp_path / "r", {}, checkpoint_seconds=0)
    with pytest.raises(KeyboardInterrupt):
        counted(run, 10, stop_at=6)
    return run


def again(run):
    return Run.create(run.path, {}, resume=True, checkpoint_seconds=0)


def test_it_goes_on_where_it_stopped(interrupted, tmp_path):
    whole = counted(Run.create(tmp_path / "whole", {}, checkpoint_seconds=0), 10)
    assert torch.equal(counted(again(interrupted), 10), whole)
    assert not differences(tmp_path / "whole", interrupted.path)


def test_what_was_written_after_the_checkpoint_is_done_again(interrupted):
    interrupted.record(6, {"loss": 99.0})
    interrupted.keep_samples(6, [{"prompt": "twice"}])
    counted(again(interrupted), 10)
    steps = [json.loads(line)["step"] for line in (interrupted.path / "events.jsonl").read_text().splitlines()]
    assert steps == list(range(10))
    assert "twice" not in (interrupted.path / "samples.jsonl").read_text()


@pytest.mark.parametrize("name", ["state.pt", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(interrupted, capsys, name, damage):
    path = interrupted.checkpoints.path(6) / name
    whole = path.read_bytes()
    middle = len(whole) // 2
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(whole[:middle] if damage == "cut" else flipped(whole, middle))
    with pytest.raises(DamagedError):
        interrupted.checkpoints.load(6)
    resumed = again(interrupted)
    assert "step-000006 is damaged" in capsys.readouterr().err
    assert next(iter(resumed.steps(10, state={"counter": Counter()}))) == 5


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_every_single_bit_of_a_manifest_is_guarded(tmp_path):
    kept = Checkpoints(tmp_path)
    kept.save(1, {"x": torch.arange(3)}, {"events.jsonl": 12})
    path = kept.path(1) / "manifest.json"
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(flipped(whole, place))
        try:
            assert kept.load(1).logs == {"events.jsonl": 12}  # a flip that JSON does not see, if any
        except DamagedError:
            continue


def test_the_newest_two_and_the_best_are_kept(tmp_path):
    scores = {1: 0.1, 2: 0.9, 3: 0.2, 4: 0.8, 5: 0.3, 6: 0.4, 7: 1.0, 8: 0.5, 9: 0.6}
    kept = Checkpoints(tmp_path, keep=2)
    for step in range(1, 7):
        Checkpoints(tmp_path, keep=2).save(step, {"x": step}, {}, score=scores[step])  # known again after a restart
    assert kept.steps() == [2, 5, 6] and kept.best() == 2
    for step in range(7, 10):
        kept.save(step, {"x": step}, {}, score=scores[step])
    assert kept.steps() == [7, 8, 9] and kept.best() == 7


def test_a_run_that_runs_is_left_alone(capsys, tmp_path):
    """Its process lives: neither --resume nor --overwrite may touch it; a dead one's folder is free."""
    Run.create(tmp_path / "out", {"a": 1})
    state = json.loads((tmp_path / "out" / "state.json").read_text())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        owner = {**state["process"], "id": other.pid, "started": psutil.Process(other.pid).create_time()}
        (tmp_path / "out" / "state.json").write_text(json.dumps({**state, "process": owner}))
        for how in ("resume", "overwrite"):
            with pytest.raises(InputError, match=f"is running, in process {other.pid}"):
                Run.create(tmp_path / "out", {"a": 1}, **{how: True})
        other.communicate(b"\n")
    Run.create(tmp_path / "out", {"a": 1}, resume=True)


def test_equal_states_have_equal_hashes_and_others_have_not():
    state = {"a": [torch.tensor([1.0, 2.0]), 3], "b": {"c": None}}
    assert content_hash(state) == content_hash({"a": [torch.tensor([1.0, 2.0]), 3], "b": {"c": None}})
    others = [
        {"a": [torch.tensor([1.0, 2.0000002]), 3], "b": {"c": None}},
        {"a": [torch.tensor([1.0, 2.0]).double(), 3], "b": {"c": None}},
        {"a": [torch.tensor([[1.0, 2.0]]), 3], "b": {"c": None}},
        {"a": [torch.tensor([1.0, 2.0]), 4], "b": {"c": None}},
        {"a": [torch.tensor([1.0, 2.0]), 3], "b": {"d": None}},
    ]
    assert len({content_hash(each) for each in [state, *others]}) == 6


def test_the_global_generators_go_on_too():
    import random

    import numpy as np

    def draw():
        return [float(torch.rand(())), float(np.random.rand()), random.random(), float(np.random.randn())]

    draw()
    kept = RandomGenerators().state()
    first = draw()
    draw()
    RandomGenerators().restore(kept)
    assert draw() == first


def test_a_full_disk_leaves_the_checkpoints_before(interrupted, monkeypatch):
    resumed, counter = again(interrupted), Counter()

    def full(self, path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        steps = resumed.steps(10, state={"counter": counter})
        next(steps)
        patched.setattr(Disk, "write", full)
        with pytest.raises(InputError, match="no space left"):
            next(steps)
    assert resumed.checkpoints.latest().step == 6
    assert torch.equal(counted(again(interrupted), 10), torch.full((3,), 55.0))


def test_saving_holds_no_second_copy_of_the_state(tmp_path):
    """Neither the bytes of the file nor those that are hashed: 64 MB of tensors of 4 MB each."""
    state = {"weights": [torch.full((1024, 1024), float(number)) for number in range(16)]}
    Checkpoints(tmp_path / "warm-up").save(0, {"x": torch.zeros(3)}, {})
    tracemalloc.start()
    try:
        Checkpoints(tmp_path / "kept").save(1, state, {})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.2 * 64 * 2**20, f"{peak / 2**20:.1f} MB"
    assert content_hash(Checkpoints(tmp_path / "kept").load(1).state) == content_hash(state)


def test_a_state_file_is_that_of_torch_save(tmp_path):
    """So that checkpoints of older versions are read, and older versions read these."""
    state = {"a": torch.arange(5.0), "b": [torch.zeros(2, 3), {"c": None}]}
    Checkpoints(tmp_path).save(1, state, {})
    whole = io.BytesIO()
    torch.save(state, whole)
    assert (Checkpoints(tmp_path).path(1) / "state.pt").read_bytes() == whole.getvalue()


def test_a_disk_that_fills_up_in_the_middle_of_a_state_is_named(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, content):
            if self.tell() > 3000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    kept = Checkpoints(tmp_path)
    kept.save(1, {"x": torch.zeros(3)}, {})
    monkeypatch.setattr(Disk, "stream", lambda self, path, pour: pour(Full()))
    with pytest.raises(InputError, match="no space left"):
        kept.save(2, {"x": [torch.zeros(1000), torch.zeros(1000)]}, {})
    assert kept.latest().step == 1


def test_another_thread_count_or_version_is_refused(interrupted, monkeypatch):
    monkeypatch.setattr(run_module, "surroundings", lambda: {**run_module_surroundings(), "threads": 77})
    with pytest.raises(InputError, match=r"begun elsewhere: threads \d+ \(now 77\)"):
        again(interrupted)


run_module_surroundings = run_module.surroundings


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_PROCESS)
def test_every_stateful_object_of_a_run_is_registered(name, tmp_path, monkeypatch):
    """Whatever offers state() and restore() and lives while a stage runs must stand in that stage's checkpoint."""
    kept, seen = Run._checkpoint, []

    def looking(self, step, best):
        if len(seen) >= 3:  # a collection of everything that torch and transformers hold takes a while
            return kept(self, step, best)
        gc.collect()
        alive = [each for each in gc.get_objects() if is_stateful(each)]
        forgotten = [each for each in alive if not any(each is known for known in self.stateful.values())]
        seen.append([type(each).__name__ for each in forgotten])
        return kept(self, step, best)

    monkeypatch.setattr(Run, "_checkpoint", looking)
    assert run_command([*kind_of_run(name, tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert len(seen) > 2
    assert not any(seen), seen


def is_stateful(each):
    kind = type(each)
    return str(kind.__module__).startswith("tutelage.") and hasattr(kind, "state") and hasattr(kind, "restore")


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_PROCESS)
def test_a_replay_arrives_at_the_same_bits(name, tmp_path, capsys):
    out = tmp_path / "out"
    assert run_command([*kind_of_run(name, tmp_path), "--out", str(out)]) == 0
    assert run_command(["verify-resume", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.count("the same to the bit") == (2 if name == "recipe sentiment" else 1)
    kept = Checkpoints(next(each for each in (out, out / "ppo") if (each / "checkpoints").is_dir()) / "checkpoints")
    *_, before, _ = kept.steps()
    spoiled = {**kept.load(before).state}
    spoiled["learner"]["parameters"] = {
        group: [tensor + 1e-3 for tensor in tensors] for group, tensors in spoiled["learner"]["parameters"].items()
    }
    kept.save(before, spoiled, kept.load(before).logs)
    assert run_command(["verify-resume", str(out)]) == 1
    assert "DIFFERENT" in capsys.readouterr().out


@pytest.fixture(scope="module")
def launcher():
    found = Launcher()
    yield found
    found.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_resumes_to_the_same_weights(launcher, name, tmp_path):
    """One run, killed at some operations of the disk; `make prove` kills at all of them and at random instants."""
    command = kind_of_run(name, tmp_path)
    assert launcher.run([*command, "--out", str(tmp_path / "whole")], log=tmp_path / "log") == 0, read(tmp_path)
    out = tmp_path / "out"
    arguments = [*command, "--out", str(out)]
    for number, when in ((9, "before"), (16, "after"), (12, "before")):
        assert launcher.run(arguments, (number, when), tmp_path / "log") in (0, -signal.SIGKILL), read(tmp_path)
        arguments = ["resume", str(out)]
    assert launcher.run(arguments, log=tmp_path / "log") == 0, read(tmp_path)
    assert not differences(tmp_path / "whole", out)


def read(root: Path) -> str:
    return (root / "log").read_text()


def test_a_finished_run_and_a_stranger_are_not_resumed(tmp_path, capsys):
    assert run_command([*kind_of_run("sft", tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert run_command(["resume", str(tmp_path / "out")]) == 0
    assert "is finished" in capsys.readouterr().out
    for wrong in (["resume", str(tmp_path)], ["resume"], ["verify-resume", str(tmp_path / "nowhere")]):
        assert run_command(wrong) == 2


@pytest.mark.slow
def test_memory_is_flat_over_two_hundred_iterations(tmp_path, monkeypatch):
    """Tensors alive and resident memory of PPO after 20 and after 220 iterations, every one checkpointed."""
    kept, seen = Run.record, {}

    def looking(self, step, metrics):
        kept(self, step, metrics)
        if step in (20, 220):
            gc.collect()
            tensors = sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            seen[step] = (tensors, pages * 4096 / 2**20)

    monkeypatch.setattr(Run, "record", looking)
    command = [*kind_of_run("ppo", tmp_path), "--steps", "221", "--out", str(tmp_path / "out")]
    assert run_command(command) == 0
    assert seen[220][0] == seen[20][0]
    assert seen[220][1] - seen[20][1] < 16, seen  # MiB; one batch kept an iteration would be more


def test_a_run_does_not_depend_on_what_was_drawn_before_it(model_folder, files, tmp_path):
    """A replay from the very beginning has no checkpoint to take the global generators from."""
    contents = []
    for name in ("first", "second"):
        torch.rand(len(contents) + 1)
        place = ["--data", str(files / "comparisons.jsonl"), "--out", str(tmp_path / name)]
        assert run_command(["reward-model", "--model", str(model_folder), *place, "--batch-size", "64"]) == 0
        contents.append(Checkpoints(tmp_path / name / "checkpoints").latest().content)
    assert contents[0] == contents[1]
    assert run_command(["verify-resume", str(tmp_path / "first")]) == 0


def test_a_first_stage_that_is_done_again_leaves_its_prompts_once(tmp_path, monkeypatch):
    """A kill after the prompts were written and before the stage was done: they were appended a second time once."""
    monkeypatch.setattr(loop, "own_prompts", lambda config: (["a", "b"], []))
    config, stage = SimpleNamespace(subject=SimpleNamespace(model="own")), SimpleNamespace(path=tmp_path)
    for _ in range(2):
        assert loop.first_stage(config, None, None, stage) == {"prompts": 2}
    assert read_lines(tmp_path / loop.PROMPTS) == [{"prompt": "a"}, {"prompt": "b"}]
