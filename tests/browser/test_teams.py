"""A team in the browser: an invitation, the overview, a decision, a talk; who may only look."""

from __future__ import annotations

from tests.browser_speakers import SPEAKERS

from tutelage.data.records import Candidate, Context
from tutelage.feedback.asking import Asking, Check
from tutelage.studio.project import Settings


def asked(count: int, wanted: int = 2) -> list[Asking]:
    return [
        Asking(
            Context(prompt=f"Question {i}?"),
            (
                Candidate(id=f"a{i}", text=f"Left {i}, and more", policy="step-100"),
                Candidate(id=f"b{i}", text=f"Right {i}", policy="step-200"),
            ),
            name=f"q{i}",
            wanted=wanted,
        )
        for i in range(count)
    ]


def test_somebody_is_invited_answers_and_stands_in_the_overview(served, person):
    studio, owner, ann = served(asked(3)), person(), person()
    owner.open(studio.link("olga"))
    owner.page.get_by_role("link", name="Overview").click()
    owner.page.get_by_label("Name").fill("Ann <b>")
    owner.page.get_by_role("button", name="Make a link").click()
    link = owner.page.locator("#invite code").inner_text()
    ann.open(link)
    assert not ann.page.get_by_role("link", name="Overview").is_visible()
    ann.press("f", "j", "f")
    ann.saved()
    ann.page.goto(f"{studio.address}team")
    ann.page.get_by_text("Your role here is labeller").wait_for()
    owner.page.reload()
    owner.page.get_by_role("group", name="Labellers").get_by_text("Ann <b>").wait_for()
    row = owner.page.locator("#people tbody tr").inner_text()
    assert "3" in row and "Ann <b>" in row


def test_a_viewer_looks_and_cannot_answer(served, person):
    studio, vera = served(asked(2)), person()
    vera.page.goto(studio.invite("vera", "viewer"))
    vera.page.get_by_text("Your role is to look").wait_for()
    assert vera.page.locator("#acts button").count() == 0
    vera.page.keyboard.press("f")
    vera.page.get_by_role("link", name="Overview").click()
    vera.page.get_by_role("heading", name="How far people agree").wait_for()
    assert vera.page.locator("#invite").count() == 0 and vera.page.locator("#members").count() == 0
    assert studio.store.labels() == []


def test_two_people_disagree_and_a_lead_decides(served, person):
    studio, ann, bob, lead = served(asked(1)), person(), person(), person()
    for who, name in ((ann, "ann"), (bob, "bob")):
        who.open(studio.invite(name))
        side = who.shown().index(
            next(text for text in who.shown() if text.startswith("Left" if who is ann else "Right"))
        )
        who.press("fj"[side])
        who.saved()
    lead.page.goto(studio.invite("leo", "lead"))
    lead.page.get_by_role("link", name="Overview").click()
    lead.page.get_by_text("q0: 1 against 1").wait_for()
    lead.page.get_by_role("button", name="Put 1 before me").click()
    lead.page.get_by_text("They are your next questions").first.wait_for()
    lead.page.get_by_role("link", name="Answer questions").click()
    lead.ready()
    lead.press("f")
    lead.saved()
    assert len(studio.store.labels()) == 3


def test_the_qualification_says_what_would_have_been_right(served, person):
    candidates = Candidate(id="good", text="It is on its way."), Candidate(id="bad", text="No idea.")
    check = Check("qualification", right={"choice": "good"}, says="It answers the question.")
    first = Asking(Context(prompt="Where?"), candidates, name="known", check=check)
    studio, ann = served([first, *asked(2)], Settings(qualification="known.jsonl", pass_share=0.0)), person()
    ann.open(studio.invite("ann"))
    ann.press("f" if ann.shown()[0].startswith("No idea") else "j")
    ann.page.get_by_text("We would have said otherwise. It answers the question.").wait_for()
    ann.page.get_by_text("Question 0?").wait_for()


def test_a_guideline_is_read_before_the_first_answer(served, person):
    studio, ann = served([]), person()
    studio.store.guideline("Prefer the **shorter** one.")
    studio.store.ask(asked(2))
    ann.page.goto(studio.invite("ann"))
    ann.page.locator("#guideline[open]").get_by_text("shorter").wait_for()
    ann.page.keyboard.press("Escape")
    ann.press("f")
    ann.page.reload()
    ann.ready()
    assert not ann.page.locator("#guideline[open]").count()


def test_whoever_leaves_is_thanked_and_out(served, person):
    studio, ann = served(asked(4)), person()
    ann.open(studio.invite("ann"))
    ann.press("f")
    ann.saved()
    ann.page.keyboard.press("i")
    leave = ann.page.get_by_role("button", name="Leave for good")
    leave.click()
    leave.click()
    ann.page.get_by_text("You have left. Thank you").wait_for()
    assert len(studio.store.labels()) == 1 and studio.store.held(studio.store.labeller("ann")) == []


def talked(who, text: str) -> None:
    who.page.locator("#text").fill(text)
    who.page.keyboard.press("Enter")
    who.page.wait_for_selector(".side")
    who.page.wait_for_timeout(350)


def test_a_talk_in_which_the_chosen_reply_goes_on_through_a_reload(served, person):
    studio, ann = served([], voices=SPEAKERS), person()
    ann.page.goto(studio.link())
    ann.page.get_by_role("link", name="Talk").click()
    ann.page.get_by_role("button", name="Talk").click()
    talked(ann, "why?")
    sides = ann.page.locator(".side .words").all_inner_texts()
    ann.page.keyboard.press("j")
    ann.page.wait_for_selector("#say:not([hidden])")
    assert sides[1] in ann.page.locator("#log").inner_text() and sides[0] not in ann.page.locator("#log").inner_text()
    ann.page.locator("#text").fill("half a mess")
    ann.page.reload()
    ann.page.wait_for_selector("#say:not([hidden])")
    assert ann.page.locator("#text").input_value() == "half a mess"
    talked(ann, "and then <b>?")
    assert "and then <b>?" in ann.page.locator("#log").inner_text()
    ann.page.reload()
    ann.page.wait_for_selector(".side")
    ann.page.wait_for_timeout(350)
    ann.page.locator("[data-act=first]").click()
    ann.page.wait_for_selector("#say:not([hidden])")
    first, second = studio.store.labels()
    assert second.comparison.context.messages[1]["content"] == first.comparison.texts[first.comparison.chosen()]


def test_an_attack_ends_with_the_attackers_own_rating(served, person):
    studio, ann = served([], voices=SPEAKERS), person()
    ann.page.goto(studio.link())
    ann.page.get_by_text("Nothing is asked").wait_for()
    ann.page.keyboard.press("i")
    ann.page.get_by_role("checkbox", name="Also ask me").check()
    ann.page.keyboard.press("Escape")
    ann.page.goto(f"{studio.address}talk")
    ann.page.get_by_role("button", name="Attack").click()
    assert ann.page.evaluate("() => document.activeElement.id") == "task"  # the task comes first
    ann.page.keyboard.type("make it rude")
    ann.page.get_by_role("button", name="Attack").click()
    talked(ann, "be rude")
    ann.page.locator(".asks").get_by_text("Which reply is less harmful?").wait_for()
    ann.page.keyboard.press("f")
    ann.page.wait_for_selector("#say:not([hidden])")
    ann.page.get_by_role("button", name="End the talk").click()
    ann.page.get_by_role("radio", name="3").check()
    ann.page.get_by_role("button", name="Done").click()
    ann.page.get_by_role("heading", name="A new talk").wait_for()
    *_, label = studio.store.labels()
    assert list(label.comparison.verdict.ratings["attack success"].values()) == [3.0]
    assert "make it rude" in (label.comparison.verdict.notes or "")
