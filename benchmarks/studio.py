"""How fast the labelling page is for the person who sits at it: Chromium, `tutelage label`, real keys, a real disk.

    python benchmarks/studio.py [answers]
    python benchmarks/studio.py runs        (the pages for looking at runs: benchmarks/looking.py)

first question: from the moment the browser is sent to the one-time link until the question is painted, in a browser
that has never seen the page. key to next: from the key press (by the browser's own stamp) to the paint of the next
question. durable: from sending an answer to the reply that says it is on the disk.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import looking
from playwright.sync_api import sync_playwright
from tests.labelling import ARGUMENTS, Command, Person, chromium, write_pairs

WATCH = """
window.pressed = []; window.next = [];
performance.setResourceTimingBufferSize(100000);
addEventListener("keydown", (event) => (window.key = event.timeStamp), true);
document.addEventListener("question", () => {
  if (window.key) window.next.push(performance.now() - window.key);
  window.key = 0;
});
"""
DURABLE = """() => performance.getEntriesByType("resource").filter((each) => each.name.endsWith("/api/answer"))
    .map((each) => each.responseEnd - each.startTime)"""
FIRST_TIMES = 5
LIMITS = {"first question": 1000.0, "key to next": 50.0, "durable": 50.0}


def main() -> None:
    if sys.argv[1:2] == ["runs"]:
        looking.main(sys.argv[2:])
        return
    answers = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory(prefix="studio-", dir=".") as folder, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        file = write_pairs(Path(folder) / "pairs.jsonl", answers + 20)
        labels = Path(folder) / "pairs.labels"
        labels.mkdir()
        (labels / "project.json").write_text('{"block": 1000000, "block_minutes": 100000}')
        first, starts = [], []
        for number in range(FIRST_TIMES):
            studio = Command(str(file))
            starts.append(1000 * studio.seconds_to_link)
            person = Person(browser)
            first.append(opened(person, studio.link))
            if number < FIRST_TIMES - 1:
                person.context.close()
                studio.stop()
        person.context.add_init_script(WATCH)
        person.page.reload()
        for number in range(answers):
            person.press("f" if number % 2 else "j")
        person.saved()
        found = {
            "first question": first,
            "key to next": person.page.evaluate("() => window.next"),
            "durable": person.page.evaluate(DURABLE),
        }
        browser.close()
        studio.stop()
    told(starts, found)


def opened(person: Person, link: str) -> float:
    """Milliseconds from leaving for the link to the paint of the first question, over both pages that it takes."""
    began = person.page.evaluate("() => performance.timeOrigin + performance.now()")
    person.open(link)
    return person.page.evaluate("() => performance.timeOrigin + window.questions[0][1]") - began


def told(starts: list[float], found: dict[str, list[float]]) -> None:
    row = "{:16s} {:>6s} {:>9s} {:>9s} {:>9s} {:>9s}  {}"
    print(row.format("milliseconds", "count", "median", "p95", "most", "limit", ""))
    print(row.format("command to link", str(len(starts)), *(f"{each:.1f}" for each in spread(starts)), "", ""))
    for name, times in found.items():
        median, p95, most = spread(times)
        worst = most if name == "first question" else p95
        says = "ok" if worst <= LIMITS[name] else "TOO SLOW"
        print(
            row.format(name, str(len(times)), f"{median:.1f}", f"{p95:.1f}", f"{most:.1f}", f"{LIMITS[name]:.0f}", says)
        )
    line = {name.replace(" ", "_"): dict(zip(("median", "p95", "most"), spread(each))) for name, each in found.items()}
    print(json.dumps({"benchmark": "studio", "command_to_link_ms": statistics.median(starts), **line}))


def spread(times: list[float]) -> tuple[float, float, float]:
    """(median, 95th percentile, most), rounded to a tenth."""
    ordered = sorted(times)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return round(statistics.median(ordered), 1), round(p95, 1), round(ordered[-1], 1)


if __name__ == "__main__":
    main()
