"""Fifty people over HTTP, two thousand questions to three of them each, the server killed five times: nothing lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.databases import BACKENDS, database

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "feedback_load.py"


def run(url, *flags):
    store = ["--store", url] if "://" in url else []
    command = [sys.executable, str(BENCHMARK), "--json", *store, *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.prove
@pytest.mark.parametrize("backend", BACKENDS)
def test_fifty_people_and_five_kills(backend, tmp_path):
    with database(backend, tmp_path) as url:
        found = run(url)
    assert found["faults"] == []
    assert (found["wanted"], found["counted"], found["kills"]) == (6000, 6000, 5)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_few_people_and_two_kills(backend, tmp_path):
    """The same in small, in `make test`."""
    flags = ("--people", "6", "--questions", "40", "--overlap", "2", "--kills", "2", "--think", "0.05")
    with database(backend, tmp_path) as url:
        found = run(url, *flags)
    assert found["faults"] == []
    assert (found["counted"], found["kills"]) == (80, 2)


FIVE = ("--kinds", "pair", "ranking", "good", "rating", "rules")


@pytest.mark.prove
@pytest.mark.parametrize("backend", BACKENDS)
def test_twenty_people_and_five_kinds_of_question(backend, tmp_path):
    with database(backend, tmp_path) as url:
        found = run(url, *FIVE, "--people", "20", "--questions", "400", "--kills", "4", "--think", "0.3")
    assert found["faults"] == []
    assert (found["counted"], found["kills"]) == (1200, 4)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_few_people_and_every_kind_of_question(backend, tmp_path):
    flags = ("--people", "6", "--questions", "36", "--overlap", "2", "--kills", "1", "--think", "0.05")
    with database(backend, tmp_path) as url:
        found = run(url, *FIVE, "edit", *flags)
    assert found["faults"] == []
    assert found["counted"] == 72
