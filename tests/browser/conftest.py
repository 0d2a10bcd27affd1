"""One Chromium for all browser tests; without it they are skipped, and say what to install."""

from __future__ import annotations

import importlib.util

import pytest
from tests.labelling import ARGUMENTS, Command, Person, Served, chromium

HERE = "tests/browser"


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


@pytest.fixture(scope="session")
def browser():
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
