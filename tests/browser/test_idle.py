"""The labelling page when nothing is asked, and notices that end with their question."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.browser.test_page import asked

from tutelage.runs.run import Run

SIZES = ((1280, 800), (390, 844))


def pictured(ann, name):
    """Keeps a picture where one is wanted: TUTELAGE_PICTURES=DIR."""
    if os.environ.get("TUTELAGE_PICTURES"):
        folder = Path(os.environ["TUTELAGE_PICTURES"])
        folder.mkdir(parents=True, exist_ok=True)
        for width, height in SIZES:
            ann.page.set_viewport_size({"width": width, "height": height})
            ann.page.wait_for_timeout(300)
            ann.page.screenshot(path=folder / f"{name}-{width}.png")


def test_finished_shows_the_next_command_my_answers_and_the_skipped_ones_again(served, person):
    studio, ann = served(asked(3)), person()
    ann.page.goto(studio.link())
    ann.press("f")
    ann.press("j")
    ann.press("s")
    ann.press("1")
    ann.saved()
    empty = ann.page.locator("#empty")
    empty.get_by_text("Nothing is left to answer").wait_for()
    assert "tutelage reward-model --data" in empty.inner_text()
    pictured(ann, "idle-finished")
    empty.get_by_role("button", name="My answers").click()
    rows = ann.page.locator("#mine li")
    rows.nth(2).wait_for()
    assert rows.count() == 3 and "skipped" in rows.first.inner_text()
    pictured(ann, "idle-mine")
    ann.page.keyboard.press("Escape")
    ann.next(lambda: empty.get_by_role("button", name="The skipped one again").click())
    ann.press("f")
    ann.saved()
    empty.get_by_text("Nothing is left to answer").wait_for()
    assert empty.get_by_role("button", name="again").count() == 0
    assert len(studio.store.labels()) == 3
    empty.get_by_role("button", name="My answers").click()
    ann.next(lambda: rows.last.get_by_role("button", name="Take back").click())
    ann.press("j")
    ann.saved()
    assert len(studio.store.labels()) == 3


def test_what_is_being_prepared_shows_its_time_left_and_then_the_question(served, person, tmp_path):
    studio, ann = served([]), person()
    folder = Path(studio.store.place).parent
    run = Run.create(folder / "made", {})
    stage = run.stage("seed-0-round-2-ppo")
    rows = [{"step": step, "seconds": 60.0 * step, "score": 1.0} for step in range(10)]
    (stage.path / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    state = json.loads((stage.path / "state.json").read_text())
    (stage.path / "state.json").write_text(json.dumps({**state, "steps": 40}))
    (folder / "made" / "seed-0-round-2-ppo").rename(folder / "seed-0-round-2-ppo")
    (folder / "made" / "state.json").rename(folder / "state.json")
    ann.page.goto(studio.link())
    empty = ann.page.locator("#empty")
    empty.get_by_text("The next questions are being prepared").wait_for()
    assert "Round 2: the policy learns from the reward model: 10 of 40 steps. About 30 min left." in empty.inner_text()
    pictured(ann, "idle-preparing")
    ann.next(lambda: studio.store.ask(asked(1)))


def test_questions_that_others_hold_are_waited_for(served, person):
    studio, ann, bob = served(asked(1)), person(), person()
    bob.page.goto(studio.link("bob"))
    bob.page.wait_for_function("() => window.questions.length")
    ann.page.goto(studio.link("ann"))
    ann.page.locator("#empty").get_by_text("1 question is with other people now").wait_for()
    pictured(ann, "idle-waiting")
    bob.press("f")
    ann.page.locator("#empty").get_by_text("Nothing is left to answer").wait_for(timeout=20_000)


def test_a_notice_ends_with_its_question(served, person):
    studio, ann = served(asked(4)), person()
    ann.page.goto(studio.link())
    ann.press("f")
    ann.next(lambda: ann.page.keyboard.press("u"))
    notice = ann.page.locator("#notice")
    notice.get_by_text("Taken back").wait_for()
    ann.press("j")
    ann.page.wait_for_function("() => document.getElementById('notice').hidden")
    assert notice.inner_text() == ""
