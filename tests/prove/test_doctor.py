"""What docs/doctor.md says of the doctor's eye: unseen seeds and two unseen base settings, an hour on two cores."""

from __future__ import annotations

import pytest
from tests.stories.test_faults import figures

UNSEEN = ("--base", "second,third")


@pytest.mark.prove
def test_recall_and_false_alarms_on_unseen_runs(tmp_path):
    figures(tmp_path, *UNSEEN, "--seeds", "5,6", "--runs", "diseased")
    found = figures(tmp_path, *UNSEEN, "--seeds", ",".join(map(str, range(5, 15))), "--runs", "healthy")["unseen"]
    assert found["diseased"] >= 100 and found["healthy"] >= 150
    assert found["recall"] >= 0.95
    assert found["healthy_alarmed"] <= 3
