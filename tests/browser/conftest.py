"""One Chromium for all browser tests; without it they are skipped, and say what to install."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

import pytest
from tests.labelling import ARGUMENTS, PROGRAM, Command, Person, Served, chromium

HERE = "tests/browser"


class Work:
    """A command that asks people at a page of its own while it goes on. link: of that page, which holds once."""

    def __init__(self, *arguments: str) -> None:
        environment = {**os.environ, "BROWSER": "true", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if found := re.search(r"http://\S+\?t=\S+", line):
                self.link = found[0]
                return
        raise AssertionError("".join(lines))

    def ended(self) -> str:
        """Waits until it has ended well; what it said after its link."""
        said = self.process.communicate(timeout=300)[0]
        assert self.process.returncode == 0, said[-2000:]
        return said

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def pytest_collection_modifyitems(items):
    why = ""
    if importlib.util.find_spec("playwright") is None:
        why = "needs playwright: pip install -e '.[dev]'"
    elif chromium() is None:
        why = "needs the system's Chromium: apt-get install chromium"
    for item in items:
        if HERE in item.path.as_posix():
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)
            if why:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="module")
def browser():
    """Of one module, not of the session: while Playwright is open, its event loop runs in the tests' own thread, and a
    test elsewhere that runs a loop of its own would find it there.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        yield found
        found.close()


@pytest.fixture
def person(browser):
    """Makes people at pages of their own; none of their pages may have thrown an error or broken the policy."""
    made: list[Person] = []

    def make(**context) -> Person:
        made.append(Person(browser, **context))
        return made[-1]

    yield make
    for each in made:
        assert each.errors == []
        assert each.violations() == []
        each.context.close()


@pytest.fixture
def served(tmp_path):
    made: list[Served] = []

    def make(questions, settings=None, voices=()) -> Served:
        made.append(Served(tmp_path, questions, settings, voices))
        return made[-1]

    yield make
    for each in made:
        assert each.store.verify() == []
        each.close()


@pytest.fixture
def command():
    made: list[Command] = []

    def make(*arguments: str) -> Command:
        made.append(Command(*arguments))
        return made[-1]

    yield make
    for each in made:
        each.kill()


@pytest.fixture
def work():
    made: list[Work] = []

    def make(*arguments: str) -> Work:
        made.append(Work(*arguments))
        return made[-1]

    yield make
    for each in made:
        each.kill()
