"""Clips in a folder: what was observed, done, earned and drawn over a few steps, one small file each.

A clip's name is made of its content and tells nothing else. `layout.json` says which column is what:

    clips/layout.json      {"draws": "pendulum", "seconds_per_step": 0.05, "columns": {"observations": 3, …}}
    clips/3f0c….npy        [steps + 1, columns] float32; the last row has no action and no reward
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tutelage.data.errors import InputError

LAYOUT = "layout.json"
NAME = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Layout:
    """draws: how a scene is drawn (pendulum, cart-pole, or the id of a MuJoCo environment)

    columns: name -> how many, in order: observations, actions, scenes, rewards
    """

    draws: str
    seconds_per_step: float
    columns: Mapping[str, int]

    def split(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        ends = np.cumsum(list(self.columns.values()))[:-1]
        return dict(zip(self.columns, np.split(rows, ends, axis=1), strict=True))


@dataclass(frozen=True)
class Clips:
    """The clips of a run."""

    folder: Path
    layout: Layout

    def keep(self, **parts: np.ndarray) -> str:
        """Writes a clip, if it is not there yet; its name. Parts by the names of the layout, [steps + 1, columns]."""
        rows = np.concatenate([parts[name].astype(np.float32) for name in self.layout.columns], axis=1)
        name = hashlib.sha256(rows.tobytes()).hexdigest()[:16]
        target = self.folder / f"{name}.npy"
        if not target.exists():
            written = io.BytesIO()
            np.save(written, rows)
            aside = target.with_suffix(".part")
            aside.write_bytes(written.getvalue())
            aside.replace(target)
        return name

    def load(self, name: str) -> dict[str, np.ndarray]:
        """Its parts; InputError for a name that is none, or a clip that is not there or damaged."""
        path = self.folder / f"{name}.npy"
        if not NAME.fullmatch(name) or not path.is_file():
            raise InputError(f"there is no clip {name!r:.40} in {self.folder}.")
        try:
            rows = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise InputError(f"the clip {path} is damaged ({error}).") from error
        if rows.ndim != 2 or rows.shape[1] != sum(self.layout.columns.values()):
            raise InputError(f"the clip {path} has the shape {rows.shape}, which is not that of {LAYOUT}.")
        return self.layout.split(rows)
