"""Rankings, good or bad, ratings, rules and edits by keyboard alone, by pointer alone, through reloads and kills."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.labelling import PROGRAM, ROOT

from tutelage.data.records import Candidate, Context
from tutelage.feedback.asking import Asking
from tutelage.feedback.forms import INSTRUCTGPT, Form
from tutelage.feedback.store import Store


def asked(kind: str, count: int = 1, many: int = 3, form=None, text: str = "Reply") -> list[Asking]:
    return [
        Asking(
            Context(prompt=f"Question {i}?"),
            tuple(Candidate(id=f"c{i}-{k}", text=f"{text} {i} number {k}") for k in range(count)),
            kind,
            name=f"q{i}",
            form=form.row() if form else {},
        )
        for i in range(many)
    ]


def order(page) -> list[list[str]]:
    """Letters by place, as they stand on the screen."""
    return page.evaluate(
        "() => [...document.querySelectorAll('.place')].map((each) => "
        "[...each.querySelectorAll('.card')].map((card) => card.dataset.side))"
    )


def ranking(studio, label) -> list[list[str]]:
    """The stored ranking in the letters of the screen."""
    letters = dict(zip(label.comparison.verdict.shown, "ABCDEFGHIJKL"))
    return [[letters[name] for name in place] for place in label.comparison.verdict.ranking]


# --- ranking


def test_a_ranking_by_keys_alone(served, person):
    studio, ann = served(asked("ranking", 4)), person()
    ann.open(studio.link())
    assert order(ann.page) == [["A"], ["B"], ["C"], ["D"]]
    ann.press("ArrowDown", "ArrowDown", "1")  # C to the first place
    assert order(ann.page) == [["C"], ["A"], ["B"], ["D"]]
    ann.press("ArrowDown", "Shift+ArrowDown")  # A below B
    assert order(ann.page) == [["C"], ["B"], ["A"], ["D"]]
    ann.press("=")  # A as good as B
    assert order(ann.page) == [["C"], ["B", "A"], ["D"]]
    ann.press("Enter")
    ann.saved()
    [label] = studio.store.labels()
    assert ranking(studio, label) == [["C"], ["B", "A"], ["D"]]


def test_a_ranking_by_pointer_alone(served, person):
    studio, ann = served(asked("ranking", 3)), person()
    ann.open(studio.link())

    def drag(letter: str, other: str, share: float) -> None:
        start = ann.page.locator(f"[data-side={letter}] .handle").bounding_box()
        target = ann.page.locator(f"[data-side={other}].card").bounding_box()
        ann.page.mouse.move(start["x"] + start["width"] / 2, start["y"] + start["height"] / 2)
        ann.page.mouse.down()
        ann.page.mouse.move(target["x"] + 40, target["y"] + 0.5 * target["height"], steps=4)
        ann.page.mouse.move(target["x"] + 40, target["y"] + share * target["height"], steps=4)
        ann.page.mouse.up()

    drag("C", "A", 0.1)
    assert order(ann.page) == [["C"], ["A"], ["B"]]
    drag("B", "A", 0.5)
    assert order(ann.page) == [["C"], ["A", "B"]]
    drag("C", "A", 0.95)
    assert order(ann.page) == [["A", "B"], ["C"]]
    ann.page.get_by_role("button", name="Move B up").click()
    assert order(ann.page) == [["B"], ["A"], ["C"]]
    ann.page.locator("[data-act=rank]").click()
    ann.saved()
    assert ranking(studio, studio.store.labels()[0]) == [["B"], ["A"], ["C"]]


def test_an_order_that_nobody_touched_is_no_answer_at_once(served, person):
    studio, ann = served(asked("ranking", 3)), person()
    ann.open(studio.link())
    ann.press("Enter")
    ann.page.get_by_text("the order in which they came").wait_for()
    assert studio.store.labels() == []
    ann.press("Enter")
    ann.saved()
    assert len(studio.store.labels()) == 1


def test_a_half_made_ranking_outlives_a_reload_and_an_undo_brings_a_whole_one_back(served, person):
    studio, ann = served(asked("ranking", 4)), person()
    ann.open(studio.link())
    ann.press("ArrowDown", "1", "=")
    ann.press("ArrowDown", "=")
    before = order(ann.page)
    assert before != [["A"], ["B"], ["C"], ["D"]]
    ann.page.reload()
    ann.ready()
    assert order(ann.page) == before
    ann.press("Enter")
    ann.saved()
    ann.next(lambda: ann.page.keyboard.press("u"))
    assert order(ann.page) == before
    ann.press("b")
    ann.saved()
    assert studio.store.labels()[0].comparison.verdict.no_choice == "all bad"


def test_a_ranking_is_told_to_those_who_do_not_see_it(served, person):
    studio, ann = served(asked("ranking", 3)), person()
    ann.open(studio.link())
    ann.press("ArrowDown", "=")
    told = "() => document.getElementById('spoken').textContent === 'Answer B: place 1 of 2, as good as A'"
    ann.page.wait_for_function(told)
    assert ann.page.evaluate("() => document.activeElement.dataset.side") == "B"


# --- the others


def test_good_and_bad(served, person):
    studio, ann = served(asked("good", many=4)), person()
    ann.open(studio.link())
    ann.press("j", "f", "ArrowRight")
    ann.ready()
    ann.page.locator("[data-act=first]").click()
    ann.saved()
    ratings = [next(iter(each.comparison.verdict.ratings["label"].values())) for each in studio.store.labels()]
    assert ratings == [1, 0, 1, 0]


def test_ratings_and_flags_by_keys_alone(served, person):
    form = Form(
        axes=(*INSTRUCTGPT.axes, INSTRUCTGPT.axes[0].model_copy(update={"name": "truth"})), flags=INSTRUCTGPT.flags
    )
    studio, ann = served(asked("rating", form=form)), person()
    ann.open(studio.link())
    ann.press("6", "Enter")
    ann.page.get_by_text("Not rated yet: truth").wait_for()
    ann.press("2", "ArrowDown", "Space", "Enter")  # the second flag
    ann.saved()
    [label] = studio.store.labels()
    said = {axis: next(iter(value.values())) for axis, value in label.comparison.verdict.ratings.items()}
    assert said["overall"] == 6 and said["truth"] == 2
    assert [name for name in INSTRUCTGPT.flags if said[name]] == [INSTRUCTGPT.flags[1]]
    ann.next(lambda: ann.page.keyboard.press("u"))
    assert f"overall 6, truth 2, {INSTRUCTGPT.flags[1]}" in ann.page.locator("#notice").inner_text()
    assert ann.page.get_by_role("checkbox", name=INSTRUCTGPT.flags[1]).is_checked()


def test_ratings_by_pointer_and_by_the_browsers_own_keys(served, person):
    studio, ann = served(asked("rating", form=INSTRUCTGPT)), person()
    ann.open(studio.link())
    ann.page.get_by_role("radio", name="3").click()
    ann.page.get_by_role("checkbox", name="hallucination").click()
    ann.page.keyboard.press("Space")  # it has the focus still: unset again
    ann.page.get_by_role("radio", name="3").focus()
    ann.page.keyboard.press("ArrowRight")
    ann.page.locator("[data-act=rate]").click()
    ann.saved()
    said = studio.store.labels()[0].comparison.verdict.ratings
    assert next(iter(said["overall"].values())) == 4 and next(iter(said["hallucination"].values())) == 0


def test_one_axis_alone_is_answered_by_one_key(served, person):
    studio, ann = served(asked("rating", form=Form(axes=INSTRUCTGPT.axes))), person()
    ann.open(studio.link())
    ann.press("5", "1")
    ann.saved()
    assert len(studio.store.labels()) == 2


def test_a_rule_is_pinned_and_has_three_answers(served, person):
    rule = "Do not <b>insult</b> anybody."
    studio, ann = served(asked("rules", form=Form(rule=rule))), person()
    ann.open(studio.link())
    assert rule in ann.page.locator(".rule").inner_text()
    ann.press("y", "Space", "n")
    ann.saved()
    said = [next(iter(each.comparison.verdict.rules[rule].values())) for each in studio.store.labels()]
    assert said == [True, None, False]


def test_an_edit_with_what_changed_word_by_word(served, person):
    studio, ann = served(asked("edit", text="The red fox ran")), person()
    ann.open(studio.link())
    ann.press("e")
    ann.page.keyboard.press("Home")
    for _ in range(7):
        ann.page.keyboard.press("Delete")
    ann.page.keyboard.type("My blue")  # keys that would skip, undo or flag are letters here
    assert ann.page.locator(".changes del").all_inner_texts() == ["The red"]
    assert ann.page.locator(".changes ins").all_inner_texts() == ["My blue"]
    ann.page.reload()
    ann.ready()
    assert ann.page.locator("#text").input_value().startswith("My blue fox")
    ann.page.locator("#text").focus()
    ann.page.keyboard.press("Control+Enter")
    ann.saved()
    [label] = studio.store.labels()
    assert label.comparison.verdict.edits == {"c0-0": "My blue fox ran 0 number 0"}
    ann.press("Control+Enter")
    ann.page.get_by_text("Nothing was changed").wait_for()
    assert len(studio.store.labels()) == 1


def test_a_demonstration_is_written_where_there_is_nothing(served, person):
    question = Asking(Context(prompt="Why?"), (Candidate(id="unwritten", text=""),), "edit")
    studio, ann = served([question]), person()
    ann.open(studio.link())
    ann.press("Control+Enter")
    ann.page.get_by_text("Nothing is written yet").wait_for()
    ann.page.locator("#text").fill("Because of <script>alert(1)</script> & so on.")
    ann.page.keyboard.press("Control+Enter")
    ann.saved()
    assert list(studio.store.labels()[0].comparison.verdict.edits.values()) == [
        "Because of <script>alert(1)</script> & so on."
    ]


def test_hostile_words_stay_words_on_every_page(served, person):
    evil = '<img src=x onerror="window.hurt = 1"><script>window.hurt = 1</script>[x](javascript:hurt)'
    forms = {"good": {}, "edit": {}, "rules": Form(rule=evil).row()}
    forms["rating"] = {"axes": [{"name": evil}], "flags": [f"{evil}!"]}
    questions = asked("ranking", 2, 1, text=evil)
    for kind, form in forms.items():
        candidates = (Candidate(id=kind, text=evil),)
        questions.append(Asking(Context(prompt=evil), candidates, kind, name=kind, form=form))
    studio, ann = served(questions), person()
    ann.open(studio.link())
    for keys in (("1", "Enter"), ("j",), ("Control+Enter", "Control+Enter"), ("n",), ("4", "Enter")):
        assert ann.page.evaluate("() => window.hurt") is None
        assert ann.page.locator("#question img, #question script, #question a").count() == 0
        ann.press(*keys)
    ann.saved()
    ann.idle()
    assert len(studio.store.labels()) == 5 and ann.strangers(studio.address) == []


def test_a_text_that_may_distress_is_covered_until_somebody_looks(served, person):
    studio, ann = served(asked("good", form=Form(warning="violence"))), person()
    ann.page.goto(studio.link())
    ann.page.wait_for_selector("#empty:not([hidden])")
    ann.page.get_by_text("Nothing is").wait_for()
    ann.page.keyboard.press("i")
    ann.page.get_by_role("checkbox", name="Also ask me").check()
    ann.page.keyboard.press("Escape")
    ann.ready()
    ann.page.get_by_text("This may distress: violence").wait_for()
    ann.page.keyboard.press("j")  # nothing is answered unseen
    ann.page.wait_for_timeout(200)
    assert studio.store.labels() == [] and "Reply" not in ann.page.locator("#question").inner_text()
    ann.page.get_by_role("button", name="Show it").click()
    ann.press("j")
    ann.saved()
    assert len(studio.store.labels()) == 1


# --- through a kill, and into a reward model


def write_rows(path, count: int):
    rows = []
    for i in range(count):
        good = ["thank you kindly", "thank you", "go away", "go away now"]
        rows.append({"prompt": f"Hello {i}?", "responses": [f"{text} number {i}" for text in good]})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


GOOD = ("thank you kindly", "thank you number", "go away now", "go away number")
CARDS = "() => [...document.querySelectorAll('.card')].map((card) => [card.dataset.key, card.innerText])"


def test_rankings_of_a_browser_train_a_reward_model_by_one_command(tmp_path, command, person, words_folder):
    """The server is killed in the midst of an answer; what was ranked goes into a K-way reward model as it is."""
    server = command(str(write_rows(tmp_path / "replies.jsonl", 12)), "--kind", "ranking")
    ann = person()
    ann.open(server.link)
    for number in range(12):
        cards = {next(i for i, each in enumerate(GOOD) if each in text): key for key, text in ann.page.evaluate(CARDS)}
        for place in reversed(range(4)):
            ann.page.locator(f'[data-key="{cards[place]}"].card').focus()
            ann.press("1")
        if number == 5:
            server.kill()
        ann.press("Enter")
        if number == 5:
            ann.page.wait_for_function("() => document.getElementById('saved').dataset.state === 'offline'")
            server.start()
        if number < 11:
            ann.page.wait_for_function(f"() => window.questions.length > {number + 1}")
    ann.saved()
    server.stop()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}

    def tutelage(*arguments: str) -> str:
        told = {"capture_output": True, "text": True, "env": environment, "check": False}
        done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], **told)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    labels, out = tmp_path / "replies.labels", tmp_path / "run"
    assert "nothing lost" in tutelage("feedback", "verify", str(labels))
    given = ("--data", str(labels), "--model", str(words_folder), "--loss", "plackett-luce", "--out", str(out))
    tutelage("reward-model", *given, "--device", "cpu", "--max-tokens", "120")
    summary, lineage = (json.loads((out / name).read_text()) for name in ("summary.json", "labels.json"))
    assert summary["learned_from"] == "plackett-luce" and summary["rows_used"] == 12
    with Store.open(labels / "feedback.db") as store:
        assert len(store.snapshot_labels(lineage["snapshot"])) == 12
        best = [each.comparison.candidates[each.comparison.chosen()].text or "" for each in store.labels()]
    assert all(GOOD[0] in text for text in best)
