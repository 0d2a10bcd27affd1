"""Fifty people answer over HTTP while the server is killed five times; then every answer is accounted for.

    python benchmarks/feedback_load.py [--store postgresql://...] [--people 50] [--questions 2000] [--overlap 3]
        [--kills 5] [--think 1.0] [--kinds pair ranking good rating rules edit] [--json]

The server is `tutelage label --project`, a process of its own, ended with SIGKILL at random moments and started again.
Each person holds up to three questions, thinks (exponential, mean --think seconds), answers, and sends an answer again
under its key until it is acknowledged. 3 % of the answers are sent twice all the same, 3 % are taken back and given
anew, 2 % of the questions are skipped. What they say follows from the texts alone, so that a side that was mistaken
on the way is found. --kinds: of which kinds the questions are, in turn.
Times are what a person's machine sees: HTTP, the waiting for a free processor, and the disk;
once over all requests, and once without the three seconds after a start of the server, when all fifty come at once.
server_cpu_ms is what a request costs the server's processor, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil

from tutelage.data.records import Candidate, Context
from tutelage.feedback.asking import Asking
from tutelage.feedback.forms import INSTRUCTGPT, Form
from tutelage.feedback.store import Store
from tutelage.studio.sessions import Sessions

HELD = 3
RETRY_SECONDS, SETTLED_SECONDS = 0.2, 3.0
TWICE, BACK, SKIPPED = 0.03, 0.03, 0.02


@dataclass
class Load:
    """What happens to one server."""

    folder: Path
    store: str
    port: int
    think: float
    wanted: int
    process: Any = None
    kills: list[float] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"claim": [], "answer": []})
    settled: dict[str, list[float]] = field(default_factory=lambda: {"claim": [], "answer": []})
    back_at: float = 0.0
    cpu_at_start: float = 0.0
    cpu: float = 0.0
    acknowledged: dict[str, str] = field(default_factory=dict)
    taken_back: set[str] = field(default_factory=set)
    retries: int = 0
    counted: int = 0

    def start(self) -> None:
        """The server, by the command that people use."""
        command = "import sys; from tutelage.cli import main; main(sys.argv[1:])"
        place = ["--project", str(self.folder), "--store", self.store, "--port", str(self.port), "--no-browser"]
        log = (self.folder / "server.log").open("a")
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, "label", *place], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        log.close()

    def ready(self) -> None:
        """Notes that it listens, and what it took until then."""
        self.back_at, self.cpu_at_start = time.monotonic(), self.cpu_now()

    def cpu_now(self) -> float:
        return sum(psutil.Process(self.process.pid).cpu_times()[:2])

    def took(self, what: str, seconds: float, begun: float) -> None:
        self.seconds.setdefault(what, []).append(seconds)
        if begun - self.back_at > SETTLED_SECONDS:
            self.settled.setdefault(what, []).append(seconds)

    def kill(self) -> None:
        self.cpu += self.cpu_now() - self.cpu_at_start
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Person:
    """One who answers, from a session that was opened before."""

    def __init__(self, load: Load, client: httpx2.AsyncClient, seed: int) -> None:
        self.load, self.client, self.chance = load, client, random.Random(seed)

    async def post(self, what: str, body: dict[str, Any]) -> Any:
        """Until there is an answer, as the page does it; the time is that of the request that got one."""
        while True:
            begun = time.monotonic()
            try:
                response = await self.client.post(f"/api/{what}", json=body)
            except (httpx2.TransportError, httpx2.InvalidURL):
                response = None
            if response is not None and response.status_code < 500:
                self.load.took(what, time.monotonic() - begun, begun)
                assert response.status_code == 200, (what, response.status_code, response.text)
                return response.json()
            self.load.retries += 1
            await asyncio.sleep(RETRY_SECONDS)

    async def work(self) -> None:
        while True:
            given = await self.post("claim", {"count": HELD})
            self.load.counted = given["progress"]["counted"]
            if not given["assignments"]:
                if self.load.counted >= self.load.wanted:
                    return
                await asyncio.sleep(1.0)
            for each in given["assignments"]:
                await self.answer(each)

    async def answer(self, each: dict[str, Any]) -> None:
        await asyncio.sleep(self.chance.expovariate(1 / self.load.think) if self.load.think else 0.0)
        held = {"assignment": each["id"], "lease": each["lease"], "key": uuid.uuid4().hex}
        if self.chance.random() < SKIPPED:
            await self.post("skip", {**held, "reason": "unclear"})
            return
        texts = {shown["id"]: shown["plain"] for shown in each["shown"]}
        verdict = SAYS[each["kind"]](texts)
        body = {**held, "verdict": verdict}
        sent = [self.post("answer", body) for _ in range(2 if self.chance.random() < TWICE else 1)]
        receipts = await asyncio.gather(*sent)
        assert len({receipt["event"] for receipt in receipts}) == 1, "one key, two answers"
        self.load.acknowledged[receipts[0]["event"]] = in_texts(verdict, texts)
        if self.chance.random() < BACK:
            again = await self.post("undo", {"key": uuid.uuid4().hex, "event": receipts[0]["event"]})
            self.load.taken_back.add(receipts[0]["event"])
            await self.answer(again["assignment"])


def score(text: str) -> int:
    """A taste that depends on the words alone: the number at the end, scrambled."""
    return int(text.rsplit(" ", 1)[1]) * 2_654_435_761 % 1_000_003


def pair(texts: dict[str, str]) -> dict[str, Any]:
    return {"choice": max(texts, key=lambda name: (score(texts[name]), texts[name]))}


def ranking(texts: dict[str, str]) -> dict[str, Any]:
    """Three places at most, so that there are ties."""
    places = [[name for name in texts if score(texts[name]) % 3 == place] for place in range(3)]
    found = [place for place in places if place]
    return {"ranking": found} if len(found) > 1 else {"tie": True}


def good(texts: dict[str, str]) -> dict[str, Any]:
    return {"ratings": {"label": {name: score(text) % 2 for name, text in texts.items()}}}


def rating(texts: dict[str, str]) -> dict[str, Any]:
    flagged = {name: int(score(text) % 5 == 0) for name, text in texts.items()}
    return {
        "ratings": {"overall": {name: 1 + score(text) % 7 for name, text in texts.items()}, "hallucination": flagged}
    }


def rules(texts: dict[str, str]) -> dict[str, Any]:
    return {"rules": {RULE: {name: (True, None, False)[score(text) % 3] for name, text in texts.items()}}}


def edit(texts: dict[str, str]) -> dict[str, Any]:
    return {"edits": {name: f"{text}, edited" for name, text in texts.items()}}


RULE = "Do not insult anybody."
SAYS = {"pair": pair, "ranking": ranking, "good": good, "rating": rating, "rules": rules, "edit": edit}
FORMS = {"rating": INSTRUCTGPT.row(), "rules": Form(rule=RULE).row()}
WIDTH = {"pair": 2, "ranking": 5}


def in_texts(verdict: dict[str, Any], texts: dict[str, str]) -> str:
    """What was said, with texts instead of names, so that both sides of the wire can be compared."""

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {texts.get(name, name): turned(inner) for name, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return sorted(map(turned, value)) if all(isinstance(each, str) for each in value) else [*map(turned, value)]
        return texts.get(value, value) if isinstance(value, str) else _number(value)

    said = (
        {"ranking": [list(texts)]}
        if verdict.get("tie")
        else {name: verdict[name] for name in NAMED if verdict.get(name)}
    )
    return json.dumps(turned(said), sort_keys=True)


def _number(value: Any) -> Any:
    """A mark of 7 comes back as 7.0."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


NAMED = ("choice", "ranking", "ratings", "rules", "edits")


async def killed(load: Load, times: int, chance: random.Random) -> None:
    """Kills the server so many times, spread over the work, each time in the midst of it, and starts it again."""
    for number in range(times):
        due = load.wanted * (number + chance.uniform(0.6, 1.0)) / (times + 0.5)
        while len(load.acknowledged) < due:
            await asyncio.sleep(0.01)
        begun = time.monotonic()
        load.kill()
        load.start()
        while not listening(load.port):
            await asyncio.sleep(0.02)
        load.ready()
        load.kills.append(time.monotonic() - begun)


def listening(port: int) -> bool:
    with socket.socket() as found:
        found.settimeout(0.2)
        return found.connect_ex(("127.0.0.1", port)) == 0


async def crowd(load: Load, people: list[tuple[str, str]], kills: int) -> None:
    origin = f"http://127.0.0.1:{load.port}"
    limits = httpx2.Limits(max_connections=4)
    clients = [
        httpx2.AsyncClient(
            base_url=origin,
            headers={"origin": origin, "x-tutelage-proof": proof, "cookie": f"tutelage-{load.port}={cookie}"},
            timeout=60,
            limits=limits,
        )
        for cookie, proof in people
    ]
    killing = asyncio.create_task(killed(load, kills, random.Random(1)))
    await asyncio.gather(*(Person(load, client, i).work() for i, client in enumerate(clients)))
    await killing
    for client in clients:
        await client.aclose()


def questions(count: int, overlap: int, kinds: list[str]) -> list[Asking]:
    def asking(number: int) -> Asking:
        kind = kinds[number % len(kinds)]
        width = WIDTH.get(kind, 1)
        candidates = tuple(Candidate(id=f"c{number}-{i}", text=f"reply {5 * number + i}") for i in range(width))
        about = {"name": f"q{number}", "wanted": overlap, "form": FORMS.get(kind, {})}
        return Asking(Context(prompt=f"prompt {number}"), candidates, kind, **about)

    return [asking(number) for number in range(count)]


def main() -> int:
    asked = arguments()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        place = asked.store or str(Path(folder) / "feedback.db")
        load = Load(Path(folder), place, port, asked.think, asked.questions * asked.overlap)
        with Store.open(place) as store:
            store.ask(questions(asked.questions, asked.overlap, asked.kinds))
            names = [(f"person {i}", store.labeller(f"person {i}")) for i in range(asked.people)]
        sessions = Sessions(load.folder / "sessions.json")
        cookies = [sessions.enter(sessions.link(labeller, name)) or "" for name, labeller in names]
        load.start()
        while not listening(port):
            time.sleep(0.05)
        load.ready()
        begun = time.monotonic()
        try:
            asyncio.run(crowd(load, [(cookie, sessions.proof(cookie)) for cookie in cookies], asked.kills))
        finally:
            load.kill()
        found = accounted(load, asked, time.monotonic() - begun)
    print(json.dumps(found, indent=2) if asked.json else "\n".join(f"{k:34s} {v}" for k, v in found.items()))
    return 0 if found["faults"] == [] else 1


def accounted(load: Load, asked: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Numbers, and as faults everything that is not as it has to be."""
    with Store.open(load.store) as store:
        faults, labels, stats = store.verify(), store.labels(), store.stats()
    present = {each.id: each for each in labels}
    counted = [each for each in labels if each.state == "counted"]
    people = {(each.question, each.comparison.verdict.rater) for each in labels}
    standing = load.acknowledged.keys() - load.taken_back
    wrong = [name for name in standing & present.keys() if told(present[name]) != load.acknowledged[name]]
    checks = {
        f"{len(counted)} labels counted, {load.wanted} wanted": len(counted) != load.wanted,
        f"{len(labels) - len(people)} answers of one person to one question twice": len(people) != len(labels),
        f"{len(standing - present.keys())} acknowledged answers lost": bool(standing - present.keys()),
        f"{len(wrong)} answers on the wrong side": bool(wrong),
        f"{len(present.keys() - standing)} answers that nobody gave": bool(present.keys() - standing),
        f"{len(load.kills)} kills, {asked.kills} wanted": len(load.kills) != asked.kills,
    }
    requests = sum(map(len, load.seconds.values()))
    timed = {
        f"{what}_{name}_ms{when}": quantile_ms(times[what], share)
        for when, times in (("", load.seconds), ("_settled", load.settled))
        for what in ("claim", "answer")
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    return {
        "database": "postgresql" if "://" in load.store else "sqlite",
        "people": asked.people,
        "kinds": " ".join(f"{kind} {count}" for kind, count in sorted(stats["by_kind"].items())),
        "wanted": load.wanted,
        "counted": len(counted),
        "surplus": len(labels) - len(counted),
        "retracted": stats["retracted"],
        "skips": sum(stats["skips"].values()),
        "kills": len(load.kills),
        "back_after_s": [round(each, 2) for each in load.kills],
        "requests_sent_again": load.retries,
        "seconds": round(seconds, 1),
        "requests_per_second": round(requests / seconds, 1),
        "server_cpu_ms": round(1000 * load.cpu / requests, 2),
        "machine_load": round(os.getloadavg()[0], 1),
        "think_s": asked.think,
        **timed,
        "events": stats["events"],
        "faults": faults + [fault for fault, there in checks.items() if there],
    }


def told(label: Any) -> str:
    """What the store holds of an answer, in texts."""
    comparison = label.comparison
    return in_texts(comparison.verdict.row(), {each.id: each.text or "" for each in comparison.candidates})


def quantile_ms(seconds: list[float], share: float) -> float | None:
    """Milliseconds; None where nothing was measured."""
    ordered = sorted(seconds)
    return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else None


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default=None, help="a PostgreSQL URL with an empty schema; SQLite otherwise")
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--overlap", type=int, default=3)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--think", type=float, default=1.0)
    parser.add_argument("--kinds", nargs="+", choices=sorted(SAYS), default=["pair"])
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
