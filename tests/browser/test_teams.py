"""A team in the browser: an invitation, the overview, a decision, a talk; who may only look."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.browser.test_haste import tabbed
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


def judged(studio) -> None:
    """Two people answered two questions about two policies, and one of them differently."""
    for name, choose in (("Ann Secret", 0), ("Bob Secret", 1)):
        labeller = studio.store.labeller(name)
        studio.members.accept(studio.members.invite(labeller, name, "labeller", 1.0))
        for given in studio.store.claim(labeller, 2):
            own = sorted(given.shown, key=lambda each: each.text or "")[choose]
            studio.store.answer(labeller, given.id, given.lease, given.id, {"choice": own.id})


SECTIONS = ["Is it worth going on?", "How far people agree", "Labellers", "What pulls at the answers", "Policies"]
LEADING = ["To decide", "Members", "Invite"]
SEES = {"owner": [*SECTIONS, *LEADING], "lead": [*SECTIONS, *LEADING], "viewer": SECTIONS, "labeller": []}
INVITES = {"owner": ["labeller", "viewer", "lead", "owner"], "lead": ["labeller", "viewer"]}


@pytest.mark.parametrize("role", SEES)
def test_what_each_role_sees_of_the_overview(served, person, role):
    studio, who = served(asked(2)), person()
    judged(studio)
    who.page.goto(studio.link("olga") if role == "owner" else studio.invite("lea", role))
    who.page.get_by_text("Your role is to look" if role == "viewer" else "Nothing is").wait_for()
    who.page.goto(f"{studio.address}team")
    who.page.get_by_text(
        "Your role here is labeller" if role == "labeller" else "Is it worth going on?"
    ).first.wait_for()
    assert who.page.locator("#overview h2").all_inner_texts() == SEES[role]
    told = who.page.content() + who.page.evaluate("() => fetch('/api/team').then((answer) => answer.text())")
    assert ("Secret" in told) == (role in INVITES)
    assert ("step-100" in told) == (role != "labeller")
    assert who.page.locator("#invite-role option").evaluate_all(
        "(all) => all.map((each) => each.value)"
    ) == INVITES.get(role, [])
    assert who.page.get_by_label("Role of Ann Secret").count() == (role == "owner")
    before = studio.store.stats()["events"]
    for key in ("f", "j", "Enter", "Space", "u", "Control+Enter"):
        who.page.keyboard.press(key)
    assert studio.store.stats()["events"] == before


def test_the_overview_by_keyboard_alone_and_with_a_heavy_hand(served, person):
    """A held Enter and a double click make one invitation each; a role is given when that is said, not on the way."""
    studio, olga = served(asked(2, wanted=3)), person()
    judged(studio)
    olga.open(studio.link("olga"))
    tabbed(olga.page, "#overview")
    olga.page.keyboard.press("Enter")
    olga.page.get_by_role("heading", name="Invite").wait_for()
    tabbed(olga.page, "#invite-name")
    olga.page.keyboard.type("Cleo")
    for _ in range(30):
        olga.page.keyboard.down("Enter")
    olga.page.keyboard.up("Enter")
    olga.page.locator("#invite code").wait_for()
    olga.page.get_by_label("Name").fill("Dov")
    olga.page.get_by_role("button", name="Make a link").dblclick()
    olga.page.get_by_text("For Dov, once").wait_for()
    assert sorted(each.name for each in studio.members.invitations.values()) == ["Cleo", "Dov"]
    ann = studio.store.labeller("Ann Secret")
    tabbed(olga.page, "[aria-label='Role of Ann Secret']")
    for role in ("viewer", "lead", "owner"):
        olga.page.keyboard.press("ArrowDown")
        assert olga.page.get_by_label("Role of Ann Secret").input_value() == role
    olga.page.keyboard.press("ArrowUp")
    assert studio.members.by_labeller[ann].role == "labeller"
    olga.page.keyboard.press("Tab")
    olga.page.keyboard.press("Enter")
    olga.page.locator("#notice").get_by_text("Ann Secret is lead now").wait_for()
    assert studio.members.by_labeller[ann].role == "lead"
    olga.page.get_by_role("button", name="Remove: Bob Secret").dblclick()
    olga.page.locator("#notice").get_by_text("Bob Secret is no member any more").wait_for()
    olga.page.get_by_role("button", name="Remove: Bob Secret").wait_for(state="detached")
    assert olga.page.get_by_role("button", name="Remove: Ann Secret").count() == 1


def test_whoever_becomes_a_viewer_answers_no_more(served, person):
    """The page of the labeller is still open: what it sends is refused, and what was answered before stays."""
    studio, ann = served(asked(6)), person()
    ann.open(studio.invite("ann"))
    ann.press("f")
    ann.saved()
    labeller = studio.store.labeller("ann")
    studio.members.keep(replace(studio.members.by_labeller[labeller], role="viewer"))
    ann.press("j")
    ann.page.locator("#notice").get_by_text("not taken").wait_for()
    assert len(studio.store.labels()) == 1
    ann.page.reload()
    ann.page.get_by_text("Your role is to look").wait_for()


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
    ann.page.get_by_text("Nothing is").wait_for()
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
