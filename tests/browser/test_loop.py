"""A newcomer's own answers reach a reward model and a policy: `tutelage demo --labeller human`, in small."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

from tests.labelling import PROGRAM
from tests.resuming import DEMO

from tutelage.feedback.store import Store


def test_the_demo_asks_me_and_learns_from_me(tmp_path, person):
    out, ann = tmp_path / "demo", person()
    command = ["demo", *DEMO, "--labeller", "human", "--human-labels", "8", "--skip-preflight", "--out", str(out)]
    environment = {**os.environ, "BROWSER": "true", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    try:
        link = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+\?t=\S+", line)))
        ann.page.set_default_timeout(180_000)
        ann.page.goto(link)  # it may come before the first question: then the page waits
        for number in range(8):
            ann.press("f" if number % 2 else "j")
        ann.saved()
        said = process.communicate(timeout=300)[0]
    finally:
        process.kill()
    assert process.returncode == 0, said[-2000:]
    labels = json.loads((out / "labels" / "summary.json").read_text())
    assert labels["labels"] == 8 and labels["share_human"] == 1.0
    assert (out / "ppo" / "summary.json").exists() and "Traceback" not in said
    with Store.open(out / "feedback.db") as store:
        assert not store.verify() and len(store.labels()) == 8
