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


@pytest.mark.parametrize(
    ("n", "weights"), [(1, [0.25] * 4), (2, [0, 1 / 6, 1 / 3, 1 / 2]), (3, [0, 0, 0.25, 0.75]), (4, [0, 0, 0, 1])]
)
def test_weights_by_hand(n, weights):
    """Fact 2: the gold of one sample at a time is its weight."""
    found = best_of_n.curve(np.tile(np.arange(4.0), (4, 1)), np.eye(4), [n])
    assert found[:, 0].tolist() == pytest.approx(weights)


def test_a_curve_is_the_estimate_of_each_prompt_and_each_n():
    generator = np.random.default_rng(1)
    proxy, gold = generator.normal(size=(3, 8)), generator.normal(size=(3, 8))
    ns = [1, 2, 5, 8]
    found = best_of_n.curve(proxy, gold, ns)
    assert found.shape == (3, 4)
    for prompt in range(3):
        for column, n in enumerate(ns):
            subsets = combinations(range(8), n)
            brute = np.mean([gold[prompt, max(subset, key=lambda i: proxy[prompt, i])] for subset in subsets])
            assert found[prompt, column] == pytest.approx(brute)
            assert best_of_n.expected(proxy[prompt], gold[prompt], n) == pytest.approx(brute)


def test_its_own_score_wins_n_of_n_plus_one():
    """Fact 3: the best of n beats one fresh sample with probability n / (n + 1)."""
    samples = np.arange(2000.0)[None]
    for n in (1, 2, 4, 16, 100):
        shares = (samples + 0.5) / samples.shape[1]  # how many of the others each one beats
        assert best_of_n.curve(samples, shares, [n])[0, 0] == pytest.approx(n / (n + 1), abs=1e-3)


def test_a_large_curve():
    generator = np.random.default_rng(2)
    proxy = generator.normal(size=(20, 10_000))
    ns = np.unique(np.geomspace(1, 10_000, 40).astype(int)).tolist()
    found = best_of_n.curve(proxy, proxy, ns)
    assert np.isfinite(found).all()
    assert found[:, -1] == pytest.approx(proxy.max(axis=1))
    assert found[:, 0] == pytest.approx(proxy.mean(axis=1))
    assert found.mean(axis=0)[ns.index(4)] == pytest.approx(1.02938, abs=0.01)
    assert bool((np.diff(found, axis=1) > 0).all())


def test_scores_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r"proxy \(1, 4\) and gold \(1, 3\)"):
        best_of_n.curve(np.zeros((1, 4)), np.zeros((1, 3)), [1])
