"""Clips in files and on their way to a page: what is told, what is not, what is refused."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from tests.contracts.test_studio import Desk

from tutelage.data.clips import LAYOUT, Clips, Layout
from tutelage.data.errors import InputError
from tutelage.data.records import Candidate, Context
from tutelage.environments.control import named
from tutelage.environments.drawing import drawn_apart
from tutelage.feedback.asking import Asking
from tutelage.report import clips as reported
from tutelage.runs.files import write_json
from tutelage.studio.clips import Shelf, stride_of

COLUMNS = {"observations": 3, "actions": 1, "scenes": 1, "rewards": 1}


def clip(seed: int) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(seed)
    return {name: chance.normal(size=(6, width)).astype(np.float32) for name, width in COLUMNS.items()}


def folder(path, draws: str = "pendulum") -> Clips:
    (path / "clips").mkdir()
    layout = Layout(draws, 0.05, COLUMNS)
    write_json(path / "clips" / LAYOUT, vars(layout))
    return Clips(path / "clips", layout)


def test_a_clip_comes_back_as_it_was_under_a_name_of_its_content(tmp_path):
    clips = folder(tmp_path)
    name = clips.keep(**clip(0))
    assert clips.keep(**clip(0)) == name != clips.keep(**clip(1)) and len(list(clips.folder.glob("*.npy"))) == 2
    for part, values in clips.load(name).items():
        assert np.array_equal(values, clip(0)[part])


@pytest.mark.parametrize("name", ["../secret", "", "0" * 16, "a" * 15, "A" * 16, "../../etc/passwd"])
def test_no_other_file_is_a_clip(tmp_path, name):
    clips = folder(tmp_path)
    np.save(tmp_path / "secret.npy", np.zeros((2, 6)))
    with pytest.raises(InputError, match="there is no clip"):
        clips.load(name)


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_a_damaged_clip_is_named(tmp_path, content):
    clips = folder(tmp_path)
    name = clips.keep(**clip(0))
    (clips.folder / f"{name}.npy").write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        clips.load(name)
    assert Shelf(tmp_path).shown(name) is None


def test_a_page_gets_what_it_draws_and_neither_reward_nor_policy(tmp_path):
    clips = folder(tmp_path)
    desk = Desk(tmp_path, lambda: 1.7e9)
    names = [clips.keep(**clip(seed)) for seed in (0, 1)]
    candidates = tuple(
        Candidate(id=f"own-name-{i}", media=name, policy="version-7", score=3.1415927) for i, name in enumerate(names)
    )
    desk.store.ask([Asking(Context(), candidates, "clip", "question-name", policy="version-7")])
    browser = desk.browser()
    (given,) = browser.claim()
    told = json.dumps(given)
    for secret in ("own-name", "version-7", "3.14159", "question-name"):
        assert secret not in told
    by_scene = {tuple(clip(seed)["scenes"][:, 0].round(4).tolist()) for seed in (0, 1)}
    shown = [each["clip"] for each in given["shown"]]
    assert {tuple(row[0] for row in each["scenes"]) for each in shown} == by_scene
    assert all(set(each) == {"draws", "seconds", "scenes"} for each in shown)
    for seed in (0, 1):
        for reward in clip(seed)["rewards"][:, 0]:
            assert f"{reward:.4f}" not in told
    assert browser.answer(given, verdict={"choice": given["shown"][0]["id"]}).status_code == 200
    (label,) = desk.store.labels()
    assert label.comparison.candidates[label.comparison.chosen()].media in names


def test_frames_are_drawn_once_and_only_for_whoever_has_a_session(tmp_path):
    clips, drawn = folder(tmp_path, "Body-v0"), []
    desk = Desk(tmp_path, lambda: 1.7e9)

    def draw(name, scenes_TS, size):
        drawn.append(name)
        return np.zeros((len(scenes_TS), size[1], size[0], 3), dtype=np.uint8)

    desk.app.app.state.clips = Shelf(tmp_path, draw)
    name = clips.keep(**clip(0))
    browser = desk.browser()
    headers = {"sec-fetch-site": "same-origin"}
    first = browser.client.get(f"/api/clips/{name}", headers=headers)
    again = browser.client.get(f"/api/clips/{name}", headers=headers)
    assert first.status_code == again.status_code == 200 and first.headers["content-type"] == "image/jpeg"
    assert first.content[:2] == b"\xff\xd8" and first.content == again.content and drawn == ["Body-v0"]
    assert Shelf(tmp_path, draw).begin(name).result() == first.content and len(drawn) == 1  # kept beside the clip
    assert browser.client.get("/api/clips/" + "0" * 16, headers=headers).status_code == 404
    assert desk.browser(None).client.get(f"/api/clips/{name}", headers=headers).status_code == 401


def test_a_page_that_opens_before_there_are_clips_finds_them_later(tmp_path):
    shelf = Shelf(tmp_path)
    assert shelf.shown("0" * 16) is None
    name = folder(tmp_path).keep(**clip(0))
    assert shelf.shown(name)["draws"] == "pendulum"


def test_no_more_frames_are_drawn_than_an_eye_needs():
    assert [stride_of(Layout("x", seconds, {})) for seconds in (0.05, 0.008, 0.02, 1.0)] == [1, 6, 2, 1]


def run_of_bodies(path) -> list[str]:
    """A run whose report shows one pair of clips of a body."""
    kept = folder(path, "Body-v0")
    names = [kept.keep(**clip(seed)) for seed in (0, 1)]
    (path / "preferences").mkdir()
    pair = {"clips": names, "best": 1, "scores": [0.25, None]}
    write_json(path / "preferences" / "pairs.json", {"pairs": [pair]})
    return names


def test_a_report_shows_a_body_frame_by_frame_from_left_to_right(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    run_of_bodies(tmp_path)

    def drawn(name, scenes_TS, size):
        """As grey as the frame's number, counted over both clips."""
        assert name == "Body-v0" and len(scenes_TS) == 12
        shades = np.arange(12, dtype=np.uint8) * 20
        return np.broadcast_to(shades[:, None, None, None], (12, size[1], size[0], 3))

    monkeypatch.setattr(reported, "drawn_apart", drawn)
    (pair,) = reported.section(tmp_path)["pairs"]
    shades = []
    for side in pair["sides"]:
        content = re.search(r"base64,([^\"]+)", side["frames"])[1]
        picture = np.asarray(image.open(io.BytesIO(base64.b64decode(content))))
        assert picture.shape == (reported.SIZE, 6 * reported.SIZE, 3)
        shades += picture[0, reported.SIZE // 2 :: reported.SIZE, 0].tolist()
    assert {abs(shade - 20 * place) <= 3 for place, shade in enumerate(sorted(shades))} == {True}
    assert [side["best"] for side in pair["sides"]] == [False, True]


@pytest.mark.slow
def test_a_report_says_of_a_body_that_cannot_be_drawn_that_it_is_not(tmp_path, monkeypatch):
    run_of_bodies(tmp_path)
    monkeypatch.setattr(reported, "drawn_apart", lambda *asked: None)
    (pair,) = reported.section(tmp_path)["pairs"]
    assert [str(side["frames"]) for side in pair["sides"]] == ['<span class="tag">not drawn</span>'] * 2
    assert drawn_apart("Body-v0", np.zeros((1, 3)), (8, 8)) is None  # there is no such body


@pytest.mark.slow
def test_a_body_is_drawn_although_mujoco_is_loaded_already(tmp_path):
    """A process in which bodies move has chosen a renderer for windows by then."""
    pytest.importorskip("mujoco")
    joints = named("Hopper-v5")().unwrapped.init_qpos
    pictures = drawn_apart("Hopper-v5", np.stack([joints, joints + 0.3]), (48, 32))
    if pictures is None:
        pytest.skip("nothing here can draw without a window")
    assert pictures.shape == (2, 32, 48, 3) and pictures.std() > 5 and (pictures[0] != pictures[1]).any()
