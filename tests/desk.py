"""One server over HTTP and its browsers, without a network: for tests of what the studio answers."""

from __future__ import annotations

import json
import random
import re

from starlette.testclient import TestClient

from tutelage.data.records import Candidate, Context
from tutelage.feedback.asking import Asking
from tutelage.feedback.store import Store
from tutelage.studio.app import application
from tutelage.studio.project import Project, Settings
from tutelage.studio.sessions import Sessions

HOST = "127.0.0.1:8765"
ORIGIN = f"http://{HOST}"
SECRETS = (
    "canonical-one",
    "canonical-two",
    "policy-nine",
    "0.1234567",
    "987654",
    "3.1415927",
    "0.7777",
    "asked-by-name",
)


def question(number: int, **changes) -> Asking:
    candidates = tuple(
        Candidate(
            id=f"{name}-{number}",
            text=f"{name[10:]} reply {number}",
            policy="policy-nine",
            sampler={"temperature": 0.1234567, "seed": 987654},
            score=3.1415927,
        )
        for name in ("canonical-one", "canonical-two")
    )
    settings = {"name": f"asked-by-name-{number}", "policy": "policy-nine", "asked_with": 0.7777, **changes}
    return Asking(Context(prompt=f"Prompt {number}?"), candidates, **settings)


class Clock:
    def __init__(self) -> None:
        self.now = 1.7e9

    def __call__(self) -> float:
        return self.now


class Desk:
    """One server and its browsers."""

    def __init__(self, folder, clock, settings=None, voices=()) -> None:
        self.clock = clock
        self.store = Store.open(folder / "feedback.db", clock=clock, chance=random.Random(3))
        self.sessions = Sessions(folder / "sessions.json", clock)
        self.project = Project(folder, folder / "feedback.db", settings or Settings())
        self.app = application(self.project, self.store, self.sessions, frozenset({HOST, "localhost:8765"}), voices)

    def browser(self, name: str | None = "ann") -> Browser:
        found = Browser(TestClient(self.app, base_url=ORIGIN))
        if name is not None:
            token = self.sessions.link(self.store.labeller(name), name)
            found.proof = found.post("enter", {"token": token}).json()["proof"]
        return found


class Browser:
    """What a page of ours sends."""

    def __init__(self, client: TestClient) -> None:
        self.client, self.proof = client, ""

    def load(self) -> dict:
        found = re.search(r'id="settings">(.*?)</script>', self.client.get("/").text)
        assert found
        settings = json.loads(found[1])
        self.proof = settings["proof"]
        return settings

    def post(self, path: str, body: dict, **headers: str | None):
        sent = {"origin": ORIGIN, "sec-fetch-site": "same-origin", "x-tutelage-proof": self.proof, **headers}
        return self.client.post(f"/api/{path}", json=body, headers={k: v for k, v in sent.items() if v is not None})

    def claim(self, count: int = 1) -> list[dict]:
        return self.post("claim", {"count": count}).json()["assignments"]

    def answer(self, given: dict, key: str = "key-1", **changes):
        act = {"assignment": given["id"], "lease": given["lease"], "key": key}
        return self.post("answer", {**act, "verdict": {"choice": given["shown"][0]["id"]}, **changes})
