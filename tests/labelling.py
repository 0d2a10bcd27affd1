"""A page that is served and a browser that looks at it: for tests and for benchmarks/studio.py.

`Command` is `tutelage label` in a process of its own, which may be killed; `Served` the application in this process.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from tutelage.feedback.store import Store
from tutelage.studio.app import application
from tutelage.studio.members import Member, Members
from tutelage.studio.project import Project, Settings
from tutelage.studio.server import bound, names
from tutelage.studio.sessions import Sessions

ROOT = Path(__file__).parents[1]
PROGRAM = "from tutelage.cli import main; main()"
PATIENCE_MS = int(os.environ.get("TUTELAGE_PATIENCE_MS", "30000"))  # with a page; more on a machine that is busy
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking")
WATCH = """
window.questions = []; window.violations = [];
document.addEventListener("question", (event) => window.questions.push([event.detail, performance.now()]));
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""
READY = "() => document.querySelector('#question:not([aria-busy]) > *')"


def chromium() -> str | None:
    return next((found for name in CHROMIUM if (found := shutil.which(name))), None)


def write_pairs(path: Path, count: int) -> Path:
    rows = [
        {"prompt": f"Question {i}?", "chosen": f"Reply {i}, the one.", "rejected": f"Answer {i}, the other."}
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Command:
    """`tutelage label …`, or another verb that serves a page. link: the newest one-time link."""

    def __init__(self, *arguments: str, port: int = 0, verb: str = "label") -> None:
        self.arguments, self.port, self.verb = arguments, port, verb
        self.process: Any = None
        self.start()

    def start(self) -> None:
        """Starts it, or starts it again where it was, and waits for its link."""
        began = time.perf_counter()
        command = [sys.executable, "-c", PROGRAM, self.verb, *self.arguments, "--no-browser", "--port", str(self.port)]
        source = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": source}
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            found = re.match(r"(http://[^/]+:(\d+)/)\S*\?t=\S+", line)
            if found:
                self.link, self.address, self.port = found[0], found[1], int(found[2])
                self.seconds_to_link = time.perf_counter() - began
                return
        raise AssertionError("".join(lines))

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def stop(self) -> str:
        """As by Ctrl-C; what it said."""
        self.process.send_signal(2)
        return self.process.communicate(timeout=20)[0]


class Served:
    """The application in a thread of this process, with as many labellers as one likes."""

    def __init__(
        self, folder: Path, questions: Sequence[Any], settings: Settings | None = None, voices: Sequence[Any] = ()
    ) -> None:
        self.store = Store.open(folder / "feedback.db")
        self.store.ask(questions)
        self.sessions = Sessions(folder / "sessions.json")
        self.socket = bound("127.0.0.1", 0)
        port = self.socket.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}/"
        project = Project(folder, folder / "feedback.db", settings or Settings())
        app = application(project, self.store, self.sessions, names("127.0.0.1", port), voices)
        self.members: Members = app.app.state.members  # pyright: ignore
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)  # pyright: ignore
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()

    def link(self, name: str = "ann") -> str:
        return f"{self.address}?t={self.sessions.link(self.store.labeller(name), name)}"

    def invite(self, name: str, role: Any = "labeller") -> str:
        """A link for one person with one role."""
        return f"{self.address}?t={self.members.invite(self.store.labeller(name), name, role, 1.0)}"

    def willing(self, name: str) -> None:
        """Makes this person one who wants to see texts that may distress."""
        labeller = self.store.labeller(name)
        self.members.keep(Member(labeller, name, "labeller", 0.0, warned=True))

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.socket.close()
        self.store.close()


class Person:
    """Somebody at a page, who presses keys no sooner than a question can be answered."""

    def __init__(self, browser: Any, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.context.set_default_timeout(PATIENCE_MS)
        self.context.add_init_script(WATCH)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", lambda dialog: (self.errors.append(f"a dialog: {dialog.message}"), dialog.dismiss()))

    def open(self, link: str) -> None:
        self.page.goto(link)
        self.ready()

    def ready(self) -> None:
        self.page.wait_for_function(READY)

    def press(self, *keys: str) -> None:
        """Keys, each on a question that can be answered."""
        for key in keys:
            if self.page.evaluate("() => document.getElementById('pause').open"):
                self.page.wait_for_timeout(300)
                self.page.keyboard.press("Enter")
            self.ready()
            self.page.keyboard.press(key)

    def shown(self) -> tuple[str, str]:
        """The two answers as they stand on the screen."""
        first, second = self.page.locator(".side .words").all_inner_texts()
        return first.strip(), second.strip()

    def next(self, act: Any) -> None:
        """Does something and waits until another question is on the screen."""
        seen = self.page.evaluate("() => window.questions.length")
        act()
        self.page.wait_for_function("(seen) => window.questions.length > seen", arg=seen)

    def idle(self) -> None:
        """Waits until nothing is asked."""
        self.page.locator("#empty .idle-state").wait_for()

    def saved(self) -> None:
        self.page.wait_for_function("() => document.getElementById('saved').dataset.state === 'saved'", timeout=20_000)

    @property
    def state(self) -> str:
        return self.page.locator("#saved").get_attribute("data-state") or ""

    def violations(self) -> list[str]:
        return self.page.evaluate("() => window.violations")

    def strangers(self, address: str) -> list[str]:
        """Requests to anywhere but the page's own server."""
        return [each for each in self.requests if not each.startswith((address, "data:", "blob:"))]


def texts(labels: Iterable[Any]) -> list[str]:
    """The chosen text of each label; "" for a tie or for none."""
    chosen = [(each.comparison, each.comparison.best) for each in labels]
    return [(comparison.candidates[best].text or "").strip() if best is not None else "" for comparison, best in chosen]
