"""Somebody teaches an agent in a browser: keys reach the store and the weights, and the page says so."""

from __future__ import annotations

import json

import pytest

LISTEN = """
window.learned = [];
document.addEventListener("learned", (event) => window.learned.push(event.detail));
"""
SIZES = ((320, 640), (390, 844), (640, 400), (1280, 800))


@pytest.fixture
def teacher(served, person):
    """(the server, somebody on its page for a game); the pace is fast."""

    def make(game="tetris", seconds=0.3, **context):
        studio, ann = served([]), person(**context)
        paced(ann, studio.store.labeller("ann"), game, seconds)
        ann.page.goto(studio.link().replace("/?t=", f"/tamer/{game}?t="))
        step(ann, 1)
        return studio, ann

    return make


def paced(ann, labeller, game, seconds):
    """Before the page: it keeps what was learned, and the agent takes a step in so many seconds."""
    ann.context.add_init_script(LISTEN)
    kept = json.dumps({f"tutelage:{labeller}:pace:{game}": json.dumps(seconds)})
    ann.context.add_init_script(f"for (const [k, v] of Object.entries({kept})) localStorage.setItem(k, v);")


def step(ann, number):
    """Waits until so many steps have been on the screen."""
    ann.page.wait_for_function(
        "(n) => Number(document.querySelectorAll('#state b')[1]?.textContent ?? 0) >= n", arg=number
    )


def learned(ann, count):
    ann.page.wait_for_function("(n) => window.learned.length >= n", arg=count)
    return ann.page.evaluate("() => window.learned")


def play_of(studio, game="tetris"):
    labeller = studio.store.labeller("ann")
    return labeller, studio.store.plays(labeller, game)[-1]


def test_four_keys_reach_the_store_and_change_the_weights(teacher):
    studio, ann = teacher()
    for count, key in enumerate(("j", "f", "k", "d"), start=1):
        step(ann, 2 * count)
        ann.page.keyboard.press(key)
        learned(ann, count)
    found = learned(ann, 4)
    assert [each["value"] for each in found] == [1, -1, 10, -10]
    assert all(each["change"] > 0 for each in found)
    labeller, play = play_of(studio)
    kept = [each for each in studio.store.recorded(labeller, play).happened if hasattr(each, "value")]
    assert [each.value for each in kept] == [1.0, -1.0, 10.0, -10.0]
    for each, answer in zip(kept, found):
        assert each.spans[-1].began <= each.at and each.spans[-1].ended is None
        assert answer["about"] and answer["seq"] > 0
    assert ann.page.locator("#said li").count() == 4
    assert "%" in ann.page.locator("#said li").first.inner_text()
    assert ann.state == "saved"


def test_a_held_key_is_one_signal_and_the_buttons_say_the_same(teacher):
    studio, ann = teacher()
    step(ann, 2)
    ann.page.keyboard.down("j")
    ann.page.keyboard.down("j")
    ann.page.keyboard.up("j")
    ann.page.get_by_role("button", name="Very bad").click()
    assert [each["value"] for each in learned(ann, 2)] == [1, -10]
    assert studio.store.stats()["signals"] == 2


def test_space_switches_training(teacher):
    studio, ann = teacher()
    step(ann, 2)
    ann.page.keyboard.press("Space")
    ann.page.get_by_text("not learning").wait_for()
    ann.page.keyboard.press("j")
    ann.page.locator("#notice").get_by_text("Training is off").wait_for()
    ann.page.keyboard.press("Space")
    ann.page.get_by_text("learning from you").wait_for()
    assert studio.store.stats()["signals"] == 0


def test_a_signal_outlives_a_cut_network_with_its_time(teacher):
    studio, ann = teacher()
    step(ann, 3)
    ann.context.set_offline(True)
    ann.page.keyboard.press("j")
    ann.page.wait_for_function("() => document.getElementById('saved').dataset.state === 'sending'")
    ann.page.wait_for_timeout(1200)
    ann.context.set_offline(False)
    [found] = learned(ann, 1)
    assert found["ms"] > 1000 and found["change"] > 0
    labeller, play = play_of(studio)
    [kept] = [each for each in studio.store.recorded(labeller, play).happened if hasattr(each, "value")]
    assert kept.at - kept.spans[-1].began < 0.6  # of the key, not of the arrival


def test_the_agent_is_there_again_after_a_reload_and_games_are_played_back(teacher):
    _, ann = teacher(seconds=0.25)
    step(ann, 2)
    ann.page.keyboard.press("j")
    learned(ann, 1)
    ann.page.locator("#finished button").first.wait_for(timeout=60_000)  # a game of an agent that knows little is short
    ann.page.keyboard.press("b")
    ann.page.locator("#state").get_by_text("played back").wait_for()
    ann.page.keyboard.press("b")
    ann.page.reload()
    step(ann, 1)
    assert ann.page.locator("#finished button").count() == 1
    ann.page.locator("#expects").get_by_text("After 1 signals").wait_for()


def test_the_car_is_taught_with_the_same_keys(teacher):
    studio, ann = teacher("mountain-car", seconds=0.15)
    step(ann, 4)
    ann.page.keyboard.press("ArrowRight")
    [found] = learned(ann, 1)
    assert found["change"] > 0 and studio.store.stats()["signals"] == 1
    assert play_of(studio, "mountain-car")


def test_everything_is_reached_on_every_screen(teacher):
    """Reflow at 320 (1.4.10), targets of 24 by 24 (2.5.8), and the agent's canvas has a name."""
    _, ann = teacher()
    for width, height in SIZES:
        ann.page.set_viewport_size({"width": width, "height": height})
        assert ann.page.evaluate("() => document.documentElement.scrollWidth") <= width
        boxes = ann.page.evaluate(
            "() => [...document.querySelectorAll('button')].map((b) => b.getBoundingClientRect())"
        )
        assert len(boxes) >= 9
        for box in boxes:
            assert box["width"] >= 24 and box["height"] >= 24 and box["left"] >= 0 and box["right"] <= width
    assert "placement" in (ann.page.locator("#world").get_attribute("aria-label") or "")


def test_nothing_is_asked_of_anybody_else(teacher):
    studio, ann = teacher()
    step(ann, 3)
    assert ann.strangers(studio.address) == []
