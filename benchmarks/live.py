"""From a click to the weights: `tutelage loop --live` on the helpdesk, and a person with one taste at its page.

    python benchmarks/live.py [answers] [seconds to think]

Chromium, real keys, the page in a process of its own. The person always takes the shorter reply. Measured: how long an
answer takes until there is a policy whose snapshot contains it (median over answers), and how often the last policy's
reply to an unseen prompt is shorter than the first policy's, with its 95 % interval.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from playwright.sync_api import sync_playwright
from tests.labelling import ARGUMENTS, PROGRAM, Command, Person, chromium

from tutelage.feedback.store import Store
from tutelage.runs.files import read_json, read_lines

LONGEST_WAIT_MS = 600_000


def main() -> None:
    answers = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    think_s = float(sys.argv[2]) if len(sys.argv) > 2 else 2.0
    with tempfile.TemporaryDirectory(prefix="live-") as folder, sync_playwright() as play:
        run = Path(folder) / "run"
        size = ["--rounds", "1", "--labels-per-round", str(answers), "--evaluation-prompts", "128"]
        command = ["loop", "--live", "--labeller", "human", "--without-page", *size, "--out", str(run)]
        with (Path(folder) / "log").open("w") as log:
            trains = subprocess.Popen([sys.executable, "-c", PROGRAM, *command], stdout=log, stderr=log)
        while not (run / "feedback.db").exists() and trains.poll() is None:
            time.sleep(0.2)
        studio = Command("--from-run", str(run))
        browser = play.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        person = Person(browser)
        person.page.set_default_timeout(LONGEST_WAIT_MS)
        person.page.goto(studio.link)
        for _ in range(answers):
            takes_the_shorter(person, think_s)
        person.saved()
        told = person.page.locator("#live").inner_text() if person.page.locator("#live").count() else ""
        if trains.wait(timeout=600):
            raise SystemExit((Path(folder) / "log").read_text()[-3000:])
        browser.close()
        studio.stop()
        report(run, answers, told)


def takes_the_shorter(person: Person, think_s: float) -> None:
    person.ready()
    person.page.wait_for_timeout(1000 * think_s)
    first, second = (len(text.split()) for text in person.shown())
    person.press("f" if first < second else "j" if second < first else "Space")


def report(run: Path, answers: int, told: str) -> None:
    found = read_json(run / "summary.json")
    waits = [row["seconds_from_answer"] for row in read_lines(run / "live" / "versions.jsonl")]
    with Store.open(run / "feedback.db") as store:
        faults, labels = store.verify(), len(store.labels())
    print(
        f"{labels} of {answers} answers stored, verify: {faults or 'clean'}; {found['versions']} versions of the policy"
    )
    head = ("seconds from an answer to the policy", "shorter than the first policy", "words", "KL, nats")
    print("| " + " | ".join(head) + " |\n|---|---|---|---|")
    shorter = f"{found['shorter']:.2f} [{found['shorter_low']:.2f}, {found['shorter_high']:.2f}]"
    words = f"{found['words_first']:.1f} → {found['words']:.1f}"
    waited = f"{found['seconds_from_answer_median']:.1f} (by version {min(waits):.1f} to {max(waits):.1f})"
    print(f"| {waited} | {shorter} | {words} | {found['kl_nats_to_first']:.1f} |")
    if told:
        print("the page said: " + " · ".join(told.split("\n")))
    names = ("seconds_from_answer_median", "shorter", "shorter_low", "shorter_high", "words_first", "words")
    people = {name: found[name] for name in found if name.endswith("_by_answers")}
    print(json.dumps({"labels": labels, **{name: found[name] for name in names}, **people}))


if __name__ == "__main__":
    main()
