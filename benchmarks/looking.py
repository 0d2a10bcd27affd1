"""How fast the pages for looking at runs are: Chromium, `tutelage studio`, 200 runs with 1,000,000 events on a disk.

    python benchmarks/studio.py runs [runs] [events a run]

open: from the moment the browser is sent to the one-time link until all rows are painted, in a browser that has never
seen the page. curves: from following the link to five runs until their first plots are drawn. frame: between two
pictures while the list is scrolled by the wheel from end to end. look again: what the server takes to see that nothing
has changed, in the browser's own measure.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from playwright.sync_api import sync_playwright
from tests import watched
from tests.labelling import ARGUMENTS, Command, Person, chromium

KINDS = 8  # different runs; the others are copies
TIMES = 5
LIMITS = {"open": 2000.0, "frame": 50.0}
ROWS = "(count) => document.querySelectorAll('table.runs tbody tr').length === count"
PAINTED = """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(
    () => done(performance.timeOrigin + performance.now()))))"""
DRAWN = "() => document.querySelectorAll('.js-plotly-plot .main-svg').length >= 8"
SCROLL = """async () => {
  const frames = []; let last = performance.now();
  const end = document.documentElement.scrollHeight - innerHeight;
  for (let at = 0; at <= end; at += 60) {
    scrollTo(0, at);
    await new Promise(requestAnimationFrame);
    const now = performance.now(); frames.push(now - last); last = now;
  }
  return frames.slice(1);
}"""
AGAIN = """() => performance.getEntriesByType("resource").filter((each) => each.name.includes("mark="))
    .map((each) => each.responseEnd - each.startTime)"""


def make(root: Path, count: int, events: int) -> None:
    """So many runs with so many events each, as PPO records them."""
    first: list[Path] = []
    for number in range(count):
        run = root / f"sweep-{number // 20:02d}" / f"ppo-{number:03d}"
        if number < KINDS:
            watched.finished(run, 30, lift=0.1 * number, settings={"seed": number})
            watched.write_lines(run / "events.jsonl", [watched.event(step, 0.1 * number) for step in range(events)])
            first.append(run)
        else:
            shutil.copytree(first[number % KINDS], run)


def main(arguments: list[str]) -> None:
    count, events = (int(each) for each in (*arguments, *("200", "5000")[len(arguments) :]))
    with tempfile.TemporaryDirectory(prefix="looking-", dir=".") as folder, sync_playwright() as play:
        root = Path(folder) / "runs"
        make(root, count, events)
        browser = play.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        found: dict[str, list[float]] = {"command to link": [], "open": [], "curves": []}
        for number in range(TIMES):
            studio = Command(str(root), verb="studio")
            person = Person(browser)
            found["command to link"].append(1000 * studio.seconds_to_link)
            found["open"].append(timed(person, studio.link, (ROWS, count)))
            some = "&".join(f"run=sweep-00/ppo-{each:03d}" for each in range(5))
            address = f"{studio.address}look/curves?{some}"
            found["curves"].append(timed(person, address, (DRAWN, None)))
            if number < TIMES - 1:
                person.context.close()
                studio.stop()
        person.page.goto(f"{studio.address}look/runs")
        person.page.wait_for_function(ROWS, arg=count)
        found["frame"] = person.page.evaluate(SCROLL)
        person.page.wait_for_timeout(12_000)
        found["look again"] = person.page.evaluate(AGAIN)
        size = sum(path.stat().st_size for path in root.rglob("events.jsonl")) / 1e6
        browser.close()
        studio.stop()
    told(found, f"{count} runs, {count * events:,} events, {size:.0f} MB")


def timed(person: Person, address: str, ready: tuple[str, Any]) -> float:
    """Milliseconds from leaving for an address to the paint of what was waited for."""
    began = person.page.evaluate("() => performance.timeOrigin + performance.now()")
    person.page.goto(address)
    person.page.wait_for_function(ready[0], arg=ready[1])
    return person.page.evaluate(PAINTED) - began


def told(found: dict[str, list[float]], what: str) -> None:
    row = "{:16s} {:>6s} {:>9s} {:>9s} {:>9s} {:>9s}  {}"
    print(what)
    print(row.format("milliseconds", "count", "median", "p95", "most", "limit", ""))
    lines: dict[str, dict[str, float]] = {}
    for name, times in found.items():
        ordered = sorted(times)
        median, p95, most = ordered[len(ordered) // 2], ordered[int(0.95 * (len(ordered) - 1))], ordered[-1]
        lines[name.replace(" ", "_")] = {"median": round(median, 1), "p95": round(p95, 1), "most": round(most, 1)}
        limit = LIMITS.get(name)
        worst = p95 if name == "frame" else most
        says = "" if limit is None else "ok" if worst <= limit else "TOO SLOW"
        told_limit = "" if limit is None else f"{limit:.0f}"
        print(row.format(name, str(len(times)), f"{median:.1f}", f"{p95:.1f}", f"{most:.1f}", told_limit, says))
    print(json.dumps({"benchmark": "looking", "what": what, **lines}))
