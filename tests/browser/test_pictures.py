"""Every page at 1280 and 390 pixels, light and dark: nothing wider than the screen, no finding of axe, and a picture.

TUTELAGE_PICTURES=DIR keeps the pictures there, to be looked at; docs/*.png are some of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.browser_speakers import SPEAKERS
from tests.labelling import ROOT

from tutelage.data.records import Candidate, Context
from tutelage.feedback.asking import Asking
from tutelage.feedback.forms import INSTRUCTGPT, Form
from tutelage.studio.project import Settings

AXE = ROOT / ".build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
LOOKS = [(width, height, scheme) for width, height in ((1280, 800), (390, 844)) for scheme in ("light", "dark")]
PROMPT = "My parcel was promised for Monday and is not here. The number is HD-2041. What now?"
REPLIES = (
    "I am sorry that it is late. HD-2041 left our store on **Friday** and is with the carrier; it should reach you by "
    "Wednesday. If it does not, write to us and we send another one at once.",
    "Please check the tracking page.",
    "Parcels are sometimes late. There is nothing that we can do about that, since the carrier is another company.",
    "HD-2041 is on its way. Expected: Wednesday.\n\n- late: ask for another one\n- lost: money back",
)
TITLE = Settings(title="Replies of a helpdesk")
RULE = "The reply must not put the blame on somebody else."


def asked(kind: str, count: int, form: Form | None = None) -> list[Asking]:
    candidates = tuple(Candidate(id=f"c{i}", text=text) for i, text in enumerate(REPLIES[:count]))
    return [Asking(Context(prompt=PROMPT), candidates, kind, form=form.row() if form else {})]


def prepared(kind: str, page) -> None:
    """Each page in the midst of its work."""
    keys = {"ranking": ("ArrowDown", "1", "ArrowDown", "ArrowDown", "="), "rating": ("5", "ArrowDown", "Space")}
    for key in keys.get(kind, ()):
        page.keyboard.press(key)
    if kind == "edit":
        page.locator("#text").fill(
            REPLIES[0].replace("I am sorry that it is late. ", "Sorry! ").replace("at once", "the same day")
        )


KINDS = {
    "pair": asked("pair", 2),
    "ranking": asked("ranking", 4),
    "good": asked("good", 1),
    "rating": asked("rating", 1, INSTRUCTGPT),
    "rules": asked("rules", 1, Form(rule=RULE)),
    "edit": asked("edit", 1),
    "cover": asked("good", 1, Form(warning="anger")),
}


def findings(page) -> list:
    """What axe finds against WCAG 2.2 A and AA, and its good practice; nothing where axe is not there."""
    if not AXE.exists():
        return []
    page.evaluate(Path(AXE).read_text(encoding="utf-8"))
    violations = page.evaluate("() => axe.run().then((result) => result.violations)")
    return [(each["id"], each["impact"], [node["html"][:160] for node in each["nodes"]]) for each in violations]


def seen(page, name: str, look) -> None:
    width, _, scheme = look
    page.wait_for_timeout(100)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    if os.environ.get("TUTELAGE_PICTURES"):
        place = Path(os.environ["TUTELAGE_PICTURES"]) / f"{name}-{width}-{scheme}.png"
        page.screenshot(path=str(place), full_page=True)
    assert findings(page) == []


def somebody(person, look):
    width, height, scheme = look
    return person(viewport={"width": width, "height": height}, color_scheme=scheme, bypass_csp=True)


@pytest.mark.parametrize("kind", KINDS)
def test_pages_of_all_kinds(served, person, kind):
    studio = served(KINDS[kind], TITLE)
    for number, look in enumerate(LOOKS):
        who, name = somebody(person, look), f"person {number}"
        if kind == "cover":
            studio.willing(name)
        who.open(studio.link(name))
        prepared(kind, who.page)
        seen(who.page, kind, look)
        if kind == "ranking" and number == 0:
            who.page.keyboard.press("i")
            who.page.get_by_role("heading", name="You:").wait_for()
            assert findings(who.page) == []
        given = studio.store.held(studio.store.labeller(name))[0]
        studio.store.skip(studio.store.labeller(name), given.id, given.lease, f"next-{number}", "the next one looks")


def answered_by_many(studio) -> None:
    """Twelve people who agree more or less, two policies, repeats."""
    questions = [
        Asking(
            Context(prompt=f"Question {i}?"),
            (
                Candidate(id=f"a{i}", text="A kind and rather longer reply" * (1 + i % 2), policy="ppo-400"),
                Candidate(id=f"b{i}", text=f"Short reply {i}", policy="sft"),
            ),
            name=f"q{i}",
            wanted=12,
        )
        for i in range(30)
    ]
    studio.store.ask(questions)
    for person in range(12):
        name = ("Ada", "Ben", "Cleo", "Dov", "Esi", "Finn", "Gwen", "Hao", "Ines", "Jon", "Kofi", "Lu")[person]
        labeller = studio.store.labeller(name)
        studio.members.accept(studio.members.invite(labeller, name, "labeller", 1.0))
        for number, given in enumerate(studio.store.claim(labeller, 30)):
            own = next(each for each in given.shown if (each.text or "").startswith("A kind"))
            kind = (person * 7 + number * 5) % 10 < 7
            choice = own if kind else next(each for each in given.shown if each is not own)
            studio.store.answer(
                labeller,
                given.id,
                given.lease,
                f"k{number}",
                {"choice": choice.id},
                {"shown_at": 1.0, "answered_at": 8.5 + person},
            )


def test_the_overview(served, person):
    studio = served([], TITLE)
    answered_by_many(studio)
    for look in LOOKS:
        who = somebody(person, look)
        who.page.goto(studio.link("olga"))
        who.page.get_by_text("Nothing is asked").wait_for()
        who.page.goto(f"{studio.address}team")
        who.page.get_by_role("heading", name="Policies").wait_for()
        who.page.locator("details summary").first.click()
        seen(who.page, "team", look)


def test_talks(served, person):
    studio = served([], TITLE, SPEAKERS)
    for number, look in enumerate(LOOKS):
        who = somebody(person, look)
        who.page.goto(studio.link(f"person {number}"))
        who.page.get_by_text("Nothing is asked").wait_for()
        who.page.goto(f"{studio.address}talk")
        who.page.get_by_role("heading", name="A new talk").wait_for()
        seen(who.page, "talk-begin", look)
        who.page.get_by_role("button", name="Talk").click()
        for text in ("Where is my parcel?", "And when will it come?"):
            who.page.locator("#text").fill(text)
            who.page.keyboard.press("Enter")
            who.page.wait_for_selector(".side")
            who.page.wait_for_timeout(400)
            if text.startswith("Where"):
                who.page.keyboard.press("f")
                who.page.wait_for_selector("#say:not([hidden])")
        seen(who.page, "talk", look)
