"""Files of every shape, a little wrong: a clear refusal or the right answer; no hang, no traceback, no lost row."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.fuzz.fuzzing import fuzz
from tests.fuzz.readers import READERS

SHARE, WHOLE = 1_000, 10_500  # files: in `make test`, and in `make prove`
READ_AT_LEAST = 0.3  # share of the files that still are read: else only the first check of a reader would be tested


def counted(told: Counter[tuple[str, str]]) -> float:
    """The share that was read; says how often each reader read and refused."""
    for reader in READERS:
        print(f"{reader.name:26s} {told[reader.name, 'read']:5d} read {told[reader.name, 'refused']:5d} refused")
        assert told[reader.name, "read"] and told[reader.name, "refused"], reader.name
    read = sum(count for (_, how), count in told.items() if how == "read")
    print(f"{read} of {told.total()} files read")
    return read / told.total()


@pytest.mark.slow
def test_a_thousand_files(tmp_path):
    assert counted(fuzz(READERS, SHARE, 0, tmp_path)) >= READ_AT_LEAST


@pytest.mark.prove
def test_ten_thousand_files(tmp_path):
    assert counted(fuzz(READERS, WHOLE, 1, tmp_path)) >= READ_AT_LEAST
