"""The distance of two samples: by hand, against its definition, and how often chance is taken for a difference."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.formulas.two_samples import kolmogorov_smirnov


def test_by_hand():
    assert kolmogorov_smirnov(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 5.0, 6.0]))[0] == 0.5
    assert kolmogorov_smirnov(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == (0.0, 1.0)
    assert kolmogorov_smirnov(np.zeros(3), np.ones(9))[0] == 1.0


def test_by_definition():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=40), rng.normal(0.5, 2.0, size=25)
    everywhere = np.concatenate([first, second])
    gaps = [abs((first <= x).mean() - (second <= x).mean()) for x in everywhere]
    assert kolmogorov_smirnov(first, second)[0] == pytest.approx(max(gaps))


def test_chance_is_what_it_says():
    """Of 400 pairs of samples of one source about 5 % have a p below 0.05."""
    rng = np.random.default_rng(1)
    p = [kolmogorov_smirnov(rng.normal(size=200), rng.normal(size=200))[1] for _ in range(400)]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.08


def test_nothing_to_compare():
    with pytest.raises(ValueError, match="got 0 and 3"):
        kolmogorov_smirnov(np.array([]), np.zeros(3))
