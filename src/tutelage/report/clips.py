"""The part of a report about preferences over clips: what was gained, and the last pairs that were asked about."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from tutelage.data.clips import LAYOUT, Clips, Layout
from tutelage.data.errors import InputError
from tutelage.environments.drawing import drawn_apart
from tutelage.report.estimates import TOO_FEW, card
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
        asked = read_json(pairs)["pairs"]
        strips = films(clips, sorted({name for pair in asked for name in pair["clips"]}))
        return {"pairs": [shown(clips, pair, strips) for pair in asked]}
    except InputError:
        return None


def shown(clips: Clips, pair: Mapping[str, Any], strips: Mapping[str, Markup]) -> dict[str, Any]:
    """Both clips as frames, what each earned and was thought to be worth, and which was preferred."""
    sides = []
    for place, name in enumerate(pair["clips"]):
        told = {"true return": float(clips.load(name)["rewards"].sum())}
        if pair["scores"][place] is not None:
            told["learned reward, when it was asked"] = pair["scores"][place]
        sides.append({"frames": strips[name], "told": told, "best": pair["best"] == place})
    return {"sides": sides, "tie": pair["best"] is None}


def films(clips: Clips, names: Sequence[str]) -> dict[str, Markup]:
    """A film strip for each clip; of bodies of MuJoCo only where it is installed and can draw."""
    scenes = {name: picked(clips.load(name)["scenes"]) for name in names}
    draw = {"pendulum": pendulum, "cart-pole": cart_pole}.get(clips.layout.draws)
    if draw is not None:
        return {name: strip([draw(each) for each in scenes_FS]) for name, scenes_FS in scenes.items()}
    pictures = drawn_apart(clips.layout.draws, np.concatenate(list(scenes.values())), (SIZE, SIZE)) if names else None
    if pictures is None:
        return {name: Markup('<span class="tag">not drawn</span>') for name in names}
    ends = np.cumsum([len(scenes_FS) for scenes_FS in scenes.values()])[:-1]
    return {name: film(frames) for name, frames in zip(scenes, np.split(pictures, ends), strict=True)}


def picked(scenes_TS: np.ndarray) -> np.ndarray:
    """[F, S] from its beginning to its end."""
    return scenes_TS[np.linspace(0, len(scenes_TS) - 1, min(FRAMES, len(scenes_TS))).round().astype(int)]


def strip(drawings: Sequence[str]) -> Markup:
    drawn = "".join(f'<g transform="translate({SIZE * i})">{each}</g>' for i, each in enumerate(drawings))
    view = f'viewBox="0 0 {SIZE * len(drawings)} {SIZE}" role="img" aria-label="{len(drawings)} frames of a clip"'
    return Markup(f'<svg class="strip" {view}>{drawn}</svg>')


def film(frames: np.ndarray) -> Markup:
    """[F, height, width, 3] beside each other."""
    from PIL import Image  # comes with MuJoCo

    written = io.BytesIO()
    Image.fromarray(np.concatenate(list(frames), axis=1)).save(written, "JPEG", quality=80)
    content = base64.b64encode(written.getvalue()).decode()
    return Markup(f'<img class="strip" alt="{len(frames)} frames of a clip" src="data:image/jpeg;base64,{content}">')


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
        beside = f"one seed, so no interval; PPO on the true reward: {summary['true_return_ppo']:.4g}"
        found.append((f"{summary['ratio']:.0%}", "of what the true reward would have gained", beside))
    alike = summary["reward_correlation"]
    if alike is not None:
        over = "over steps of the untrained and of the trained policy"
        found.append((f"{alike:.2f}", "correlation of the learned with the true reward", over))
    name, lost = "reward_held_out_accuracy", f"{summary['labels_lost']} answers lost"
    if summary.get(name) is None:
        return [*found, (TOO_FEW, "of held-out answers predicted", f"no answer was held out. {lost}")]
    return [*found, card(summary, name, "of held-out answers predicted", "answers", detail=lost)]
