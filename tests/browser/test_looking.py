"""The pages for looking and for playing in a browser: what is there, by keyboard alone, on every size.

What axe says of them: test_pictures_of_runs.py.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import uvicorn
from tests import watched
from tests.browser.test_access import SIZES

from tutelage.feedback.store import Store
from tutelage.studio.app import application
from tutelage.studio.look.routes import PAGES, Looking
from tutelage.studio.play.routes import Playing
from tutelage.studio.project import Project, Settings
from tutelage.studio.server import bound, names
from tutelage.studio.sessions import Sessions

HOSTILE = "<img src=x onerror='window.pwned=1'> [go](javascript:window.pwned=1) \u202eexe ![b](http://beacon.example/x)"
READY = "() => document.body.dataset.ready !== undefined"
DRAWN = "(count) => document.querySelectorAll('.js-plotly-plot .main-svg').length >= count"


class Studio:
    """`tutelage studio` in a thread of this process."""

    def __init__(self, folder: Path, runs: Path) -> None:
        self.store = Store.open(folder / "feedback.db")
        self.sessions = Sessions(folder / "sessions.json")
        self.socket = bound("127.0.0.1", 0)
        port = self.socket.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}/"
        self.playing = Playing(Looking(runs), self.store, "cpu")
        project = Project(folder, folder / "feedback.db", Settings(title="runs"), also=self.playing.add)
        app = application(project, self.store, self.sessions, names("127.0.0.1", port))
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)  # pyright: ignore
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()

    def link(self, page: str = "runs", query: str = "") -> str:
        return f"{self.address}look/{page}?t={self.sessions.link(self.store.labeller('ann'), 'ann')}{query}"

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.socket.close()
        self.store.close()


@pytest.fixture
def runs(tmp_path):
    root = tmp_path / "runs"
    watched.finished(root / "ppo-a")
    watched.finished(root / "ppo-b", lift=0.5, settings={"seed": 3})
    watched.going(root / "going")
    watched.pipeline(root / "demo")
    watched.broken(root / "bad")
    return root


@pytest.fixture
def studio(tmp_path, runs):
    found = Studio(tmp_path / "keep", runs)
    yield found
    found.close()


def opened(who, studio, page, query=""):
    who.page.goto(studio.link() if "t=" not in query else query)
    who.page.wait_for_function(READY)
    if page != "runs" or query:
        who.page.goto(f"{studio.address}look/{page}?{query}")
        who.page.wait_for_function(READY)


def test_the_link_leads_to_the_runs_and_leaves_no_trace(studio, person):
    ann = person()
    opened(ann, studio, "runs")
    assert ann.page.url == f"{studio.address}look/runs"
    assert ann.page.locator("table.runs tbody tr").count() == 9
    broken = ann.page.locator("tr", has_text="bad/cut")
    assert "state.json is not JSON" in broken.inner_text()
    assert ann.page.locator("tr", has_text="going").locator(".state").inner_text() == "running"
    assert ann.strangers(studio.address) == []


def test_a_run_that_goes_on_is_seen_to_go_on(studio, person, runs):
    ann = person()
    opened(ann, studio, "runs")
    with (runs / "going" / "events.jsonl").open("a") as file:
        file.write(json.dumps(watched.event(12))[60:] + "\n" + json.dumps(watched.event(25)) + "\n")
    ann.page.locator("tr", has_text="going").get_by_text("26 / 40").wait_for(timeout=15_000)


def test_runs_are_found_sorted_chosen_and_carried_along_by_keyboard_alone(studio, person):
    ann = person()
    opened(ann, studio, "runs")
    page = ann.page
    page.get_by_label("Find").focus()
    page.keyboard.type("ppo-")
    page.wait_for_function("() => document.querySelectorAll('table.runs tbody tr').length === 2")
    page.get_by_role("button", name="Run", exact=True).press("Enter")
    names_ = page.locator(".run-name a").all_inner_texts()
    assert names_ == ["ppo-a", "ppo-b"]
    for name in names_:
        page.get_by_label(f"Choose {name}").press(" ")
    page.locator(".next a", has_text="Curves").press("Enter")
    page.wait_for_function(READY)
    assert page.url.endswith("/look/curves?run=ppo-a&run=ppo-b")
    assert page.locator(".chip").count() == 2
    page.locator(".pages a", has_text="Frontier").press("Enter")
    page.wait_for_function(READY)
    assert "run=ppo-a&run=ppo-b" in page.url


def test_curves_are_drawn_over_each_other_with_what_differs_in_the_settings(studio, person):
    ann = person()
    opened(ann, studio, "curves", "run=ppo-a&run=ppo-b")
    ann.page.wait_for_function(DRAWN, arg=4)
    says = ann.page.locator("figure", has_text="Score").locator(".plot").first.get_attribute("aria-label")
    assert says.startswith("Score: ppo-a, score from") and "ppo-b, gold score from" in says
    for title in ("KL to the reference", "Length", "Entropy", "Win rate", "Seconds by phase"):
        assert ann.page.locator("figcaption", has_text=title).count() == 1
    assert "seed" in ann.page.locator("details.section", has_text="Settings").inner_text()
    ann.page.get_by_label("Find").fill("kl_co")
    ann.page.get_by_role("button", name="Without ppo-b").click()
    assert ann.page.url.count("run=") == 1


def test_a_theme_is_changed_and_plots_with_it(studio, person):
    ann = person(color_scheme="light")
    opened(ann, studio, "curves", "run=ppo-a")
    ann.page.wait_for_function(DRAWN, arg=2)
    ink = "() => getComputedStyle(document.querySelector('.js-plotly-plot .xtick text')).fill"
    before = ann.page.evaluate(ink)
    ann.page.get_by_label("Colours").select_option("dark")
    ann.page.wait_for_function(f"(before) => ({ink})() !== before", arg=before)


def test_samples_side_by_side_shaded_and_searched(studio, person):
    ann = person()
    opened(ann, studio, "samples", "run=ppo-a")
    page = ann.page
    assert page.locator(".column h2").all_inner_texts() == ["Step 0", "Step 28"]
    shaded = '() => document.querySelectorAll(\'.token[class*="up-"], .token[class*="down-"]\').length'
    assert page.evaluate(shaded) > 20
    page.get_by_label("Shading").select_option("")
    page.wait_for_function(f"() => ({shaded})() === 0")
    page.get_by_label("Step of column 1").focus()
    page.keyboard.press("ArrowRight")
    page.locator(".column h2", has_text="Step 2").first.wait_for()
    page.locator(".cards", has_text="of step 2 arrived").first.wait_for()
    page.get_by_label("Search").fill("number 2 of step 6")
    page.keyboard.press("Enter")
    page.locator(".hits", has_text="1 with").wait_for()
    page.locator(".card summary").first.press("Enter")
    page.locator(".card table tbody tr").nth(len(watched.PIECES) - 1).wait_for()


def test_samples_that_cannot_be_read_are_told_on_the_page(studio, person, runs):
    ann, path = person(), runs / "ppo-a" / "samples.jsonl"
    opened(ann, studio, "samples", "run=ppo-a")
    assert not ann.page.locator("main .trouble").is_visible()
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    ann.page.get_by_label("Step of column 1").press("ArrowRight")
    says = "samples.jsonl could not be read: Is a directory."
    ann.page.locator("main .trouble", has_text=says).wait_for()
    ann.page.wait_for_function("(says) => document.getElementById('spoken').textContent === says", arg=says)
    path.rmdir()
    path.write_bytes(b"half a row\n" + content)
    ann.page.reload()
    ann.page.locator("main .trouble", has_text="1 line is no row of samples.jsonl, the first is line 1.").wait_for()
    assert ann.page.locator(".column .card").count() == 6


def test_hostile_names_and_texts_are_inert(studio, person, runs):
    row = {"step": 0, "prompt": HOSTILE, "response": HOSTILE, "tokens": [HOSTILE], "value": [1.0]}
    evil = watched.finished(runs / "<img src=x onerror=alert(1)><b>x")
    watched.write_lines(evil / "samples.jsonl", [row, {"step": 2, "prompt": HOSTILE, "response": HOSTILE}])
    watched.write_lines(evil / "events.jsonl", [{**watched.event(s), HOSTILE: float(s)} for s in range(9)])
    watched.write(evil / "config.json", {"verb": HOSTILE, "settings": {HOSTILE: HOSTILE, "model": HOSTILE}})
    watched.write(evil / "state.json", {"status": HOSTILE, "name": HOSTILE, "stopped_by": HOSTILE})
    ann = person()
    opened(ann, studio, "runs")
    query = "run=%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%3Cb%3Ex&all=1"
    for page in PAGES:
        ann.page.goto(f"{studio.address}look/{page}?{query}")
        ann.page.wait_for_function(READY)
        ann.page.wait_for_timeout(300)
        assert (
            ann.page.locator("main :is(img, iframe, script, style, link, main a[href^=http], [onerror])").count() == 0
        )
        assert ann.page.evaluate("() => window.pwned") is None
    assert ann.strangers(studio.address) == []


def test_the_doctor_says_what_it_finds_and_where_it_could_not_look(studio, person, runs):
    watched.steep(runs / "ppo-a")
    ann = person()
    opened(ann, studio, "doctor", "run=ppo-a&run=bad/cut")
    sick = ann.page.locator("[data-run='ppo-a']")
    sick.locator(".finding", has_text="KL runaway").wait_for()
    sick.locator("figure").first.wait_for()  # drawn after the words, when its columns have come
    assert "Remedy." in sick.inner_text()
    ann.page.locator("[data-run='bad/cut']", has_text="The doctor could not look").wait_for()


def test_lineage_both_ways(studio, person):
    ann = person()
    opened(ann, studio, "lineage")
    ann.page.locator("[data-node='demo//reward-model']").press("Enter")
    told = ann.page.locator(".told").inner_text()
    assert "Made of" in told and "demo / labels" in told and "Went into" in told and "demo / ppo" in told
    lit = ann.page.locator(".node.lit").all_inner_texts()
    assert len(lit) == 4
    ann.page.locator(".told button", has_text="demo / ppo").click()
    assert ann.page.locator("[data-node='demo//ppo']").get_attribute("aria-pressed") == "true"


def test_the_frontier_and_the_curves_of_overoptimisation(studio, person, runs):
    grid = [0.0, 0.5, 1.0, 1.5]
    lines = {"gold": [0, 0.5, 0.6, 0.2], "proxy": [0, 0.6, 1.0, 1.3]}
    bands = {
        f"{name}_{end}": [v + d for v in values]
        for name, values in lines.items()
        for end, d in (("low", -0.1), ("high", 0.1))
    }
    curve = {"method": "PPO", "labels": 100, "width": 64, "sqrt_kl": grid, **lines, **bands}
    watched.write(runs / "ppo-a" / "summary.json", {"curves": [curve]})
    ann = person()
    opened(ann, studio, "frontier", "run=ppo-a&run=ppo-b")
    ann.page.wait_for_function(DRAWN, arg=2)
    assert "ppo-b ends at" in ann.page.locator(".plot.tall").get_attribute("aria-label")
    over = ann.page.locator("section", has_text="Overoptimisation").locator(".plot")
    assert "gold peaks at 0.60 at √KL 1 and ends at 0.20" in over.get_attribute("aria-label")


@pytest.fixture
def models(runs, tiny_classifier):
    """Two policies and a reward model that can be asked."""
    import torch
    from tests.conftest import letters_tokenizer, llama_config
    from transformers import LlamaForCausalLM

    from tutelage.data.tokens import Codec
    from tutelage.rewards.language import RewardModel

    for seed, name in enumerate(("ppo-a", "ppo-b")):
        torch.manual_seed(seed)
        LlamaForCausalLM(llama_config()).save_pretrained(runs / name / "model")
        letters_tokenizer().save_pretrained(runs / name / "model")
        (runs / name / "samples.jsonl").unlink()
    RewardModel(tiny_classifier).save(
        watched.finished(runs / "judge") / "model", Codec(letters_tokenizer(pad_token="<bos>"))
    )
    (runs / "judge" / "samples.jsonl").unlink()


def test_play_talk_arena_best_of_n_and_an_opinion(studio, person, models):
    ann = person()
    opened(ann, studio, "play", "run=ppo-a&run=ppo-b&run=judge")
    page = ann.page
    page.get_by_role("spinbutton", name="Tokens").fill("6")
    page.get_by_role("combobox", name="and", exact=True).select_option(index=2)
    page.get_by_label("You say").fill("abc ")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "() => document.querySelectorAll('.exchange .words:not(.soft)').length === 2", timeout=60_000
    )
    page.get_by_role("tab", name="Chat").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_label("Prompt").fill("abc ")
    page.get_by_role("button", name="Both answer").press("Enter")
    page.get_by_text("Equal").wait_for()
    assert page.locator(".revealed").count() == 0 and "ppo-" not in page.locator(".ring").inner_text()
    page.wait_for_timeout(300)
    page.keyboard.press("j")
    page.locator(".revealed").nth(1).wait_for()
    assert "1" in page.locator("table", has_text="preferred").inner_text()
    assert len(studio.store.labels()) == 1 and studio.store.verify() == []
    page.get_by_role("tab", name="Best of n").click()
    page.get_by_label("Prompt").fill("abc ")
    page.get_by_role("button", name="Draw and score").click()
    page.wait_for_function("() => document.querySelectorAll('.ranked li').length === 8")
    page.get_by_role("tab", name="Opinion").click()
    page.get_by_label("Prompt").fill("abc ")
    page.get_by_label("Reply").fill("de fg")
    page.get_by_role("button", name="What does it say?").click()
    page.locator(".opinions .score").wait_for()
    assert ann.strangers(studio.address) == []


@pytest.mark.parametrize("page", PAGES)
def test_nothing_has_to_be_scrolled_sideways(studio, person, page):
    ann = person()
    opened(ann, studio, page, "run=ppo-a&run=demo")
    for width, height in SIZES:
        ann.page.set_viewport_size({"width": width, "height": height})
        ann.page.wait_for_timeout(50)
        assert ann.page.evaluate("() => document.documentElement.scrollWidth") <= width, width
        small = """() => [...document.querySelectorAll('main button, main select, main input, nav a')]
            .filter((each) => each.checkVisibility())
            .map((each) => [each.outerHTML.slice(0, 80), each.getBoundingClientRect()])
            .filter(([, box]) => box.height < 24 && box.width < 24).map(([what]) => what)"""
        assert [each for each in ann.page.evaluate(small) if "checkbox" not in each] == []
