"""Best of n: its KL, its unbiased estimate, and a proxy with independent noise."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from tutelage.formulas import best_of_n


@pytest.mark.parametrize(
    ("n", "nats"),
    [
        (1, 0.0), (2, 0.193147), (4, 0.636294), (8, 1.204442), (16, 1.835089), (64, 3.174508), (128, 3.859843),
        (256, 4.549084), (512, 5.240278), (1000, 5.908755), (1024, 5.932448), (60000, 10.002117),
    ],
)  # fmt: skip
def test_kl_by_hand(n, nats):
    assert best_of_n.kl_nats(n) == pytest.approx(nats, abs=1e-6)


@pytest.mark.parametrize(("outcomes", "nats"), [(2, 0.459356), (10, 0.628825), (1000, 0.636294)])
def test_kl_is_an_upper_bound_where_scores_tie(outcomes, nats):
    """Best of 4 among m ordered, equally likely outcomes: P(best = k) = (k/m)⁴ − ((k−1)/m)⁴."""
    edges = (np.arange(outcomes + 1) / outcomes) ** 4
    best = np.diff(edges)
    exact = float((best * np.log(best * outcomes)).sum())
    assert exact == pytest.approx(nats, abs=1e-6)
    assert exact <= best_of_n.kl_nats(4) + 1e-9


def test_unbiased_estimate_by_hand():
    proxy, gold = np.array([0.1, 0.4, 0.2, 0.9]), np.array([1.0, 3.0, -2.0, 0.5])
    found = [best_of_n.expected(proxy, gold, n) for n in (1, 2, 3, 4)]
    assert found == pytest.approx([0.625, 0.916667, 1.125, 0.5], abs=1e-6)


def test_unbiased_estimate_is_the_mean_over_all_subsets():
    generator = np.random.default_rng(0)
    proxy, gold = generator.normal(size=9), generator.normal(size=9)
    for n in range(1, 10):
        brute = np.mean([gold[max(subset, key=lambda i: proxy[i])] for subset in combinations(range(9), n)])
        assert best_of_n.expected(proxy, gold, n) == pytest.approx(brute)
        assert best_of_n.expected(np.exp(3 * proxy), gold, n) == pytest.approx(brute)  # any monotone transform


def test_large_samples_neither_overflow_nor_lose_weight():
    assert best_of_n.expected(np.arange(60000.0), np.ones(60000), 30000) == pytest.approx(1.0, abs=1e-6)


def test_more_than_there_are_is_refused():
    with pytest.raises(ValueError, match="at least 5"):
        best_of_n.expected(np.zeros(4), np.zeros(4), 5)


@pytest.mark.parametrize(("noise_variance", "slope"), [(0.25, 0.8), (1.0, 0.5), (4.0, 0.2)])
def test_a_noisy_proxy_earns_its_share_of_gold(noise_variance, slope):
    """Fact 4 (regressional Goodhart): E[gold | best of n] = E max(n) / √(1 + s²), rising, with the slope 1/(1+s²)."""
    generator = np.random.default_rng(0)
    gold = generator.normal(size=400_000)
    proxy = gold + generator.normal(size=gold.size) * np.sqrt(noise_variance)
    expected_maximum = {1: 0.0, 2: 0.56419, 4: 1.02938, 16: 1.76599, 64: 2.34373}
    found = {n: best_of_n.expected(proxy, gold, n) for n in expected_maximum}
    assert list(found.values()) == sorted(found.values())
    for n, maximum in expected_maximum.items():
        assert found[n] == pytest.approx(maximum / np.sqrt(1 + noise_variance), abs=0.02)
        if n > 1:
            assert found[n] / best_of_n.expected(proxy, proxy, n) == pytest.approx(slope, abs=0.02)
