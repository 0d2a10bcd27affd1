"""What the page does with keys, clicks, two people, withdrawn questions and news."""

from __future__ import annotations

import json
import os

import pytest
from tests.labelling import READY, texts

from tutelage.data.records import Candidate, Context
from tutelage.feedback.asking import Asking
from tutelage.studio.project import Settings


def asked(count: int, **changes) -> list[Asking]:
    return [
        Asking(
            Context(prompt=f"Question {i}?"),
            (Candidate(id=f"a{i}", text=f"Left {i}"), Candidate(id=f"b{i}", text=f"Right {i}")),
            name=f"q{i}",
            **changes,
        )
        for i in range(count)
    ]


def test_a_held_key_and_a_double_click_are_one_answer(served, person):
    studio, ann = served(asked(12)), person()
    ann.open(studio.link())
    for _ in range(30):
        ann.page.keyboard.down("f")  # repeats while it is held
    ann.page.keyboard.up("f")
    ann.ready()
    assert len(studio.store.labels()) == 1
    ann.page.locator("[data-act=second]").dblclick()
    ann.ready()
    ann.saved()
    assert len(studio.store.labels()) == 2
    ann.page.keyboard.press("f")
    ann.page.keyboard.press("f")  # within the dead time of the next question
    ann.ready()
    ann.saved()
    assert len(studio.store.labels()) == 3


def test_a_clicked_control_does_not_take_the_space_key(served, person):
    studio, ann = served(asked(6)), person()
    ann.open(studio.link())
    ann.page.locator("[data-act=first]").click()
    ann.press("Space")
    ann.saved()
    assert [each.comparison.best is None for each in studio.store.labels()] == [False, True]


def test_a_control_in_focus_is_pressed_by_the_keyboard_alone(served, person):
    studio, ann = served(asked(6)), person()
    ann.open(studio.link())
    ann.page.locator("[data-act=second]").focus()
    second = ann.shown()[1]
    ann.press("Enter")
    ann.saved()
    assert texts(studio.store.labels()) == [second]


def test_two_people_race_for_the_last_question(served, person):
    studio, ann, bob = served(asked(1)), person(), person()
    for each, name in ((ann, "ann"), (bob, "bob")):
        each.page.goto(studio.link(name))
    for each in (ann, bob):
        each.page.wait_for_function(
            "() => window.questions.length || document.getElementById('empty').textContent.startsWith('Nothing')"
        )
    holding = [each for each in (ann, bob) if each.page.evaluate("() => window.questions.length")]
    assert len(holding) == 1
    holding[0].press("f")
    holding[0].saved()
    assert len(studio.store.labels()) == 1


def test_two_tabs_of_one_person_make_one_answer(served, person):
    studio, ann = served(asked(1)), person()
    ann.open(studio.link())
    other = ann.context.new_page()
    other.route("**/api/news*", lambda route: route.abort())  # else it may hear in time that the question is answered
    other.goto(studio.address)
    other.wait_for_function(READY)
    ann.press("f")
    ann.saved()
    other.keyboard.press("j")
    other.locator("#notice").get_by_text("not taken").wait_for()
    assert len(studio.store.labels()) == 1


def test_an_answer_whose_reply_was_lost_is_sent_again_and_is_one(served, person):
    """The server had stored it; the page cannot know. Undo is sent twice, too, and takes back one answer."""
    studio, ann, lost = served(asked(6)), person(), []

    def lose(route) -> None:
        if len(lost) % 2 == 0:
            route.fetch()
            route.abort()
        else:
            route.continue_()
        lost.append(route.request.url)

    ann.open(studio.link())
    ann.page.route("**/api/answer", lose)
    ann.page.route("**/api/undo", lose)
    ann.press("f", "j")
    ann.saved()
    assert len(lost) == 4 and len(studio.store.labels()) == 2
    ann.next(lambda: ann.page.keyboard.press("u"))
    assert len(lost) == 6 and len(studio.store.labels()) == 1


def test_a_key_after_undo_waits_for_the_question_that_comes_back(served, person):
    """On a slow network, too; but where there is none, what is on the screen can be answered meanwhile."""
    studio, ann = served(asked(6)), person()
    ann.open(studio.link())
    ann.press("f")
    ann.saved()

    def slowly(route) -> None:
        ann.page.keyboard.press("j")  # before the answer to undo is there
        route.continue_()

    ann.page.route("**/api/undo", slowly)
    ann.next(lambda: ann.page.keyboard.press("u"))
    ann.saved()
    assert studio.store.labels() == [] and "Question 0?" in ann.page.locator(".prompt").inner_text()
    ann.page.unroute("**/api/undo")
    ann.press("f")
    ann.saved()
    ann.context.set_offline(True)
    ann.press("u")
    ann.press("j")
    ann.context.set_offline(False)
    ann.saved()
    assert [each.question for each in studio.store.labels()] == ["q1"]
    ann.page.get_by_text("Question 0?").wait_for()


def test_entering_again_in_another_tab_costs_no_answer(served, person):
    """The first tab's proof is that of a session that the cookie no longer names."""
    studio, ann = served(asked(9)), person()
    ann.open(studio.link())
    other = ann.context.new_page()
    other.goto(studio.link())
    other.wait_for_function("() => window.questions.length")
    other.close()
    ann.press("f", "j")
    ann.saved()
    assert len(studio.store.labels()) == 2


def test_undo_twenty_deep_across_a_reload_with_the_reason(served, person):
    studio, ann = served(asked(22)), person()
    ann.open(studio.link())
    ann.press("r")
    ann.page.keyboard.type("fair and short, j")
    ann.page.reload()
    ann.ready()
    assert ann.page.locator("#note").input_value() == "fair and short, j"  # a draft survives
    ann.press("f")
    for _ in range(20):
        ann.press("j")
    ann.saved()
    ann.page.reload()
    ann.ready()
    for left in range(20, -1, -1):
        ann.next(lambda: ann.page.keyboard.press("Control+z"))
        ann.saved()
        assert len(studio.store.labels()) == left
    assert ann.page.locator("#note").input_value() == "fair and short, j"
    assert "Before: A is better" in ann.page.locator("#notice").inner_text()
    ann.press("Space")
    ann.saved()
    [label] = studio.store.labels()
    assert label.comparison.verdict.notes == "fair and short, j"


def test_what_was_taken_back_is_on_the_screen_after_a_reload(served, person):
    studio, ann = served(asked(12)), person()
    ann.open(studio.link())
    before = ann.shown()
    ann.press("f", "j")
    for _ in range(2):
        ann.next(lambda: ann.page.keyboard.press("u"))
    ann.page.reload()
    ann.ready()
    assert ann.shown() == before


def test_seven_grades_and_both_bad(served, person):
    studio, ann = served(asked(8), Settings(scale="graded")), person()
    ann.open(studio.link())
    grades = {"1": (0, 1.0), "2": (0, 2 / 3), "3": (0, 1 / 3), "5": (1, 1 / 3), "6": (1, 2 / 3), "7": (1, 1.0)}
    expected = []
    for key, (side, strength) in grades.items():
        ann.press("Shift")
        expected.append((ann.shown()[side], pytest.approx(strength)))
        ann.press(key)
    ann.press("4", "b")
    ann.saved()
    *graded, tie, bad = studio.store.labels()
    assert list(zip(texts(graded), [each.comparison.verdict.strength for each in graded])) == expected
    assert tie.comparison.verdict.strength == 0 and len(tie.comparison.verdict.ranking) == 1
    assert bad.comparison.verdict.no_choice == "all bad"


def test_skip_with_a_reason_and_flags(served, person):
    studio, ann = served(asked(4)), person()
    ann.open(studio.link())
    ann.press("x")
    ann.page.keyboard.press("3")  # distressing: flagged, and skipped
    ann.press("s")
    ann.page.keyboard.press("Escape")
    ann.press("s")
    ann.page.keyboard.press("2")
    ann.press("f")
    ann.saved()
    [label] = studio.store.labels()
    assert label.question == "q2"


def test_keys_can_be_changed_and_switched_off(served, person):
    studio, ann = served(asked(8)), person()
    ann.open(studio.link())
    ann.press("?")
    ann.page.get_by_role("button", name="Change the key of: A is better.").click()
    ann.page.keyboard.press("q")
    ann.page.keyboard.press("Escape")
    first = ann.shown()[0]
    ann.press("f")  # nobody's key now
    ann.press("q")
    ann.saved()
    assert texts(studio.store.labels()) == [first]
    ann.press("?")
    ann.page.get_by_role("checkbox").uncheck()
    ann.page.keyboard.press("Escape")
    ann.press("q", "j")
    assert len(studio.store.labels()) == 1
    ann.page.reload()
    ann.press("j")
    assert len(studio.store.labels()) == 1  # remembered
    ann.page.locator("[data-act=second]").click()
    ann.saved()
    assert len(studio.store.labels()) == 2


def test_a_block_ends_with_a_pause_that_covers_the_question(served, person):
    studio, ann = served(asked(6), Settings(block=2, pause_seconds=20)), person()
    ann.open(studio.link())
    ann.press("f", "j")
    ann.page.get_by_text("2 done.").wait_for()
    assert not ann.page.locator(".pair").is_visible()
    ann.page.keyboard.press("f")  # answers nothing
    ann.page.wait_for_timeout(300)
    ann.page.keyboard.press("Enter")
    ann.press("f")
    ann.saved()
    assert len(studio.store.labels()) == 3


def test_a_question_is_withdrawn_while_it_is_on_the_screen(served, person):
    studio, ann = served(asked(3)), person()
    ann.open(studio.link())
    ann.next(lambda: studio.store.withdraw(["q0"], "the policy moved on"))
    ann.page.get_by_text("not asked any more").wait_for()
    assert "Question 1?" in ann.page.locator(".prompt").inner_text()
    ann.ready()
    ann.press("f")
    ann.saved()
    assert [each.question for each in studio.store.labels()] == ["q1"]


def test_what_moved_and_new_questions_appear_by_themselves(served, person, tmp_path):
    studio, ann = served(asked(1)), person()
    ann.open(studio.link())
    ann.press("f")
    ann.idle()
    live = {"policy": "r1-s3", "win_rate": 0.61, "win_rate_low": 0.52, "win_rate_high": 0.7, "kl_nats": 3.1}
    (tmp_path / "part").write_text(json.dumps({**live, "waiting": True, "wins": [{"name": "shorter", "value": 0.8}]}))
    os.replace(tmp_path / "part", tmp_path / "live.json")
    ann.page.get_by_text("61 % over the first policy (52 to 70 %)").wait_for()
    assert "r1-s3" not in ann.page.content()
    studio.store.ask(asked(2)[1:])
    ann.ready()
    assert "Question 1?" in ann.page.locator(".prompt").inner_text()


def test_differences_and_what_was_written(served, person):
    texts_ = ("The *red* fox ran home.", "The *red* dog ran home.")
    candidates = tuple(Candidate(id=str(i), text=text) for i, text in enumerate(texts_))
    studio, ann = served([Asking(Context(prompt="p"), candidates)]), person()
    ann.open(studio.link())
    assert ann.page.locator(".side em").count() == 2
    ann.press("m")
    assert ann.page.locator(".side em").count() == 0 and "*red*" in ann.shown()[0]
    ann.press("d")
    assert sorted(ann.page.locator("mark").all_inner_texts()) == ["dog", "fox"]


def test_the_guideline_is_the_version_of_the_question(served, person):
    studio, ann = served([]), person()
    studio.store.guideline("Prefer the **shorter** one.")
    studio.store.ask(asked(1))
    ann.open(studio.link())
    studio.store.guideline("Prefer the longer one.")
    ann.press("g")
    assert "shorter" in ann.page.locator("#guideline").inner_text()
