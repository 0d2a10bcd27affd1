"""Which steps a signal is about: by hand, by numeric integration, and what must not change (other-labs.md §7.4)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from tutelage.formulas.credit import (
    by_gamma,
    by_uniform,
    delayed,
    gamma_cdf,
    present_step,
    previous_step,
    uniform_cdf,
)

INFINITY = float("inf")


def gamma_density(x: float, shape: float = 2.0, scale: float = 0.28) -> float:
    return x ** (shape - 1) * math.exp(-x / scale) / (math.gamma(shape) * scale**shape) if x > 0 else 0.0


def uniform_density(x: float) -> float:
    return 2.5 if 0.2 <= x <= 0.6 else 0.0


STEPS = ([0.0, 0.7, 1.1, 2.0, 2.3], [0.7, 1.1, 2.0, 2.3, INFINITY])


@pytest.mark.parametrize(("credit", "density"), [(by_gamma, gamma_density), (by_uniform, uniform_density)])
@pytest.mark.parametrize("at", [0.05, 0.7, 1.31, 2.5, 2.9, 4.0])
def test_the_credit_of_a_step_is_the_integral_of_the_density(credit, density, at):
    for place, (start, end) in enumerate(zip(*STEPS)):
        low, high = max(0.0, at - end), max(0.0, at - start)
        points = [x for x in (0.2, 0.6) if low < x < high] or None
        expected = quad(density, low, high, points=points)[0] if high > low else 0.0
        assert credit(STEPS, at)[place] == pytest.approx(expected, abs=1e-6)


def test_gamma_by_hand():
    """F(x) = 1 − e^{−x/θ}(1 + x/θ) for shape 2; its mean is 0.56 s and its mode 0.28 s."""
    assert gamma_cdf([0.28]) == pytest.approx(1 - 2 / math.e)
    assert gamma_cdf([0.56]) == pytest.approx(1 - 3 * math.exp(-2))
    x = np.linspace(0, 20, 200_001)
    assert np.trapezoid(1 - gamma_cdf(x), x) == pytest.approx(0.56, abs=1e-6)
    assert x[np.gradient(gamma_cdf(x), x).argmax()] == pytest.approx(0.28, abs=1e-3)


def test_uniform_by_hand():
    """A signal at 1.0 is about what was between 0.4 and 0.8."""
    assert by_uniform(([0.0, 0.5, 0.9], [0.5, 0.9, INFINITY]), 1.0) == pytest.approx([0.25, 0.75, 0.0])
    assert uniform_cdf([0.1, 0.2, 0.4, 0.6, 9.0]) == pytest.approx([0, 0, 0.5, 1, 1])
    far = delayed(([0.0], [1.0]), 3.0, lambda x: uniform_cdf(x, 2.0, 4.0))
    assert far == pytest.approx([0.5])


@given(
    st.lists(st.floats(0.05, 3.0), min_size=1, max_size=12),
    st.floats(0.0, 1.0),
    st.sampled_from([by_gamma, by_uniform, present_step, previous_step]),
)
def test_credits_are_shares_and_of_steps_that_cover_the_support_sum_to_one(lengths, late, credit):
    edges = np.concatenate([[-40.0], np.cumsum(lengths)])
    at = float(edges[-1]) + late
    steps = ([*edges[:-1], edges[-1]], [*edges[1:], INFINITY])
    credit_T = credit(steps, at)
    assert ((credit_T >= 0) & (credit_T <= 1)).all()
    assert credit_T.sum() == pytest.approx(1.0, abs=1e-9)


@given(st.floats(-1000.0, 1000.0))
def test_only_differences_of_times_matter(shift):
    moved = tuple([each + shift for each in side] for side in STEPS)
    for credit in (by_gamma, by_uniform, present_step, previous_step):
        assert credit(moved, 2.9 + shift) == pytest.approx(credit(STEPS, 2.9), abs=1e-6)


def test_a_step_cut_in_two_has_the_same_credit():
    whole = by_gamma(([0.0, 1.0], [1.0, INFINITY]), 1.4)
    parts = by_gamma(([0.0, 0.3, 1.0], [0.3, 1.0, INFINITY]), 1.4)
    assert parts[0] + parts[1] == pytest.approx(whole[0])
    assert parts[2] == pytest.approx(whole[1])


def test_what_has_not_begun_gets_nothing():
    assert by_gamma(([0.0, 2.0], [2.0, INFINITY]), 1.0)[1] == 0.0
    assert present_step(([5.0], [INFINITY]), 1.0).sum() == 0.0


def test_all_credit_to_one_step():
    assert present_step(STEPS, 1.2).tolist() == [0, 0, 1, 0, 0]
    assert previous_step(STEPS, 1.2).tolist() == [0, 1, 0, 0, 0]
    assert previous_step(STEPS, 0.3).sum() == 0.0  # nothing came before the first
    assert previous_step(STEPS, 0.7).tolist() == [1, 0, 0, 0, 0]  # the second begins at 0.7
