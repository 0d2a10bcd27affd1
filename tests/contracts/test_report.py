"""The report: one file, nothing loaded from elsewhere, and nothing that a model wrote does anything."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from tutelage.cli import run_command
from tutelage.report.page import rendered
from tutelage.report.plots import script
from tutelage.report.sanitise import LONGEST, sanitised
from tutelage.runs.run import Run

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](https://example.org/spy.png)",
    "<svg/onload=alert(1)>",
    "<a href='data:text/html;base64,PHNjcmlwdD4='>x</a>",
    "</div></section><iframe src=//example.org></iframe>",
    "{{ 7 * 7 }} {% raw %}",
    "<style>*{display:none}</style>",
    "<!--",
    "`</code><script>alert(1)</script>`",
)


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def elements(text):
    parser = Elements()
    parser.feed(text)
    return parser.found


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_model_wrote_is_only_words(text):
    for tag, attributes in elements(str(sanitised(text))):
        assert tag in {"p", "code", "pre", "em", "strong"} and not attributes


def test_markdown_is_shown_and_a_very_long_text_is_cut_with_a_note():
    assert "<strong>b</strong>" in sanitised("a **b**")
    assert "5 more characters" in sanitised("x" * (LONGEST + 5))


@pytest.fixture
def hostile_run(tmp_path):
    run = Run.create(tmp_path / "<b>run", {"prompt": "<script>alert(2)</script>"})
    for step in run.steps(3):
        run.record(step, {"loss": 1.0, "score": 0.1 * step, "kl_nats_per_sequence": 0.2})
    rows = [{"prompt": text, "before": text, "after": text, "before_gold": 0.1, "after_gold": 0.9} for text in HOSTILE]
    run.keep_samples(0, [*rows, {"prompt": HOSTILE[0], "response": HOSTILE[1], "score": 1.0}])
    run.mark_finished({"note": "<script>alert(3)</script>", "win_rate": 0.8, "win_rate_low": 0.7, "win_rate_high": 0.9})
    return run


def test_nothing_hostile_becomes_part_of_the_page(hostile_run):
    page = rendered(hostile_run.path).replace(str(script()), "")
    tags = elements(page)
    assert {tag for tag, _ in tags}.isdisjoint({"img", "iframe", "svg", "a", "object", "link"})
    assert all(not name.startswith("on") for _, attributes in tags for name in attributes)
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", page, flags=re.S)
    assert scripts and all("Plotly.newPlot" in script for script in scripts)
    assert "80%" in page and "{{ 7 * 7 }}" in page  # neither the template nor the browser computes it


def test_nothing_is_loaded_from_elsewhere(hostile_run):
    for tag, attributes in elements(rendered(hostile_run.path)):
        assert "src" not in attributes, (tag, attributes)
        assert not attributes.get("href", "#").startswith(("http", "//"))


def test_a_report_of_a_run_that_was_cut_short_shows_what_there_is(tmp_path):
    run = Run.create(tmp_path / "r", {"seed": 1})
    for step in run.steps(2):
        run.record(step, {"loss": 1.0})
    run.interrupted()
    page = rendered(run.path)
    assert "interrupted" in page and "Loss" in page


def test_the_verb_writes_it_again(hostile_run, capsys):
    assert run_command(["report", str(hostile_run.path)]) == 0
    assert (hostile_run.path / "report.html").is_file()
    assert run_command(["report", str(hostile_run.path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
