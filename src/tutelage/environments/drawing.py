"""Pictures of bodies of MuJoCo from their joints, without a window: small ones, since software draws them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from functools import lru_cache
from typing import Any

import numpy as np

from tutelage.environments.control import named

LONGEST_S = 120.0  # a software renderer draws dozens of small frames in seconds


def frames(name: str, scenes_TS: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[T, height, width, 3] uint8 of joint positions [T, S] of this environment. All calls from one thread."""
    model, data, renderer, mujoco = _studio(name, size)
    drawn = []
    for joints_S in scenes_TS:
        data.qpos[:] = joints_S
        mujoco.mj_forward(model, data)
        renderer.update_scene(data, camera=0 if model.ncam else -1)
        drawn.append(renderer.render())
    return np.stack(drawn)


def drawn_apart(name: str, scenes_TS: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
    """frames(), in a process of its own; None where nothing can be drawn.

    MuJoCo chooses its renderer when it is first imported: a process in which bodies move already has one, for windows.
    """
    written = io.BytesIO()
    np.save(written, scenes_TS)
    command = [sys.executable, "-m", "tutelage.environments.drawing", name, *map(str, size)]
    try:
        done = subprocess.run(command, input=written.getvalue(), capture_output=True, check=True, timeout=LONGEST_S)
    except (OSError, subprocess.SubprocessError):  # no MuJoCo, no renderer, or one that fell
        return None
    return np.load(io.BytesIO(done.stdout), allow_pickle=False)


@lru_cache(maxsize=2)
def _studio(name: str, size: tuple[int, int]) -> tuple[Any, Any, Any, Any]:
    os.environ.setdefault("MUJOCO_GL", "egl")
    import mujoco as physics  # its names are those of a compiled module, which a type checker does not see

    mujoco: Any = physics
    model: Any = named(name)().unwrapped.model  # pyright: ignore[reportAttributeAccessIssue]
    width, height = size
    return model, mujoco.MjData(model), mujoco.Renderer(model, height, width), mujoco


if __name__ == "__main__":
    joints_TS = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    np.save(sys.stdout.buffer, frames(sys.argv[1], joints_TS, (int(sys.argv[2]), int(sys.argv[3]))))
