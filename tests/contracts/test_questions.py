"""Which questions are asked: each with the probability that is written down, a tenth of them uniformly."""

import numpy as np
import pytest

from tutelage.feedback import questions


@pytest.mark.parametrize("count", [1, 7, 40, 99, 100])
@pytest.mark.parametrize("interest", ["flat", "one", "heavy", "none"])
def test_probabilities_sum_to_the_count_and_none_is_impossible(count, interest):
    rng = np.random.default_rng(0)
    weights = {
        "flat": np.ones(100),
        "one": np.eye(100)[0],
        "heavy": rng.pareto(0.5, 100),
        "none": np.zeros(100),
    }[interest]
    probs = questions.inclusion(weights, count)
    assert probs.sum() == pytest.approx(count)
    assert (probs <= 1 + 1e-12).all() and (probs >= 0.1 * count / 100 - 1e-12).all()


def test_each_is_drawn_as_often_as_it_says():
    rng = np.random.default_rng(1)
    probs = questions.inclusion(rng.random(20) ** 3, 6, 0.2)
    counts, rounds = np.zeros(20), 20_000
    for _ in range(rounds):
        places = questions.drawn(probs, rng)
        assert len(set(places.tolist())) == 6
        counts[places] += 1
    assert counts / rounds == pytest.approx(probs, abs=4 * np.sqrt(0.25 / rounds))


def test_weighting_by_the_inverse_repairs_the_selection():
    """Asked for its disagreement, a sample says the wrong mean; weighted by 1/probability it says the right one."""
    rng = np.random.default_rng(2)
    truth = rng.normal(size=400)
    probs = questions.inclusion(np.exp(2 * truth), 60)
    plain, weighted = [], []
    for _ in range(3000):
        places = questions.drawn(probs, rng)
        plain.append(truth[places].mean())
        weighted.append((truth[places] / probs[places]).sum() / 400)
    assert abs(np.mean(weighted) - truth.mean()) < 4 * np.std(weighted) / np.sqrt(3000)
    assert np.mean(plain) - truth.mean() > 0.5


def test_the_planted_ambiguous_pairs_are_found():
    rng = np.random.default_rng(3)
    scores = np.repeat(rng.normal(size=(50, 2, 1)), 3, axis=2)
    scores[7, 0] += [-2, 0, 2]
    interest = questions.disagreement(scores)
    assert interest.argmax() == 7 and np.delete(interest, 7).max() < 1e-20
    assert questions.inclusion(interest, 5)[7] == 1.0


def test_the_tail_is_a_quarter_by_its_better_candidate():
    scores = np.arange(40.0).reshape(20, 2, 1)
    assert questions.high_scores(scores).tolist() == [0.0] * 15 + [1.0] * 5


@pytest.mark.parametrize(
    ("weights", "count", "fraction", "says"),
    [
        (np.ones(3), 2, 0.05, "uniformly"),
        (np.ones(3), 4, 0.1, "cannot be drawn"),
        (np.ones(3), 0, 0.1, "cannot be drawn"),
        (np.array([1.0, np.nan]), 1, 0.1, "finite"),
        (np.array([1.0, -1.0]), 1, 0.1, "finite"),
    ],
)
def test_nonsense_is_refused(weights, count, fraction, says):
    with pytest.raises(ValueError, match=says):
        questions.inclusion(weights, count, fraction)
