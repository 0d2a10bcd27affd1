"""Everybody can use the page: sizes of screens, contrast, what is announced, what is in focus (WCAG 2.2 AA)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.labelling import ROOT

from tutelage.data.records import Candidate, Context
from tutelage.feedback.asking import Asking
from tutelage.studio.project import Settings

AXE = ROOT / ".build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
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


@pytest.mark.parametrize("scale", ["binary", "graded"])
@pytest.mark.parametrize(("width", "height"), [(320, 640), (390, 844), (640, 400), (1280, 800)])
def test_nothing_has_to_be_scrolled_sideways_and_controls_are_large_enough(served, person, scale, width, height):
    """640 by 400 is 1280 by 800 at twice the size. Targets of 24 by 24 at least (2.5.8)."""
    studio, ann = served(asked(), Settings(scale=scale)), person(viewport={"width": width, "height": height})
    ann.open(studio.link())
    assert ann.page.evaluate("() => document.documentElement.scrollWidth") <= width
    for control in ann.page.get_by_role("button").all():
        box = control.bounding_box()
        assert box is not None and box["width"] >= 24 and box["height"] >= 24
        assert box["x"] >= 0 and box["x"] + box["width"] <= width


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


def test_motion_is_reduced_where_that_is_wanted(served, person):
    studio, ann = served(asked()), person(reduced_motion="reduce")
    ann.open(studio.link())
    assert ann.page.evaluate("() => document.getAnimations().length") == 0


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: make axe")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("where", ["question", "help", "choices", "pause", "phone"])
def test_axe_finds_nothing(served, person, tmp_path, scheme, where):
    (tmp_path / "live.json").write_text(
        '{"win_rate": 0.6, "waiting": true, "wins": [{"name": "shorter", "value": 0.7}]}'
    )
    size = {"width": 390, "height": 844} if where == "phone" else {"width": 1280, "height": 800}
    studio, ann = served(asked()), person(bypass_csp=True, color_scheme=scheme, viewport=size)
    ann.open(studio.link())
    ann.page.get_by_text("What moved").wait_for()
    if where in ("help", "choices", "pause"):
        ann.page.keyboard.press({"help": "?", "choices": "x", "pause": "p"}[where])
    ann.page.evaluate(Path(AXE).read_text(encoding="utf-8"))
    found = ann.page.evaluate("() => axe.run().then((result) => result.violations)")
    told = [(each["id"], each["impact"], [node["html"][:120] for node in each["nodes"]]) for each in found]
    assert told == []
