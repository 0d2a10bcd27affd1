"""Everybody can use the page: sizes of screens, contrast, what is announced, what is in focus (WCAG 2.2 AA)."""

from __future__ import annotations

import pytest
from tests.looks import AXE, NO_AXE, findings

from tutelage.data.records import Candidate, Context
from tutelage.feedback.asking import Asking
from tutelage.studio.project import Settings

LONG = (
    "A long answer with `code`, a table and "
    + "unbroken" * 30
    + "\n\n| a | b | c |\n|-|-|-|\n| 1 | 2 | 3 |\n\n- one\n- two\n"
)


def asked(count: int = 8) -> list[Asking]:
    return [
        Asking(
            Context(prompt=f"Question {i}?"), (Candidate(id="a", text=LONG), Candidate(id="b", text="Kort svar. " * 40))
        )
        for i in range(count)
    ]


SIZES = ((320, 640), (390, 844), (640, 400), (1280, 800))  # the third is the fourth at twice the size


@pytest.mark.parametrize("scale", ["binary", "graded"])
def test_nothing_has_to_be_scrolled_sideways_and_controls_are_large_enough(served, person, scale):
    """Targets of 24 by 24 at least (2.5.8); reflow at 320 (1.4.10)."""
    studio, ann = served(asked(), Settings(scale=scale)), person()
    ann.open(studio.link())
    for width, height in SIZES:
        ann.page.set_viewport_size({"width": width, "height": height})
        assert ann.page.evaluate("() => document.documentElement.scrollWidth") <= width
        boxes = ann.page.evaluate(
            "() => [...document.querySelectorAll('button')].map((each) => each.getBoundingClientRect())"
        )
        assert len(boxes) > 10
        for box in boxes:
            assert box["width"] >= 24 and box["height"] >= 24 and box["left"] >= 0 and box["right"] <= width


def test_what_happened_is_announced(served, person):
    studio, ann = served(asked()), person()
    ann.open(studio.link())
    ann.next(lambda: ann.page.keyboard.press("f"))
    ann.page.wait_for_function("() => document.getElementById('spoken').textContent.includes('A is better')")
    ann.next(lambda: ann.page.keyboard.press("u"))
    ann.page.wait_for_function("() => document.getElementById('spoken').textContent.includes('Taken back')")


def test_the_focus_is_seen_and_never_under_the_bar(served, person):
    studio, ann = served(asked()), person(viewport={"width": 1280, "height": 500})
    ann.open(studio.link())
    seen = set()
    for _ in range(30):
        ann.page.keyboard.press("Tab")
        name, hidden, outlined = ann.page.evaluate("""() => {
            const it = document.activeElement, box = it.getBoundingClientRect();
            const bar = document.querySelector(".answers").getBoundingClientRect();
            const hidden = !it.closest(".answers") && box.height && box.top >= bar.top;
            return [it.dataset.act ?? it.tagName, hidden, getComputedStyle(it).outlineStyle];
        }""")
        seen.add(name)
        assert not hidden and (outlined != "none" or name in ("BODY", "DIV")), name
    assert {"first", "second", "tie", "bad", "undo", "skip", "help"} <= seen


def test_a_dialog_keeps_the_focus_and_gives_it_back(served, person):
    studio, ann = served(asked()), person()
    ann.open(studio.link())
    ann.page.locator("[data-act=help]").focus()
    ann.page.keyboard.press("Enter")
    assert ann.page.evaluate("() => Boolean(document.activeElement.closest('dialog'))")
    ann.page.keyboard.press("Escape")
    assert ann.page.evaluate("() => document.activeElement.dataset.act") == "help"


def test_a_switch_keeps_the_focus(served, person):
    studio, ann = served(asked()), person()
    ann.open(studio.link())
    ann.page.locator("[data-act=raw]").focus()
    ann.page.keyboard.press("Enter")
    assert ann.page.evaluate("() => [document.activeElement.dataset.act, document.activeElement.ariaPressed]") == [
        "raw",
        "true",
    ]


def test_motion_is_reduced_where_that_is_wanted(served, person):
    studio, ann = served(asked()), person(reduced_motion="reduce")
    ann.open(studio.link())
    assert ann.page.evaluate("() => document.getAnimations().length") == 0


@pytest.mark.skipif(not AXE.exists(), reason=NO_AXE)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(served, person, tmp_path, scheme):
    (tmp_path / "live.json").write_text(
        '{"win_rate": 0.6, "waiting": true, "wins": [{"name": "shorter", "value": 0.7}]}'
    )
    studio, ann = served(asked()), person(bypass_csp=True, color_scheme=scheme)
    ann.open(studio.link())
    ann.page.locator("#live summary").click()
    assert findings(ann.page) == []
    for key, leave in (("?", "Escape"), ("x", "Escape"), ("g", "Escape"), ("p", "Enter"), ("d", "d"), ("r", "Escape")):
        ann.press(key)
        assert findings(ann.page) == [], key
        ann.page.keyboard.press(leave)
    ann.page.set_viewport_size({"width": 390, "height": 844})
    assert findings(ann.page) == []
