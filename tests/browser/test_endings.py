"""Pages for looking at runs: how a run ended and what it printed, replies to the same prompts, and level lines."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests import watched
from tests.browser.test_looking import DRAWN, Studio, opened

SIZES = ((1280, 800), (390, 844))


@pytest.fixture
def runs(tmp_path):
    root = tmp_path / "runs"
    watched.finished(root / "well")
    watched.probed(root / "probed")
    watched.crashed(root / "crashed")
    rows = [
        {**watched.event(step), "kl_coefficient": 0.1, "entropy_nats": 0.3 if step % 2 else 0.1 + 0.2}
        for step in range(30)
    ]
    watched.finished(root / "level")
    watched.write_lines(root / "level" / "events.jsonl", rows)
    return root


@pytest.fixture
def studio(tmp_path, runs):
    found = Studio(tmp_path / "keep", runs)
    yield found
    found.close()


def pictured(ann, name):
    """Keeps a picture where one is wanted: TUTELAGE_PICTURES=DIR."""
    if os.environ.get("TUTELAGE_PICTURES"):
        folder = Path(os.environ["TUTELAGE_PICTURES"])
        folder.mkdir(parents=True, exist_ok=True)
        for width, height in SIZES:
            ann.page.set_viewport_size({"width": width, "height": height})
            ann.page.wait_for_timeout(300)
            ann.page.screenshot(path=folder / f"{name}-{width}.png", full_page=True)


def test_a_run_that_crashed_says_why_wherever_it_is_looked_at(studio, person):
    ann = person()
    opened(ann, studio, "runs")
    row = ann.page.locator("tr", has_text="The run ended at step 3 with IndexError: list index out of range.")
    assert row.locator(".state").inner_text() == "crashed: IndexError"
    ann.page.get_by_label("State").select_option("crashed")
    ann.page.wait_for_function("() => document.querySelectorAll('table.runs tbody tr').length === 1")
    pictured(ann, "ended-runs")
    opened(ann, studio, "curves", "run=crashed")
    ending = ann.page.locator(".ending")
    assert "ended at step 3 with IndexError: list index out of range" in ending.inner_text()
    ending.locator("summary").press("Enter")
    ending.locator("pre", has_text="mine.py").wait_for()
    ann.page.get_by_role("heading", name="Log", exact=True).click()
    ann.page.locator("details.section pre", has_text="ppo: 3/30").wait_for()
    pictured(ann, "ended-curves")
    opened(ann, studio, "doctor", "run=crashed&run=well")
    ann.page.locator(".patient", has_text="No diagnosis: the run ended at step 3 with IndexError").wait_for()
    ann.page.locator(".patient", has_text="Nothing found of").wait_for()
    pictured(ann, "ended-doctor")


def test_a_run_without_a_log_says_so(studio, person):
    ann = person()
    opened(ann, studio, "curves", "run=well")
    assert ann.page.locator(".ending").count() == 0
    ann.page.get_by_role("heading", name="Log", exact=True).click()
    ann.page.locator("details.section pre", has_text="Nothing was kept").wait_for()


def test_samples_are_compared_by_the_same_prompts(studio, person):
    ann = person()
    opened(ann, studio, "samples", "run=probed")
    page = ann.page
    assert page.locator(".column h2").all_inner_texts() == ["Step 0", "Step 29"]
    asked = [column.locator(".asked").all_inner_texts() for column in page.locator(".column").all()]
    assert asked[0] == asked[1] == ["Customer: Where is my order?", "Customer: My lamp is broken."]
    pictured(ann, "probe-samples")
    page.get_by_label("Shading").select_option("advantage")
    page.locator(".legend", has_text="no advantage and no reward").wait_for()
    page.get_by_label("Prompts").select_option("0")
    page.locator(".column h2", has_text="Step 28").wait_for()
    assert page.locator(".asked").first.inner_text() != asked[0][0] and "probe=0" in page.url
    page.get_by_label("Search").fill("reply 0 of 20")  # which stands among the others
    page.keyboard.press("Enter")
    page.locator(".hits", has_text="1 with").wait_for()
    page.locator(".hits button", has_text="Step 20").first.click()
    page.locator(".column h2", has_text="Step 20").wait_for()
    assert page.locator(".column .asked").first.inner_text() == asked[0][0] and "probe=1" in page.url


def test_smoothing_keeps_a_constant_and_the_first_value(studio, person):
    """Values whose weighted sums round: the mean of the same number is that number, to the bit."""
    ann = person()
    opened(ann, studio, "curves", "run=level")
    found = ann.page.evaluate(
        """async () => {
          const root = document.querySelector('script[src$="theme.js"]').src.replace("/theme.js", "");
          const { smoothed, flat, level } = await import(`${root}/look/smooth.js`);
          const weights = [0, 0.02, 0.3, 0.5, 0.86, 0.9, 0.98];
          const constants = [0.1, 1 / 3, -7.3e-9, 1e12 + 0.1, 0];
          const noisy = [0.3, 0.1 + 0.2, 0.3, 0.1 + 0.2];
          const rising = [5, 6, 7, 8, 9];
          return {
            same: weights.every((w) => constants.every((c) => smoothed(Array(300).fill(c), w).every((y) => y === c))),
            first: weights.every((w) => smoothed(rising, w)[0] === 5),
            second: smoothed([0, 1], 0.5)[1],
            far: smoothed([1, ...Array(400).fill(3)], 0.9).at(-1),
            flat: [noisy, [1e-17, -1e-17], [0, 0], rising, [1, 1.001]].map(flat),
            level: [level(noisy)[0] < 0.2, level(noisy)[1] > 0.4, level([0, 0])],
            none: [rising, []].every((values) => level(values) === undefined),
          };
        }"""
    )
    assert found["same"] and found["first"] and found["second"] == pytest.approx(2 / 3)  # (0 · 1/2 + 1) / (1/2 + 1)
    assert found["far"] == pytest.approx(3.0, abs=1e-9)
    assert (
        found["flat"] == [True, True, True, False, False] and found["level"] == [True, True, [-1, 1]] and found["none"]
    )


@pytest.mark.parametrize("smooth", ["0", "0.9"])
def test_a_constant_is_drawn_as_a_level_line(studio, person, smooth):
    ann = person()
    opened(ann, studio, "curves", f"run=level&smooth={smooth}&all=1")
    ann.page.wait_for_function(DRAWN, arg=4)
    ends = """(title) => {
      const panels = [...document.querySelectorAll("figure")];
      const plot = panels.find((each) => each.querySelector("b").textContent === title).querySelector(".plot");
      if (!plot.layout?.yaxis?.range) return null;
      const y = plot.data.at(-1).y;
      return { range: plot.layout.yaxis.range, spread: Math.max(...y) - Math.min(...y) };
    }"""
    for title, value in (("Entropy", 0.3), ("KL coefficient", 0.1)):
        figure = ann.page.locator("figure", has=ann.page.get_by_text(title, exact=True))
        figure.scroll_into_view_if_needed()
        ann.page.wait_for_function(f"(title) => ({ends})(title)?.range[1] > 0", arg=title)
        low, high = (found := ann.page.evaluate(ends, title))["range"]
        assert low < 0.6 * value and high > 1.4 * value and found["spread"] < 1e-3 * (high - low)
    pictured(ann, f"level-{smooth}")


def test_a_killed_run_is_seen_to_be_killed_without_a_change_of_its_files(studio, person, runs):
    """Its process goes; nothing is written."""
    import platform
    import subprocess
    import sys

    import psutil

    lives = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        owner = {"id": lives.pid, "started": psutil.Process(lives.pid).create_time(), "machine": platform.node()}
        watched.going(runs / "going")
        state = {"tutelage": "run", "name": "going", "status": "running", "step": 0, "process": owner}
        (runs / "going" / "state.json").write_text(json.dumps(state))
        ann = person()
        opened(ann, studio, "runs")
        going = ann.page.locator("tr", has=ann.page.get_by_role("link", name="going", exact=True))
        assert going.locator(".state").inner_text() == "running"
    finally:
        lives.kill()
        lives.wait()
    going.locator(".state", has_text="killed").wait_for(timeout=15_000)
    assert "The run was killed after step 11" in going.inner_text()
