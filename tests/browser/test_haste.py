"""Hasty hands at the pages of one answer: by keyboard alone; keys held, pressed too early, clicked twice, at random.

What pairs make of this: test_page.py. What each page's answers are: test_kinds.py.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from tests.browser.test_kinds import asked
from tests.labelling import READY

from tutelage.feedback.forms import INSTRUCTGPT, Form

RULE = "Do not insult anybody."
FORMS = {"good": None, "rules": Form(rule=RULE), "rating": INSTRUCTGPT, "edit": None}
ONE_KEY = {"good": ("j", "second"), "rules": ("y", "first")}  # the key and the control of an answer that needs one key
HELD = 30


def questions(kind: str, many: int = 12) -> list:
    return asked(kind, many=many, form=FORMS[kind], text="The red fox ran")


def held(page, key: str) -> None:
    *modifiers, last = key.split("+")
    for each in modifiers:
        page.keyboard.down(each)
    for _ in range(HELD):
        page.keyboard.down(last)
    for each in (last, *modifiers):
        page.keyboard.up(each)


def count(studio, who) -> int:
    who.ready()
    who.saved()
    return len(studio.store.labels())


def tabbed(page, wanted: str) -> None:
    """Tab until this is in focus, as who has no pointer does."""
    for _ in range(60):
        if page.evaluate("(wanted) => document.activeElement.matches(wanted)", wanted):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} is not reached by Tab")


@pytest.mark.parametrize("kind", ONE_KEY)
def test_a_held_key_a_double_click_and_two_quick_keys_are_one_answer_each(served, person, kind):
    studio, ann = served(questions(kind)), person()
    key, control = ONE_KEY[kind]
    ann.open(studio.link())
    held(ann.page, key)
    assert count(studio, ann) == 1
    ann.page.locator(f"[data-act={control}]").dblclick()
    assert count(studio, ann) == 2
    ann.page.keyboard.press(key)
    ann.page.keyboard.press(key)  # within the dead time of the next question
    assert count(studio, ann) == 3
    for chord in (f"Control+{key}", f"Alt+{key}", f"Meta+{key}"):
        ann.page.keyboard.press(chord)
    assert count(studio, ann) == 3  # the browser's, not ours


@pytest.mark.parametrize("kind", ONE_KEY)
def test_by_tab_and_enter_alone(served, person, kind):
    studio, ann = served(questions(kind)), person()
    _, control = ONE_KEY[kind]
    ann.open(studio.link())
    for done in (1, 2):  # the control is still in focus at the next question
        ann.ready()
        tabbed(ann.page, f"[data-act={control}]")
        ann.page.keyboard.press("Enter" if done == 1 else "Space")
        assert count(studio, ann) == done
    tabbed(ann.page, "[data-act=undo]")
    ann.next(lambda: ann.page.keyboard.press("Enter"))
    assert count(studio, ann) == 1


def test_a_held_digit_rates_one_line_and_a_held_space_sets_one_flag(served, person):
    studio, ann = served(questions("rating")), person()
    ann.open(studio.link())
    held(ann.page, "6")
    assert ann.page.locator("fieldset.axis input:checked").count() == 1
    held(ann.page, "Space")
    assert ann.page.locator(".flags input:checked").count() == 1
    held(ann.page, "Enter")
    assert count(studio, ann) == 1
    said = studio.store.labels()[0].comparison.verdict.ratings
    assert [flag for flag in INSTRUCTGPT.flags if next(iter(said[flag].values()))] == [INSTRUCTGPT.flags[0]]


def test_flags_and_grades_clicked_twice(served, person):
    """The second click of a pair takes a flag back, as in every form, and changes no grade; Done twice is done once."""
    studio, ann = served(questions("rating")), person()
    ann.open(studio.link())
    ann.page.get_by_role("radio", name="5").dblclick()
    ann.page.get_by_role("checkbox", name=INSTRUCTGPT.flags[2]).dblclick()
    ann.page.get_by_role("checkbox", name=INSTRUCTGPT.flags[4]).click()
    ann.page.locator("[data-act=rate]").dblclick()
    assert count(studio, ann) == 1
    said = {
        name: next(iter(each.values())) for name, each in studio.store.labels()[0].comparison.verdict.ratings.items()
    }
    assert said["overall"] == 5 and [flag for flag in INSTRUCTGPT.flags if said[flag]] == [INSTRUCTGPT.flags[4]]


def test_every_flag_by_tab_and_space_alone(served, person):
    studio, ann = served(questions("rating")), person()
    ann.open(studio.link())
    tabbed(ann.page, "input[type=radio]")
    ann.page.keyboard.press("Space")
    for place in range(len(INSTRUCTGPT.flags)):
        tabbed(ann.page, f"#flag-{len(INSTRUCTGPT.axes) + place}")
        ann.page.keyboard.press("Space")
    tabbed(ann.page, "[data-act=rate]")
    ann.page.keyboard.press("Enter")
    assert count(studio, ann) == 1
    said = studio.store.labels()[0].comparison.verdict.ratings
    assert all(next(iter(said[flag].values())) == 1 for flag in INSTRUCTGPT.flags)
    assert next(iter(said["overall"].values())) == 1


def test_an_edit_by_keyboard_alone_with_its_differences_as_they_are_typed(served, person):
    studio, ann = served(questions("edit")), person()
    ann.open(studio.link())
    tabbed(ann.page, "#text")
    ann.page.keyboard.press("Control+Home")
    shown = [ann.page.locator(".changes").inner_text()]
    for letter in "Yes, jfu?x ":  # letters that are keys elsewhere
        ann.page.keyboard.press("Space" if letter == " " else letter)
        shown.append(ann.page.locator(".changes ins").inner_text().strip())
    assert "Nothing yet" in shown[0] and shown[1:4] == ["YThe", "YeThe", "YesThe"] and shown[-1] == "Yes, jfu?x"
    held(ann.page, "Backspace")
    assert ann.page.locator("#text").input_value().startswith("The red fox")
    assert "Nothing yet" in ann.page.locator(".changes").inner_text()
    ann.page.keyboard.press("Delete")
    assert (
        ann.page.locator(".changes del").inner_text() == "The" and ann.page.locator(".changes ins").inner_text() == "he"
    )
    held(ann.page, "Control+Enter")
    assert count(studio, ann) == 1
    assert next(iter(studio.store.labels()[0].comparison.verdict.edits.values())).startswith("he red fox ran")


def test_an_edit_clicked_twice_and_left_by_escape(served, person):
    studio, ann = served(questions("edit")), person()
    ann.open(studio.link())
    ann.page.locator("#text").dblclick()
    ann.page.keyboard.press("Escape")
    held(ann.page, "e")  # once more into the text; nothing of it is typed
    assert ann.page.evaluate("() => document.activeElement.id") == "text"
    before = ann.page.locator("#text").input_value()
    assert "eee" not in before
    ann.page.keyboard.press("End")
    ann.page.keyboard.type(" home")
    ann.page.locator("[data-act=done]").dblclick()
    assert count(studio, ann) == 1
    assert next(iter(studio.store.labels()[0].comparison.verdict.edits.values())).endswith("home")


LOADING = {
    "good": ("j", "f"),
    "rules": ("n", "y"),
    "rating": ("5", "Enter"),
    "edit": ("Control+Enter", "Control+Enter", "e"),
}
AT_ONCE = """
new MutationObserver(() => {
  if (window.hasty || !document.querySelector("#question > *")) return;
  window.hasty = true;
  for (const pressed of KEYS) {
    const [key, ctrlKey] = [pressed.replace("Control+", ""), pressed.startsWith("Control+")];
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key, ctrlKey, bubbles: true, cancelable: true }));
  }
}).observe(document, { childList: true, subtree: true });
"""


@pytest.mark.parametrize("kind", FORMS)
def test_keys_before_the_question_is_there_answer_nothing(served, person, kind):
    """While the page loads, while the server is slow to give the question, and at the moment that it appears."""
    studio, ann = served(questions(kind)), person()
    pressed = []

    def slowly(route) -> None:
        for key in LOADING[kind]:
            ann.page.keyboard.press(key)
        pressed.append(route.request.url)
        route.continue_()

    ann.context.add_init_script(AT_ONCE.replace("KEYS", json.dumps(LOADING[kind])))
    ann.page.route("**/api/claim", slowly)
    ann.page.route("**/pages/*.js", slowly)
    ann.page.goto(studio.link(), wait_until="commit")
    ann.page.wait_for_function(READY)
    ann.page.wait_for_timeout(300)
    assert any("claim" in each for each in pressed) and any(".js" in each for each in pressed)
    assert ann.page.evaluate("() => window.hasty") and studio.store.labels() == []
    assert ann.page.evaluate("() => window.questions.length") == 1


KEYS = (
    *"fjynbusxrdmgp?=+-0123456789",  # not i: there somebody may leave for good
    *("Enter", "Space", "Escape", "Tab", "Shift+Tab", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"),
    *("Shift+ArrowDown", "Control+Enter", "Control+z", "Backspace", "Delete", "Home", "PageDown"),
)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_pressed_and_clicked_the_page_goes_on_and_the_store_holds(served, person, seed):
    """Two hundred keys and clicks at random over five kinds. Fixtures look for errors of the page and `verify`."""
    mixed = [each for kind in FORMS for each in asked(kind, many=15, form=FORMS[kind], text=kind)]
    mixed = [replace(each, name=f"{each.kind}-{each.name}") for each in (*mixed, *asked("ranking", 3, 15))]
    chance = random.Random(seed)
    chance.shuffle(mixed)
    studio, ann = served(mixed), person()
    ann.open(studio.invite("ann"))
    for _ in range(200):
        what = chance.random()
        if what < 0.8:
            ann.page.keyboard.press(chance.choice(KEYS))
        elif what < 0.9:
            ann.page.mouse.click(chance.randrange(1280), chance.randrange(720), click_count=chance.choice((1, 1, 2, 3)))
        else:
            ann.page.wait_for_timeout(chance.choice((60, 300, 300)))
    before, ben = len(studio.store.labels()), person()
    ben.open(studio.invite("ben"))
    for key in (
        "5",
        "j",
        "y",
        "Enter",
        "Enter",
        "Control+Enter",
        "Control+Enter",
    ):  # one of them answers, whatever it is
        ben.press(key)
    ben.saved()
    labels = studio.store.labels()
    assert len(labels) > before and len({each.question for each in labels}) == len(labels)
    ann.page.goto(studio.address)
    ann.page.wait_for_function(
        "() => document.querySelector('#question > *') || !document.getElementById('empty').hidden"
    )
    ann.saved()
