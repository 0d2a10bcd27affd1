"""Means and whitening over the entries that count."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.formulas import masked

ALL = torch.ones(3, 3, dtype=torch.bool)


def test_scaling_keeps_the_mean_and_uses_the_population_variance():
    values = torch.tensor([[1.2, 1.3, 1.4], [1.5, 1.6, 1.7], [1.8, 1.9, 2.0]])
    expected = [0.050807, 0.438105, 0.825403, 1.212702, 1.6, 1.987298, 2.374597, 2.761895, 3.149193]
    assert masked.scale(values, ALL).flatten().tolist() == pytest.approx(expected, abs=1e-5)


def test_whitening_by_hand():
    values = torch.tensor([1.0, 2.0, 3.0, 4.0])
    expected = [-1.341641, -0.447214, 0.447214, 1.341641]
    assert masked.centre_and_scale(values, torch.ones(4, dtype=torch.bool)).tolist() == pytest.approx(expected)


def test_whitening_over_the_reply_alone():
    """Fact 9: the whitened advantages of a reply whose padding holds other numbers."""
    values = torch.tensor([0.8044, 0.752, 0.66, 0.6, 0.0])
    mask = torch.tensor([True, True, True, False, False])
    expected = [1.099095, 0.221159, -1.320254, 0, 0]
    assert masked.centre_and_scale(values, mask).tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("function", [masked.centre_and_scale, masked.scale, masked.mean, masked.variance])
def test_what_does_not_count_may_hold_anything(function):
    kept = torch.tensor([0.3, -1.0, 2.0])
    mask = torch.tensor([True, True, True, False, False])
    alone = function(kept, torch.ones(3, dtype=torch.bool))
    for junk in (0.0, 1e30, float("nan"), float("inf")):
        padded = torch.cat([kept, torch.full((2,), junk)]).requires_grad_()
        found = function(padded, mask)
        assert torch.allclose(found if found.ndim == 0 else found[:3], alone)
        if found.ndim:
            assert found[3:].tolist() == [0, 0]
        found.square().sum().backward()
        assert padded.grad.isfinite().all()
        assert padded.grad[3:].tolist() == [0, 0]


def test_nothing_that_counts_is_zero_and_no_nan():
    nothing = torch.zeros(4, dtype=torch.bool)
    values = torch.full((4,), float("nan"))
    for function in (masked.total, masked.mean, masked.variance):
        assert float(function(values, nothing)) == 0.0
    assert masked.centre_and_scale(values, nothing).tolist() == [0.0] * 4


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=20), st.floats(-50, 50), st.floats(0.5, 20))
def test_whitening_forgets_shift_and_scale(values, shift, factor):
    tensor = torch.tensor(values, dtype=torch.float64)
    if float(tensor.std(unbiased=False)) < 0.1:
        return  # epsilon shows where the spread is small
    mask = torch.ones(len(values), dtype=torch.bool)
    whitened = masked.centre_and_scale(tensor, mask)
    assert float(whitened.mean()) == pytest.approx(0, abs=1e-6)
    assert float(whitened.std(unbiased=False)) == pytest.approx(1, abs=1e-5)
    assert torch.allclose(masked.centre_and_scale(factor * tensor + shift, mask), whitened, atol=1e-4)
