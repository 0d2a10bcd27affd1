"""What a stage must know to go on as if it had never stopped, in folders that are whole or not there.

    checkpoints/step-000120/state.pt        everything stateful, one name each
    checkpoints/step-000120/manifest.json   the step, a hash of the file and one of its content, lengths of the logs

A state is what cannot be computed again: weights, optimiser, controllers, random generators. Data order, rollouts and
frozen references are functions of the settings, the seed and the step, so they are not kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from tutelage.data.errors import InputError
from tutelage.execution.ranks import is_main_rank
from tutelage.runs.files import DISK, read_json, write_folder

State = Mapping[str, Any]
"""Tensors, numbers, texts, None, and lists and mappings of them."""


class Stateful(Protocol):
    """Something that changes while a stage runs. restore(state()) on a fresh one makes it the same."""

    def state(self) -> State: ...

    def restore(self, state: State) -> None: ...


class RandomGenerators:
    """The global generators of torch, numpy and Python: nothing here learns from them, but users' rewards may."""

    @staticmethod
    def begin() -> None:
        """The same start for every stage: loading a model draws, too (a fresh head), and a replay loads again."""
        torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
        np.random.seed(0)
        random.seed(0)

    def state(self) -> State:
        kind, keys, position, has_gauss, cached = cast("tuple[Any, ...]", np.random.get_state(legacy=True))
        version, numbers, gauss = random.getstate()
        return {
            "torch": torch.get_rng_state(),
            "numpy": [str(kind), torch.tensor(keys.astype(np.int64)), position, has_gauss, cached],
            "python": [version, list(numbers), gauss],
        }

    def restore(self, state: State) -> None:
        torch.set_rng_state(state["torch"])
        kind, keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
        version, numbers, gauss = state["python"]
        random.setstate((version, tuple(numbers), gauss))


RANDOM = RandomGenerators()


@dataclass(frozen=True)
class Checkpoint:
    """step: steps done. state: name -> state of each registered object. logs: file -> bytes at that moment."""

    step: int
    state: State
    content: str
    logs: Mapping[str, int] = field(default_factory=dict[str, int])


class DamagedError(Exception):
    """A checkpoint that is not what was written."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one stage.

    keep: how many stay, besides the one with the highest score: the newest two, others spread evenly over the run
    """

    folder: Path
    keep: int = 2

    def save(self, step: int, state: State, logs: Mapping[str, int], *, score: float | None = None) -> str:
        """Writes one and removes what is no longer kept; returns the hash of its content ("" on ranks other than 0).

        The state goes to the disk tensor by tensor and is hashed on the way: no second copy of it is made in memory.
        """
        if not is_main_rank():
            return ""
        content = content_hash(state)

        def fill(folder: Path) -> None:
            written = HashingWriter()
            DISK.stream(folder / "state.pt", lambda file: written.save(state, file))
            manifest = {
                "step": step,
                "content": content,
                "files": {"state.pt": {"sha256": written.digest.hexdigest(), "bytes": written.size}},
                "logs": dict(logs),
                "score": score,
            }
            manifest["seal"] = _seal(manifest)
            DISK.write(folder / "manifest.json", json.dumps(manifest, indent=2).encode())

        write_folder(self.path(step), fill)
        self._forget()
        return content

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """Of the checkpoints that are there, oldest first."""
        found: list[Path] = list(self.folder.glob("step-*")) if self.folder.is_dir() else []
        numbers = [(each, each.name.removeprefix("step-")) for each in found]
        return sorted(int(n) for each, n in numbers if n.isascii() and n.isdigit() and each == self.path(int(n)))

    def latest(self) -> Checkpoint | None:
        """The newest one that is whole; a damaged one is named and passed over."""
        for step in reversed(self.steps()):
            try:
                return self.load(step)
            except DamagedError as error:
                print(f"{self.path(step)} is damaged ({error}); the one before it is used.", file=sys.stderr)
        return None

    def load(self, step: int) -> Checkpoint:
        path = self.path(step)
        try:
            manifest = read_json(path / "manifest.json")
            if manifest.pop("seal", None) != _seal(manifest):
                raise DamagedError("manifest.json is not what was written")
            written = manifest["files"]["state.pt"]
            with (path / "state.pt").open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                if size != written["bytes"]:
                    raise DamagedError(f"state.pt has {size} bytes, {written['bytes']} were written")
                file.seek(0)
                if hashlib.file_digest(file, "sha256").hexdigest() != written["sha256"]:
                    raise DamagedError("the hash of state.pt is not the one that was written")
                file.seek(0)
                state = cast("State", torch.load(file, weights_only=True))
            if content_hash(state) != manifest["content"]:
                raise DamagedError("the hash of its content is not the one that was written")
            return Checkpoint(manifest["step"], state, manifest["content"], manifest["logs"])
        except (InputError, OSError, EOFError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedError(str(error)) from error
        except (pickle.UnpicklingError, RuntimeError, AssertionError, LookupError) as error:  # a forged state.pt
            raise DamagedError(str(error)) from error

    def remove_after(self, step: int) -> None:
        """Removes those beyond `step` and what was left half written: a resumed stage writes its own."""
        if not is_main_rank():
            return
        for each in self.steps():
            if each > step:
                shutil.rmtree(self.path(each))
        if self.folder.is_dir():
            for part in self.folder.glob("*.part"):
                shutil.rmtree(part)

    def best(self) -> int | None:
        """The step of the checkpoint with the highest score: best so far, since it is never forgotten."""
        scores = [(self._manifest(step).get("score"), step) for step in self.steps()]
        numbers = [(score, step) for score, step in scores if isinstance(score, (int, float))]
        return max(numbers, default=(0.0, None))[1]

    def _manifest(self, step: int) -> dict[str, Any]:
        try:
            manifest = read_json(self.path(step) / "manifest.json")
        except InputError:
            return {}
        return manifest if manifest.pop("seal", None) == _seal(manifest) else {}

    def _forget(self) -> None:
        kept, best = self.steps(), self.best()
        while len(older := [step for step in kept[:-2] if step != best]) > self.keep - 2:
            gaps = {step: after - before for before, step, after in zip([0, *kept], kept, kept[1:], strict=False)}
            crowded = min(older, key=lambda step: gaps[step])
            shutil.rmtree(self.path(crowded))
            kept.remove(crowded)


class HashingWriter:
    """What torch.save writes to: passes the bytes on to a file, and counts and hashes them. One file for each writer.

    torch.save reports a failed write as an error of its own; `save` raises the OSError that was its cause.
    """

    def __init__(self) -> None:
        self.digest, self.size = hashlib.sha256(), 0
        self._file: BinaryIO | None = None
        self._error: OSError | None = None

    def save(self, state: State, file: BinaryIO) -> None:
        self._file = file
        try:
            torch.save(state, cast("Any", self))
        except (OSError, RuntimeError) as error:
            raise self._error or error from error

    def write(self, content: memoryview) -> int:
        assert self._file is not None
        if self._error is not None:
            raise self._error
        try:
            self._file.write(content)
        except OSError as error:
            self._error = error
            raise
        self.digest.update(content)
        self.size += len(content)
        return len(content)

    def flush(self) -> None:
        """The file is flushed by whoever opened it."""


def _seal(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def content_hash(state: State) -> str:
    """SHA-256 over every name, shape, type and bit of a state; the same for equal states, however they were stored."""
    digest = hashlib.sha256()
    for name, value in _leaves(state, ""):
        digest.update(name.encode())
        if isinstance(value, Tensor):
            plain = value.detach().cpu().contiguous()
            digest.update(f"{plain.dtype}{tuple(plain.shape)}".encode())
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b"")
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()


def _leaves(value: object, name: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, each in cast("Mapping[object, object]", value).items():
            yield from _leaves(each, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for place, each in enumerate(cast("list[object]", value)):
            yield from _leaves(each, f"{name}[{place}]")
    else:
        yield name, value
