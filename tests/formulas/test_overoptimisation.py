"""Gold against optimisation: forms, fits, peaks, and a fall that is not the luck of the peak."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tutelage.formulas import overoptimisation as gao

FORMS = {
    "best of n": (gao.best_of_n_form, gao.fit_best_of_n, gao.best_of_n_peak),
    "reinforcement": (gao.reinforcement_form, gao.fit_reinforcement, gao.reinforcement_peak),
}
forms = pytest.mark.parametrize(("form", "fit", "peak"), FORMS.values(), ids=FORMS)
DISTANCES = np.linspace(0.0, 6.0, 25)


def test_forms_by_hand():
    distances = np.array([0.0, 1.0, 2.0])
    assert gao.best_of_n_form(distances, 1.0, 0.4).tolist() == pytest.approx([0.0, 0.6, 0.4])
    assert gao.reinforcement_form(distances, 1.0, 0.4).tolist() == pytest.approx([0.0, 1.0, 2 - 0.8 * math.log(2)])


def test_peaks_by_hand():
    """Fact 31."""
    for beta, distance, reward in ((0.1, 5.0, 2.5), (0.4, 1.25, 0.625)):
        found = gao.best_of_n_peak(1.0, beta)
        assert (found.distance, found.reward) == pytest.approx((distance, reward))
    found = gao.reinforcement_peak(1.0, 0.4)
    assert (found.distance, found.reward) == pytest.approx((4.4817, 1.7927), abs=1e-4)


@forms
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.3), (2.0, 1.5), (0.2, 0.1)])
def test_a_peak_is_where_the_curve_is_highest(form, fit, peak, alpha, beta):
    found = peak(alpha, beta)
    near = np.linspace(0.0, 3 * found.distance, 30_001)
    values = form(near, alpha, beta)
    assert near[values.argmax()] == pytest.approx(found.distance, abs=2e-4 * found.distance)
    assert values.max() == pytest.approx(found.reward, rel=1e-6)


@pytest.mark.parametrize("peak", [gao.best_of_n_peak, gao.reinforcement_peak])
def test_a_curve_without_end_has_no_peak(peak):
    assert peak(1.0, 0.0) is None
    assert peak(1.0, -0.2) is None
    assert peak(-1.0, -0.2) is None
    assert peak(-1.0, 0.0) == gao.Peak(0.0, 0.0)


def test_peaks_at_the_ends():
    assert gao.best_of_n_peak(-1.0, 0.5) == gao.Peak(0.0, 0.0)
    assert gao.reinforcement_peak(-1.0, 0.5).reward == pytest.approx(0.5 * math.exp(-3))
    assert gao.reinforcement_peak(1.0, 1e-3) is None  # at e^999: beyond what a float holds


@forms
def test_a_fit_without_noise_is_exact(form, fit, peak):
    found = fit(DISTANCES, form(DISTANCES, 1.3, 0.35))
    assert (found.alpha, found.beta) == pytest.approx((1.3, 0.35), abs=1e-12)
    assert (found.alpha_low, found.beta_high) == pytest.approx((1.3, 0.35), abs=1e-6)
    assert found.r_squared == pytest.approx(1.0)
    assert found.peak.distance == pytest.approx(peak(1.3, 0.35).distance)


@forms
def test_a_fit_under_small_noise_is_within_a_percent(form, fit, peak):
    noise = 0.005 * np.random.default_rng(0).normal(size=len(DISTANCES))
    found = fit(DISTANCES, form(DISTANCES, 1.3, 0.35) + noise)
    assert (found.alpha, found.beta) == pytest.approx((1.3, 0.35), rel=0.01)


@forms
def test_intervals_cover_what_they_say(form, fit, peak):
    generator = np.random.default_rng(1)
    distances, covered = np.linspace(0.5, 4.0, 8), []
    for _ in range(2000):
        found = fit(distances, form(distances, 1.0, 0.4) + 0.1 * generator.normal(size=8))
        covered.append((found.alpha_low <= 1.0 <= found.alpha_high, found.beta_low <= 0.4 <= found.beta_high))
    assert np.mean(covered, axis=0).tolist() == pytest.approx([0.95, 0.95], abs=0.02)


@forms
def test_weights_count_as_repetition_and_zero_as_absence(form, fit, peak):
    generator = np.random.default_rng(2)
    distances = np.linspace(0.3, 3.0, 6)
    rewards = form(distances, 1.0, 0.4) + 0.1 * generator.normal(size=6)
    weights = np.array([1.0, 2.0, 1.0, 3.0, 1.0, 0.0])
    weighted, repeated = (
        fit(distances, rewards, weights),
        fit(*(np.repeat(a, weights.astype(int)) for a in (distances, rewards))),
    )
    assert (weighted.alpha, weighted.beta) == pytest.approx((repeated.alpha, repeated.beta))
    assert weighted.r_squared == pytest.approx(repeated.r_squared)
    absent, scaled = fit(distances[:5], rewards[:5], weights[:5]), fit(distances, rewards, 7 * weights)
    for other in (absent, scaled):
        assert (weighted.alpha_low, weighted.beta_high) == pytest.approx((other.alpha_low, other.beta_high))


def test_least_squares_by_hand():
    """Columns d and −d² at d = 1, 1, 2, 2 with R = 0, 2, 3, 5: through the means 1 and 4, s² = 4 / 2."""
    found = gao.fit_best_of_n([1.0, 1.0, 2.0, 2.0], [0.0, 2.0, 3.0, 5.0])
    assert (found.alpha, found.beta) == pytest.approx((0.0, -1.0))
    assert found.peak is None
    assert found.r_squared == pytest.approx(1 - 4 / 13)
    variance_alpha, variance_beta = 2 * 34 / 16, 2 * 10 / 16  # s² (XᵀX)⁻¹, XᵀX = [[10, −18], [−18, 34]], det 16
    assert found.alpha_high == pytest.approx(4.302653 * math.sqrt(variance_alpha), rel=1e-6)
    assert found.beta_high == pytest.approx(-1 + 4.302653 * math.sqrt(variance_beta), rel=1e-6)


def test_the_wrong_form_fits_worse():
    rewards = gao.reinforcement_form(DISTANCES, 1.0, 0.4)
    assert gao.fit_best_of_n(DISTANCES, rewards).r_squared < 0.99 < gao.fit_reinforcement(DISTANCES, rewards).r_squared


def test_r_squared_of_a_flat_curve_is_not_a_number():
    assert math.isnan(gao.fit_best_of_n([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]).r_squared)


@pytest.mark.parametrize(
    ("distances", "rewards", "weights", "message"),
    [
        ([0, 1, 2], [1, 2], None, "got 3, 2 and 2"),
        ([0, 1, math.nan], [1, 2, 3], None, "finite"),
        ([0, 1, 2], [1, math.inf, 3], None, "finite"),
        ([-1, 1, 2], [1, 2, 3], None, "0 or above"),
        ([0, 1, 2], [1, 2, 3], [1, 1, -1], "weights"),
        ([0, 0, 1, 1], [1, 2, 3, 4], None, "at 1 such distances"),
        ([0, 1, 2], [1, 2, 3], [1, 1, 0], "2 points at 1"),
        ([0, 1, 2], [1, 2, 3], [0, 1, 1], "2 points at 2"),
        ([], [], None, "0 points"),
    ],
)
def test_points_that_say_nothing_are_refused(distances, rewards, weights, message):
    for fit in (gao.fit_best_of_n, gao.fit_reinforcement):
        with pytest.raises(ValueError, match=message):
            fit(distances, rewards, weights)


def test_a_fall_is_measured_where_the_peak_was_not_chosen():
    first = np.array([[0.0, 0.0], [3.0, 1.0], [1.0, 0.0]])
    second = np.array([[9.0, 9.0, 9.0], [1.0, 2.0, 6.0], [0.0, 2.0, 1.0]])
    found = gao.held_out_drop(first, second)
    assert (found.checkpoint, found.drop) == (1, 2.0)
    half = 4.302653 * math.sqrt(7.0 / 3)  # differences 1, 0, 5: variance 7
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), rel=1e-6)


def test_a_last_checkpoint_that_is_best_fell_by_nothing():
    rising = np.arange(4.0)[:, None] * np.ones((4, 5))
    assert gao.held_out_drop(rising, rising) == gao.Drop(3, 0.0, 0.0, 0.0, 5)


def test_noise_alone_is_no_fall():
    """20 checkpoints of the same worth: the naive fall from the best is above 0, the held-out one is not."""
    generator = np.random.default_rng(3)
    naive, honest, covered = [], [], []
    for _ in range(400):
        gold = generator.normal(size=(20, 40))
        means = gold.mean(axis=1)
        naive.append(means.max() - means[-1])
        found = gao.held_out_drop(gold[:, :20], gold[:, 20:])
        honest.append(found.drop)
        covered.append(found.low <= 0 <= found.high)
    assert np.mean(naive) > 0.2
    assert np.mean(honest) == pytest.approx(0.0, abs=0.05)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.04)


def test_halves_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="same checkpoints, got 2 and 3"):
        gao.held_out_drop(np.zeros((2, 4)), np.zeros((3, 4)))
    with pytest.raises(ValueError, match="finite"):
        gao.held_out_drop(np.full((2, 4), math.nan), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="finite"):
        gao.held_out_drop(np.zeros((2, 4)), np.full((2, 4), math.nan))


def test_runs_without_one_of_which_nothing_is_determined_have_no_interval():
    fit = gao.fit_best_of_n([1.0, 2.0, 3.0, 1.0], [0.9, 1.5, 1.9, 1.0], runs_N=["a", "a", "a", "b"])
    assert math.isnan(fit.alpha_low) and math.isnan(fit.beta_high) and fit.n == 2
    assert fit.alpha == pytest.approx(1.1, abs=0.1)


def test_what_can_be_fitted():
    assert gao.can_fit([0.0, 1.0, 2.0])
    assert not gao.can_fit([1.0, 2.0]) and not gao.can_fit([0.0, 1.0, 1.0])
