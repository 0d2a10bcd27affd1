"""A newcomer's own answers reach a reward model and a policy: `tutelage demo --labeller human`, in small."""

from __future__ import annotations

import json

from tests.resuming import DEMO

from tutelage.feedback.store import Store


def test_the_demo_asks_me_and_learns_from_me(tmp_path, work, person):
    out, ann = tmp_path / "demo", person()
    asked = ("--labeller", "human", "--human-labels", "8")
    demo = work("demo", *DEMO, *asked, "--skip-preflight", "--out", str(out))
    ann.page.set_default_timeout(180_000)
    ann.page.goto(demo.link)  # it may come before the first question: then the page waits
    for number in range(8):
        ann.press("f" if number % 2 else "j")
    ann.saved()
    said = demo.ended()
    labels = json.loads((out / "labels" / "summary.json").read_text())
    assert labels["labels"] == 8 and labels["share_human"] == 1.0
    assert (out / "ppo" / "summary.json").exists() and "Traceback" not in said
    with Store.open(out / "feedback.db") as store:
        assert not store.verify() and len(store.labels()) == 8
