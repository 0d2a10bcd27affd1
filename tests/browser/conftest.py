"""One Chromium for all browser tests; without it they are skipped, and say what to install."""

from __future__ import annotations

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
    missing = chromium() is None
    for item in items:
        if HERE in item.path.as_posix():
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)
            if missing:
                item.add_marker(pytest.mark.skip(reason="needs the system's Chromium: apt-get install chromium"))


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
    yield from started(Command)


@pytest.fixture
def work():
    yield from started(Work)


def started(kind):
    """Makes processes of this kind for a test, and ends those that it made."""
    made = []

    def make(*arguments: str):
        made.append(kind(*arguments))
        return made[-1]

    yield make
    for each in made:
        each.kill()
