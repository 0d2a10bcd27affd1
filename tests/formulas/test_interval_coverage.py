"""Intervals hold the truth as often as they say: the cells that were too narrow, small enough for every run.

The whole table: tests/prove/test_interval_coverage.py. Seeds are fixed, so a cell is the same each time. Of 400 data
sets 0.93 is two deviations below the nominal 0.95; what is tested covers more.
"""

from __future__ import annotations

import numpy as np
import pytest
from tests.coverage import COVERS, WIDEST, by_name, measured

from tutelage.formulas import intervals

CELLS = [
    *(("share", n, p) for n in (5, 10, 20, 50) for p in (0.5, 0.9, 0.95)),
    *(("win rate with ties", n, 0.9) for n in (10, 50)),  # 0.87 to 0.92 by the mean of 1, ½, 0
    *(("mean", n, 0.0) for n in (3, 5, 10)),  # 0.82, 0.88, 0.92 by the normal approximation
    *(("clustered share", n, 0.95) for n in (5, 10, 50)),  # 0.90 by Student's t at 60 × 3
    *(("clustered mean", n, 0.3) for n in (5, 10)),
    ("area under the curve", 10, 1.8),  # 0.91 by percentiles of a bootstrap
    ("temperature", 20, 1),  # 0.87 by the same
    ("difference of outcomes", 20, 0.1),
]


@pytest.mark.parametrize(("name", "n", "setting"), CELLS)
def test_the_essential_cells_cover(name, n, setting):
    found = measured(by_name(name), n, setting, sets=400)
    assert found.coverage >= COVERS and found.unknown == 0
    if name in ("share", "win rate with ties", "mean"):
        assert found.width <= WIDEST


def test_fewer_than_six_clusters_of_a_statistic_are_too_few_to_tell():
    for name in ("area under the curve", "rank correlation", "alpha", "temperature"):
        assert measured(by_name(name), 20, by_name(name).settings[0], sets=20).unknown == 0
        estimate, _ = by_name(name).draw(np.random.default_rng(0), 5, by_name(name).settings[0])
        assert not estimate.is_known and "too few to tell" in estimate.text()


def test_a_share_of_one_cluster_is_as_wide_as_a_single_vote():
    alone = intervals.share(np.ones(500), np.zeros(500))
    assert alone == pytest.approx(intervals.share([1.0])) and alone.n == 1 and alone.low == pytest.approx(0.025)


def test_nothing_that_is_certain_is_a_point():
    """0 of 20 was [0, 0], 20 of 20 was [1, 1]."""
    assert intervals.share(np.zeros(20)).high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert intervals.share(np.ones(20)).low == pytest.approx(0.025 ** (1 / 20))
    tied = intervals.share(np.full(20, 0.5))
    assert tied.low < 0.45 and tied.high > 0.55
