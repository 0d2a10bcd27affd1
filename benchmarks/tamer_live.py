"""How soon a key has been stored and learned from: Chromium, the server of `tutelage tamer`, real keys, a real disk.

    python benchmarks/tamer_live.py [signals]

From the key press (by the browser's own stamp) to the reply that says what was learned. By then the signal is on the
disk, and the weights have changed; each of the replies is checked for both.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from playwright.sync_api import sync_playwright
from tests.labelling import ARGUMENTS, Person, Served, chromium

LISTEN = """
window.learned = [];
addEventListener("keydown", (event) => (window.key = event.timeStamp), true);
document.addEventListener("learned", ({ detail }) => window.learned.push([performance.now() - window.key, detail]));
"""


def main() -> None:
    signals = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    with tempfile.TemporaryDirectory(prefix="tamer-", dir=".") as folder, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        studio, person = Served(Path(folder), []), Person(browser)
        person.context.add_init_script(LISTEN)
        person.page.goto(studio.link().replace("/?t=", "/tamer/tetris?t="))
        person.page.wait_for_function("() => document.querySelectorAll('#state b').length >= 2")
        for number in range(signals):
            time.sleep(0.3)
            person.page.keyboard.press("fj"[number % 2])
            person.page.wait_for_function("(n) => window.learned.length > n", arg=number)
        found = person.page.evaluate("() => window.learned")
        kept = studio.store.stats()["signals"]
        browser.close()
        studio.close()
    assert kept == signals and all(each["change"] > 0 and each["event"] for _, each in found[1:])
    ms = np.array([each for each, _ in found])
    result = {"signals": signals, "median_ms": float(np.median(ms)), "p95_ms": float(np.quantile(ms, 0.95))}
    print(json.dumps({**result, "longest_ms": float(ms.max())}))


if __name__ == "__main__":
    main()
