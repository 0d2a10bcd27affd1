"""The part of a report about preferences over clips: what was gained, and the last pairs that were asked about."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from tutelage.data.clips import LAYOUT, Clips, Layout
from tutelage.data.errors import InputError
from tutelage.runs.files import read_json

FRAMES = 6  # of a clip, from its beginning to its end
SIZE = 84  # of one frame, in pixels
TRACK = 2.4  # metres from the middle within which the cart must stay


def section(run_path: Path) -> dict[str, Any] | None:
    """What the template shows, or None where the run asked about no clips, or its clips are gone."""
    pairs, layout = run_path / "preferences" / "pairs.json", run_path / "clips" / LAYOUT
    if not pairs.exists() or not layout.exists():
        return None
    clips = Clips(run_path / "clips", Layout(**read_json(layout)))
    try:
        return {"pairs": [shown(clips, pair) for pair in read_json(pairs)["pairs"]]}
    except InputError:
        return None


def shown(clips: Clips, pair: Mapping[str, Any]) -> dict[str, Any]:
    """Both clips as frames, what each earned and was thought to be worth, and which was preferred."""
    sides = []
    for place, name in enumerate(pair["clips"]):
        parts = clips.load(name)
        told = {"true return": float(parts["rewards"].sum())}
        if pair["scores"][place] is not None:
            told["learned reward, when it was asked"] = pair["scores"][place]
        sides.append({"frames": frames(clips, name, parts["scenes"]), "told": told, "best": pair["best"] == place})
    return {"sides": sides, "tie": pair["best"] is None}


def frames(clips: Clips, name: str, scenes_TS: np.ndarray) -> Markup:
    """A film strip; of a body of MuJoCo only where somebody has looked at the clip."""
    picked = scenes_TS[np.linspace(0, len(scenes_TS) - 1, min(FRAMES, len(scenes_TS))).round().astype(int)]
    draw = {"pendulum": pendulum, "cart-pole": cart_pole}.get(clips.layout.draws)
    if draw is not None:
        drawn = "".join(f'<g transform="translate({SIZE * i})">{draw(each)}</g>' for i, each in enumerate(picked))
        view = f'viewBox="0 0 {SIZE * len(picked)} {SIZE}" role="img" aria-label="{len(picked)} frames of a clip"'
        return Markup(f'<svg class="strip" {view}>{drawn}</svg>')
    picture = clips.folder / f"{name}.jpg"
    if not picture.is_file():
        return Markup('<span class="tag">not drawn</span>')
    content = base64.b64encode(picture.read_bytes()).decode()
    return Markup(f'<img class="film" alt="frames of a clip" src="data:image/jpeg;base64,{content}">')


def pendulum(scene_S: np.ndarray) -> str:
    angle, middle, reach = float(scene_S[0]), SIZE / 2, 0.38 * SIZE
    x, y = middle - reach * math.sin(angle), middle - reach * math.cos(angle)
    rod = f'<path class="body" d="M{middle:.1f} {middle:.1f}L{x:.1f} {y:.1f}"/>'
    return f'{rod}<circle class="joint" cx="{middle:.1f}" cy="{middle:.1f}" r="3"/>'


def cart_pole(scene_S: np.ndarray) -> str:
    position, angle = float(scene_S[0]), float(scene_S[1])
    metre, ground = SIZE / (2 * TRACK + 1), 0.8 * SIZE
    left, right = SIZE / 2 - TRACK * metre, SIZE / 2 + TRACK * metre
    track = f'<path class="track" d="M{left:.1f} {ground:.1f}L{right:.1f} {ground:.1f}"/>'
    x = SIZE / 2 + position * metre
    if not 0 <= x <= SIZE:
        return track
    tip_x, tip_y = x + 2 * metre * math.sin(angle), ground - 6 - 2 * metre * math.cos(angle)
    cart = f'<rect class="joint" x="{x - 6:.1f}" y="{ground - 6:.1f}" width="12" height="6"/>'
    return f'{track}{cart}<path class="body" d="M{x:.1f} {ground - 6:.1f}L{tip_x:.1f} {tip_y:.1f}"/>'


def verdict(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(figure, what it is, detail) of a run that learned from clips."""
    if "true_return_preferences" not in summary:
        return []
    change = f"{summary['true_return_random']:.4g} → {summary['true_return_preferences']:.4g}"
    found = [(change, "true return, untrained and trained on answers", f"{summary['labels_used']} answers")]
    if "ratio" in summary:
        beside = f"PPO on the true reward: {summary['true_return_ppo']:.4g}"
        found.append((f"{summary['ratio']:.0%}", "of what the true reward would have gained", beside))
    found.append((f"{summary['reward_correlation']:.2f}", "correlation of the learned with the true reward", ""))
    held = summary["reward_held_out_accuracy"]
    found.append((f"{held:.0%}", "of held-out answers predicted", f"{summary['labels_lost']} answers lost"))
    return found
