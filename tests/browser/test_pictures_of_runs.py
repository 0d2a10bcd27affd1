"""Every page for looking at runs and for playing with their models, in every look (tests/looks.py)."""

from __future__ import annotations

import math

import pytest
from tests import watched
from tests.browser.test_looking import DRAWN, Studio, opened
from tests.looks import LOOKS, seen, somebody

from tutelage.data.errors import InputError

PROMPT = "My lamp arrived broken. What now?"
SAID = (
    "I am sorry about your lamp. We send another one today; you need not send the broken one back.",
    "Please fill in the form for damaged parcels.",
    "Lamps break sometimes. Was there anything else?",
    "Sorry! Tell me the number of your order and I see what can be done.",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("looked-at") / "runs"
    watched.finished(root / "ppo-a")
    other = {"steps": 30, "kl_coefficient": 0.05, "seed": 3}
    watched.finished(root / "ppo-b", lift=0.5, settings={"settings": other})
    watched.going(root / "going")
    watched.pipeline(root / "demo")
    watched.pipeline(root / "second-try")
    watched.steep(root / "no-penalty")
    watched.overoptimised(root / "overoptimised")
    watched.swept(root / "objectives")
    watched.broken(root / "bad")
    return root


class Spoken:
    """A bench whose models say what stands above, so that a picture shows words: the routes are the real ones, and
    real models are asked in test_looking.py.
    """

    def replies(self, path, said, drawing, count):
        start = sum(map(ord, "".join(path.parts[-3:-1]))) + len(said)
        return f"Customer: {said[-1]['content']}\nAgent:", [SAID[(start + k) % len(SAID)] for k in range(count)]

    def scores(self, path, prompt, template, replies):
        if not template:
            raise InputError("expected what the run's prompts have around a message.")
        return [0.02 * len(each) + math.sin(len(each)) - 1.0 for each in replies]


@pytest.fixture(scope="module")
def studio(tmp_path_factory, runs):
    found = Studio(tmp_path_factory.mktemp("keep"), runs)
    found.playing.bench = Spoken()  # pyright: ignore
    yield found
    found.close()


CURVES = "() => [...document.querySelectorAll('.js-plotly-plot .scatterlayer .js-line')]"
SEEN = f"{CURVES}.filter((each) => each.checkVisibility() && each.getBoundingClientRect().width > 50).length"


def unfolded(page) -> None:
    for each in page.locator("main details:not([open])").all():
        if each.is_visible():
            each.locator("summary").first.click()


SHOWN = {
    "runs": ("runs", ""),
    "curves": ("curves", "run=ppo-a&run=ppo-b"),
    "samples": ("samples", "run=ppo-a"),
    "doctor": ("doctor", "run=no-penalty&run=ppo-a&run=bad/cut"),
    "frontier": ("frontier", "run=ppo-a&run=ppo-b&run=no-penalty"),
    "overoptimisation": ("frontier", "run=overoptimised"),
    "objectives": ("frontier", "run=objectives"),
    "lineage": ("lineage", ""),
}
PLOTS = {"curves": 2, "doctor": 1, "frontier": 1, "overoptimisation": 1, "objectives": 1}  # without scrolling


@pytest.mark.parametrize("name", SHOWN)
def test_pages_for_looking(studio, person, name):
    address, query = SHOWN[name]
    for look in LOOKS:
        who = somebody(person, look)
        opened(who, studio, address, query)
        if name in PLOTS:
            who.page.wait_for_function(DRAWN, arg=PLOTS[name])
            assert name == "objectives" or who.page.evaluate(SEEN) >= PLOTS[name]  # that one has points
        if name == "lineage":
            who.page.locator("[data-node='demo//ppo']").click()
        if name == "doctor":
            who.page.locator("[data-run='bad/cut']", has_text="The doctor could not look").wait_for()
        if name == "frontier" or name == "doctor":
            unfolded(who.page)
        seen(who.page, name, look)


@pytest.mark.parametrize("name", ["curves", "samples", "runs"])
def test_what_is_folded_has_nothing_for_axe_either(studio, person, name):
    """Settings side by side, numbers of tokens, everything else that was recorded; and a run with damage beside it."""
    address, query = SHOWN[name]
    for look in LOOKS[::3]:
        who = somebody(person, look)
        opened(who, studio, address, query and f"{query}&run=bad/garbage&run=demo")
        unfolded(who.page)
        seen(who.page, f"{name}-unfolded", look)


def played(person, studio, look, mode):
    who = somebody(person, look)
    opened(who, studio, "play", f"run=demo&run=second-try&mode={mode}")
    return who


def test_chat(studio, person):
    for look in LOOKS:
        who = played(person, studio, look, "chat")
        who.page.get_by_role("combobox", name="and", exact=True).select_option(index=3)
        who.page.get_by_label("You say").fill(PROMPT)
        who.page.keyboard.press("Enter")
        who.page.wait_for_function("() => document.querySelectorAll('.exchange .words:not(.soft)').length === 2")
        seen(who.page, "play-chat", look)


def test_arena(studio, person):
    for number, look in enumerate(LOOKS):
        who = played(person, studio, look, "arena")
        who.page.get_by_label("Prompt").fill(f"{PROMPT} It is lamp {number}.")
        who.page.get_by_role("button", name="Both answer").click()
        who.page.get_by_role("button", name="Equal").wait_for()
        who.page.wait_for_timeout(300)
        assert "demo" not in who.page.locator(".ring").inner_text()
        seen(who.page, "play-arena", look)
        who.page.keyboard.press("f")
        who.page.locator(".revealed").nth(1).wait_for()
        seen(who.page, "play-arena-judged", look)


def test_best_of_n(studio, person):
    for look in LOOKS:
        who = played(person, studio, look, "best")
        who.page.get_by_label("Prompt").fill(PROMPT)
        who.page.get_by_role("spinbutton", name="n", exact=True).fill("4")
        who.page.get_by_role("button", name="Draw and score").click()
        who.page.wait_for_function("() => document.querySelectorAll('.ranked li').length === 4")
        seen(who.page, "play-best-of-n", look)


def test_opinion(studio, person):
    for look in LOOKS:
        who = played(person, studio, look, "opinion")
        who.page.get_by_label("Prompt").fill(PROMPT)
        who.page.get_by_label("Reply").fill(SAID[0])
        who.page.get_by_role("button", name="What does it say?").click()
        who.page.locator(".opinions .score").wait_for()
        seen(who.page, "play-opinion", look)
