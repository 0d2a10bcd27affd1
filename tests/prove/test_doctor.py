"""What docs/doctor.md says of the doctor: unseen seeds and two unseen base settings, an hour and more on two cores."""

from __future__ import annotations

import pytest
from tests.stories.test_faults import figures

WITHOUT_PPO = "labels by heart,length labelled,test learned from,first one wins,one clicks,answered both ways"
TWICE = "imported twice,same reply twice"


def numbers(*places):
    return ",".join(map(str, range(*places)))


@pytest.mark.prove
def test_recall_and_false_alarms_on_unseen_runs(tmp_path):
    figures(tmp_path, "--base", "fourth", "--seeds", "45,46", "--runs", "diseased")
    figures(tmp_path, "--base", "fifth", "--seeds", "45", "--runs", "diseased")
    figures(tmp_path, "--base", "fifth", "--seeds", "46", "--runs", f"{WITHOUT_PPO},{TWICE}")
    figures(tmp_path, "--base", "fourth", "--seeds", numbers(45, 57), "--runs", "healthy")
    found = figures(tmp_path, "--base", "fifth", "--seeds", numbers(45, 52), "--runs", "healthy")["unseen"]
    assert found["diseased"] >= 100 and found["healthy"] >= 150
    assert found["recall"] >= 0.95
    assert found["healthy_alarmed"] <= 3
