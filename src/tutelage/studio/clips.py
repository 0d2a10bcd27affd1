"""Clips as a browser gets them: states to draw on a canvas, or, of bodies of MuJoCo, small frames in one picture.

What a clip earned is in the same file and never leaves the server. Pictures are drawn once, in a thread of their own,
and kept beside the clips, so that neither training nor the answer before waits for them.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.data.errors import InputError
from tutelage.runs.files import read_json

if TYPE_CHECKING:  # a page without clips opens without numpy
    import numpy as np

    from tutelage.data.clips import Clips, Layout

ON_CANVAS = ("pendulum", "cart-pole")
WIDTH, HEIGHT, FRAMES_A_SECOND = 200, 150, 20.0
Draw = Callable[[str, "np.ndarray", tuple[int, int]], "np.ndarray"]
"""(id of an environment, scenes [T, S], (width, height)) -> [T, height, width, 3] uint8."""


def bodies(name: str, scenes_TS: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Loaded when a body is first drawn: it brings MuJoCo."""
    from tutelage.environments.drawing import frames

    return frames(name, scenes_TS, size)


class Shelf:
    """The clips of one project; it may be opened before there are any."""

    def __init__(self, folder: Path, draw: Draw = bodies) -> None:
        self.folder, self.draw = folder / "clips", draw
        self._clips: Clips | None = None
        self._artist = ThreadPoolExecutor(1, "drawing clips")  # what draws belongs to one thread
        self._begun: dict[str, Future[bytes]] = {}

    def clips(self) -> Clips:
        from tutelage.data.clips import LAYOUT, Clips, Layout

        if self._clips is None:
            self._clips = Clips(self.folder, Layout(**read_json(self.folder / LAYOUT)))
        return self._clips

    def shown(self, name: str | None) -> dict[str, Any] | None:
        """What the page must know to show it; None where there is no such clip."""
        if name is None:
            return None
        try:
            clips = self.clips()
            scenes_TS = clips.load(name)["scenes"]
        except InputError:
            return None
        layout = clips.layout
        if layout.draws in ON_CANVAS:
            return {"draws": layout.draws, "seconds": layout.seconds_per_step, "scenes": scenes_TS.round(4).tolist()}
        stride = stride_of(layout)
        count = len(scenes_TS[::stride])
        self.begin(name)
        about = {"draws": "frames", "seconds": layout.seconds_per_step * stride, "count": count}
        return {**about, "width": WIDTH, "height": HEIGHT, "address": f"/api/clips/{name}"}

    def begin(self, name: str) -> Future[bytes]:
        """Draws it beside everything else, once."""
        if name not in self._begun:
            self._begun[name] = self._artist.submit(self._drawn, name)
        return self._begun[name]

    def _drawn(self, name: str) -> bytes:
        """All frames below each other, as JPEG."""
        from PIL import Image

        kept = self.folder / f"{name}.jpg"
        if kept.is_file():
            return kept.read_bytes()
        clips = self.clips()
        scenes_TS = clips.load(name)["scenes"][:: stride_of(clips.layout)]
        frames = self.draw(clips.layout.draws, scenes_TS, (WIDTH, HEIGHT))
        written = io.BytesIO()
        Image.fromarray(frames.reshape(-1, WIDTH, 3)).save(written, "JPEG", quality=80)
        aside = kept.with_suffix(".part")
        aside.write_bytes(written.getvalue())
        aside.replace(kept)
        return written.getvalue()


def stride_of(layout: Layout) -> int:
    """Steps between two frames: no more of them than an eye needs."""
    return max(1, round(1.0 / (FRAMES_A_SECOND * layout.seconds_per_step)))
