"""A person judges fifty pairs of clips by what is drawn on the screen; all fifty answers arrive, on the right side.

The person is a rule that looks at the canvas: the rod's colour tells where it points, and higher is better.
"""

from __future__ import annotations

import json
import threading

import numpy as np
from tests.labelling import Person

from tutelage.data.clips import LAYOUT, Clips, Layout
from tutelage.data.records import Candidate, Context
from tutelage.feedback.asking import Asking
from tutelage.feedback.store import Store
from tutelage.runs.files import write_json
from tutelage.studio.clips import Shelf

HEIGHT = """
(place) => {
  const canvas = document.querySelectorAll(".clips canvas")[place];
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const [red, green, blue] = getComputedStyle(canvas).outlineColor.match(/[\\d.]+/g).map(Number);
  let sum = 0, count = 0;
  for (let i = 0; i < data.length; i += 4) {
    const near = Math.abs(data[i] - red) + Math.abs(data[i + 1] - green) + Math.abs(data[i + 2] - blue) < 12;
    if (near && data[i + 3] > 250) { sum += Math.floor(i / 4 / width); count += 1; }
  }
  return count > 50 ? height / 2 - sum / count : null;
}
"""
READY = "() => document.querySelector('#question:not([aria-busy]) .clips[data-ready=true]')"


def project(folder, pairs: int, steps: int = 12) -> tuple[Clips, list[Asking], dict[str, float]]:
    """Pairs of rods that swing a little around an angle each, and how high each of them stands."""
    clips = Clips(
        folder / "clips", Layout("pendulum", 0.05, {"observations": 3, "actions": 1, "scenes": 1, "rewards": 1})
    )
    clips.folder.mkdir(parents=True)
    write_json(clips.folder / LAYOUT, vars(clips.layout))
    chance, heights, questions = np.random.default_rng(0), {}, []
    for number in range(pairs):
        names = []
        for angle in chance.permutation([0.2, 1.2, 2.4, 3.0])[:2] * chance.choice([-1, 1], size=2):
            scenes = (angle + 0.1 * np.sin(np.arange(steps + 1) + chance.random()))[:, None]
            blank = {name: np.zeros((steps + 1, width)) for name, width in clips.layout.columns.items()}
            names.append(clips.keep(**{**blank, "scenes": scenes}))
            heights[names[-1]] = float(np.cos(scenes).mean())
        candidates = tuple(Candidate(id=f"{number}-{side}", media=name) for side, name in enumerate(names))
        questions.append(Asking(Context(), candidates, "clip", f"question-{number:03d}"))
    return clips, questions, heights


def judge(ann: Person) -> str:
    """Presses a key for the rod that stands higher; the name of the key."""
    ann.press("Shift")  # nobody's key: it only passes a pause and waits
    ann.page.wait_for_function(READY)
    first, second = (ann.page.evaluate(HEIGHT, place) for place in (0, 1))
    assert first is not None and second is not None
    key = ("ArrowLeft", "f") if first > second else ("ArrowRight", "j")
    pressed = key[int(abs(first)) % 2]
    ann.next(lambda: ann.page.keyboard.press(pressed))
    return pressed


def test_fifty_pairs_of_clips_by_what_is_drawn(tmp_path, command, person):
    folder = tmp_path / "project"
    _, questions, heights = project(folder, 52)
    with Store.open(folder / "feedback.db") as store:
        store.ask(questions)
    studio, ann = command("--project", str(folder)), person()
    ann.page.goto(studio.link)
    for number in range(51):
        if number == 20:
            ann.saved()
            ann.page.reload()
        if number == 30:
            studio.kill()  # the next ones are answered from what was fetched before
        if number == 32:
            studio.start()
            ann.saved()
        judge(ann)
    ann.next(lambda: ann.page.keyboard.press("u"))  # the last one is judged once more
    judge(ann)
    ann.press("c")
    ann.idle()
    ann.saved()
    assert ann.strangers(studio.address) == []
    assert "52 in all" in studio.stop()
    with Store.open(folder / "feedback.db") as store:
        labels = store.labels()
        assert store.verify() == []
    assert len(labels) == len({each.question for each in labels}) == 52
    chosen = [each.comparison for each in labels if each.comparison.best is not None]
    assert len(chosen) == 51
    for each in chosen:
        best, other = (heights[each.candidates[place].media] for place in (each.chosen(), 1 - each.chosen()))
        assert best > other
    assert [each.comparison.verdict.no_choice for each in labels if each.comparison.best is None] == ["incomparable"]


def test_both_clips_play_in_step_hold_and_go_frame_by_frame(tmp_path, served, person):
    _, questions, _ = project(tmp_path, 6, steps=40)
    studio, ann = served(questions), person()
    ann.page.goto(studio.link())
    ann.page.wait_for_function(READY)

    def frames() -> list[int]:
        return ann.page.evaluate(
            "() => [...document.querySelectorAll('.clips canvas')].map((c) => Number(c.dataset.frame))"
        )

    seen = [frames() for _ in range(12) if not ann.page.wait_for_timeout(60)]
    assert all(first == second for first, second in seen) and len({first for first, _ in seen}) > 4
    ann.page.keyboard.press("k")
    ann.page.wait_for_timeout(100)
    held = frames()
    ann.page.wait_for_timeout(200)
    assert frames() == held
    ann.page.keyboard.press(".")
    ann.page.wait_for_timeout(60)
    assert frames() == [(held[0] + 1) % 41] * 2
    ann.page.keyboard.press(",")
    ann.page.wait_for_timeout(60)
    assert frames() == held
    ann.page.keyboard.press("0")
    ann.page.wait_for_timeout(30)
    assert frames()[0] < 6
    assert "×" not in ann.page.locator(".playing").inner_text()
    ann.page.keyboard.press("]")
    assert "× 2" in ann.page.locator(".playing").inner_text()
    ann.press("ArrowDown")
    ann.saved()
    (label,) = studio.store.labels()
    assert label.comparison.verdict.strength == 0.0  # equal


def test_nothing_moves_for_whoever_wants_no_motion_until_asked(tmp_path, served, person):
    _, questions, _ = project(tmp_path, 2)
    studio, ann = served(questions), person(reduced_motion="reduce")
    ann.page.goto(studio.link())
    ann.page.wait_for_function(READY)
    ann.page.wait_for_timeout(300)
    assert ann.page.evaluate("() => document.querySelector('.clips canvas').dataset.frame") == "0"
    assert "K plays" in ann.page.locator(".playing").inner_text()
    ann.page.keyboard.press("k")
    ann.page.wait_for_function("() => Number(document.querySelector('.clips canvas').dataset.frame) > 2")


def test_pictures_are_waited_for_before_anything_can_be_answered(tmp_path, served, person):
    """Frames that come late: a key pressed before them answers nothing."""
    clips, questions, _ = project(tmp_path, 3)
    write_json(clips.folder / LAYOUT, {**vars(clips.layout), "draws": "Body-v0"})
    go = threading.Event()

    def draw(name, scenes_TS, size):
        go.wait(20)
        return np.full((len(scenes_TS), size[1], size[0], 3), 120, dtype=np.uint8)

    studio, ann = served(questions), person()
    studio.server.config.app.app.state.clips = Shelf(tmp_path, draw)
    ann.page.goto(studio.link())
    ann.ready()
    ann.page.keyboard.press("f")
    ann.page.wait_for_timeout(400)
    assert studio.store.labels() == []
    go.set()
    ann.page.wait_for_function(READY)
    ann.press("f")
    ann.saved()
    assert len(studio.store.labels()) == 1


def test_a_run_asks_a_person_about_fifty_pairs_and_learns_from_every_answer(tmp_path, work, person):
    """`tutelage recipe christiano --labeller human` in small, answered at its own page by a rule about the canvas.

    Whoever wants no motion sees first frames, so what was seen can be checked against the clips.
    """
    out, ann = tmp_path / "run", person(reduced_motion="reduce")
    asked = ("--labels", "50", "--labeller", "human", "--no-baseline", "--steps", "9600", "--evaluation-episodes", "4")
    small = ("--reward.first-updates", "20", "--reward.updates", "5")
    recipe = work("recipe", "christiano", *asked, *small, "--out", str(out))
    ann.page.set_default_timeout(120_000)
    ann.page.goto(recipe.link)  # it may come before the first question: then the page waits
    for _ in range(50):
        ann.press("Shift")
        ann.page.wait_for_function(READY)
        first, second = (ann.page.evaluate(HEIGHT, place) for place in (0, 1))
        ann.page.keyboard.press("f" if first > second else "j")
    ann.saved()
    recipe.ended()
    summary = json.loads((out / "summary.json").read_text())
    assert summary["labels_used"] == 50 and summary["labels_lost"] == 0 and summary["labeller"] == "human"
    clips = Clips(out / "clips", Layout(**json.loads((out / "clips" / LAYOUT).read_text())))
    with Store.open(out / "feedback.db") as store:
        labels = store.labels()
        assert not store.verify() and len(labels) == 50
    for each in labels:
        candidates, best = each.comparison.candidates, each.comparison.chosen()
        stood = [np.cos(clips.load(side.media)["scenes"][0, 0]) for side in candidates]
        assert stood[best] > stood[1 - best] - 0.02
    assert {each.comparison.candidates[0].policy for each in labels} > {"version-0"}
