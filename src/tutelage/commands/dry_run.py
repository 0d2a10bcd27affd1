"""`--dry-run`: what memory and time a run takes, from its models and a few steps whose result is thrown away.

The command's own function runs in a temporary folder, which is deleted, until its training has done a few steps.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from tutelage.commands.answers import store_of
from tutelage.commands.verbs import VERBS
from tutelage.data.errors import InputError
from tutelage.execution.learner import LocalLearner
from tutelage.execution.preflight import activation_bytes, learning_bytes
from tutelage.execution.ranks import refuse_without_rank_0
from tutelage.models.bytes import bytes_by_holder
from tutelage.models.pretrained import free_bytes
from tutelage.runs.checkpoints import Stateful
from tutelage.runs.progress import ProgressSettings
from tutelage.runs.run import Run
from tutelage.training.disk_space import CHECKPOINT, bytes_to_save
from tutelage.training.engine import LOCAL
from tutelage.trajectory import Rows, Sums

FEWEST_STEPS, MOST_STEPS = 2, 20  # of the calibration; the first is warm-up, and not in the mean
ENOUGH_SECONDS = 3.0


class Calibrated(Exception):
    """The calibration has done its steps."""


class DryRun(Run):
    """A run of a few steps that keeps nothing, and measures.

    seconds: of each step; steps_planned: of the whole training; peaks: bytes of the process after each step
    """

    def __init__(self, path: Path, began: float) -> None:
        super().__init__(path)
        self.began, self.seconds, self.steps_planned = began, list[float](), 0
        self.until_first_step = 0.0
        self.device = torch.device("cpu")
        self.learner: CountingLearner | None = None
        self.engine = replace(LOCAL, make_learner=self.make_learner)

    def make_learner(self, *arguments: Any, **settings: Any) -> CountingLearner:
        self.learner = CountingLearner(*arguments, **settings)
        return self.learner

    def stage(self, name: str) -> Run:
        """This run itself: only the first stage is looked at."""
        return self

    def begin_training(self, task: Any, models: Any) -> None:
        """Prints the bytes of what is in memory and what training adds; InputError where the rest does not fit."""
        policy, learner = models.policy, self.learner
        assert learner is not None
        self.device = next(policy.parameters()).device
        score = getattr(task, "score", None)
        holders = {"policy": policy, "reference": models.reference, "critic": models.critic, "reward": score}
        sizes = bytes_by_holder(**holders, held_out=getattr(task, "held_out", None))
        parameters = [each for group in learner.parameters.values() for each in group]
        learning, kept = learning_bytes(parameters), activation_bytes(policy.model, learner.tokens_at_once)
        free, learned = free_bytes(self.device), sum(each.numel() for each in parameters)
        weights = ", ".join(f"{name} {in_gib(size)}" for name, size in sizes.items() if size or name == "policy")
        tell("weights", f"{in_gib(sum(sizes.values()))}: {weights} (what is shared is counted once)")
        tell("gradients and moments", f"{in_gib(learning)}, {learned:,} weights learn")
        tell("activations, at most", f"{in_gib(kept)}, a micro-batch of {learner.tokens_at_once:,} tokens")
        tell("memory available", f"{in_gib(free)} on {self.device}")
        disk = f"model {in_gib(bytes_to_save(policy))}, each checkpoint {in_gib(CHECKPOINT * learned)}"
        tell("disk", disk)
        if learning + kept > free:
            raise InputError(
                f"training needs about {in_gib(learning + kept)} more, and {in_gib(free)} are available. Lower "
                "--tokens-at-once, train a LoRA adapter (--lora-rank), or take a smaller model."
            )

    def steps(
        self,
        count: int,
        shows: Sequence[str] = (),
        state: Mapping[str, Stateful] | None = None,
        best: str = "",
        told: ProgressSettings = ProgressSettings(),
    ) -> Iterator[int]:
        """A few of the steps, each timed; then `Calibrated`, out of the algorithm's page."""
        self.steps_planned, self.until_first_step = count, time.monotonic() - self.began
        for self.step in range(min(count, MOST_STEPS)):
            started = self._lapped = time.monotonic()
            yield self.step
            self.seconds.append(time.monotonic() - started)
            if len(self.seconds) >= FEWEST_STEPS and sum(self.seconds) >= ENOUGH_SECONDS:
                break
        raise Calibrated

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Nothing is kept; the last metrics are there for whoever asks."""
        self.latest, self._noted = {**metrics, **self._noted}, {}

    def keep_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Nothing is kept."""

    def tell_result(self, trainings: int) -> None:
        """Prints what was measured, and what follows for the whole run. trainings: how many such trainings it has"""
        assert self.learner is not None
        first, later = self.seconds[0], self.seconds[1:] or self.seconds
        step = sum(later) / len(later)
        training = first + max(0, self.steps_planned - 1) * step
        total = self.until_first_step + trainings * training
        kept = self.learner.kept_bytes
        phases = {name[8:]: value for name, value in self.latest.items() if name.startswith("seconds_")}
        parts = ", ".join(f"{name} {value:.1f}" for name, value in phases.items())
        tell("activations, counted", f"{in_gib(kept)}, kept for the gradient of the largest micro-batch")
        tell(
            "peak memory, measured",
            f"{in_gib(peak_bytes(self.device))}, of the calibration's {len(self.seconds)} steps",
        )
        tell("seconds a step", f"{step:.3g}" + (f" ({parts})" if parts else "") + f"; the first {first:.3g}")
        times = f"{trainings} x " if trainings > 1 else ""
        before = f"{in_time(self.until_first_step)} of them before the first step"
        tell("whole run", f"{in_time(total)} for {times}{self.steps_planned:,} steps, {before}")


class CountingLearner(LocalLearner):
    """A learner that counts, in its first update, the bytes that a micro-batch keeps for its gradient."""

    kept_bytes = 0

    def update(self, rows: Rows, loss: Callable[[Any], Sums]) -> dict[str, float]:
        if self.updates:
            return super().update(rows, loss)
        weights = {each.untyped_storage().data_ptr() for group in self.parameters.values() for each in group}

        def count_bytes(part: Any) -> Sums:
            sums, kept = count_saved(lambda: loss(part), weights)
            self.kept_bytes = max(self.kept_bytes, kept)
            return sums

        return super().update(rows, count_bytes)


def count_saved(compute: Callable[[], Sums], weights: set[int]) -> tuple[Sums, int]:
    """(what `compute` gives, bytes of the storages that it saved for backward, each once, weights not among them).

    weights: addresses of storages that are not counted; those of any nn.Parameter are not counted either
    """
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter) and storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        sums = compute()
    return sums, sum(kept.values())


def main(name: str, job: Any, place: Any) -> int:
    """Runs `tutelage NAME` up to a few steps of training, in a folder that is deleted, and prints what they took."""
    began = psutil.Process().create_time()
    began = time.monotonic() - max(0.0, time.time() - began)  # loading torch counts, as it does in a run
    refuse_unfit(name, job)
    refuse_without_rank_0(f"`tutelage {name} --dry-run`")
    tell("dry run", f"of `tutelage {name}`; nothing is written in {place.out}")
    with tempfile.TemporaryDirectory(prefix="tutelage-dry-run-") as folder:
        run = DryRun(Path(folder), began)
        run.skip_preflight = place.skip_preflight
        try:
            VERBS[name].load()[1](job, run)
        except Calibrated:
            run.tell_result(number_of_trainings(job))
    return 0


def refuse_unfit(name: str, job: Any) -> None:
    """InputError where the verb does not train once by steps, or would write elsewhere than in its run's folder."""
    if not hasattr(getattr(job, "settings", None), "tokens_at_once") or not hasattr(job, "model"):
        raise InputError(f"--dry-run is for verbs that train one model, such as ppo, sft and reward-model, not {name}.")
    if getattr(job, "data", "") and store_of(job.data) is not None:
        raise InputError(
            f"--dry-run writes nothing, and a run on {job.data} takes a snapshot of its labels. Export them first: "
            "tutelage feedback export."
        )


def number_of_trainings(job: Any) -> int:
    """Reward models of an ensemble are trained one after the other, unless they share a trunk."""
    ensemble = getattr(job, "ensemble", None)
    return 1 if ensemble is None or ensemble.shared_trunk else max(1, ensemble.members)


def peak_bytes(device: torch.device) -> int:
    """The most memory so far: of torch on a GPU, of the process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    memory: Any = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # Windows
        return int(memory.peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def tell(what: str, found: str) -> None:
    print(f"  {what:24s} {found}", flush=True)


def in_gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**27 else f"{size / 2**20:.1f} MiB"


def in_time(seconds: float) -> str:
    """In seconds, minutes or hours, as a person says it."""
    if not math.isfinite(seconds) or seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
