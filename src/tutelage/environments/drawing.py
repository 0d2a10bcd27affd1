"""Pictures of bodies of MuJoCo from their joints, without a window: small ones, since software draws them."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import numpy as np

from tutelage.environments.control import named


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


@lru_cache(maxsize=2)
def _studio(name: str, size: tuple[int, int]) -> tuple[Any, Any, Any, Any]:
    os.environ.setdefault("MUJOCO_GL", "egl")
    import mujoco as physics  # its names are those of a compiled module, which a type checker does not see

    mujoco: Any = physics
    model: Any = named(name)().unwrapped.model  # pyright: ignore[reportAttributeAccessIssue]
    width, height = size
    return model, mujoco.MjData(model), mujoco.Renderer(model, height, width), mujoco
