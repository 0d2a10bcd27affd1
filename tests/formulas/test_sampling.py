"""Drawing from logits against loops, limits and counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tutelage.formulas import sampling


def slow_support(logits, top_k, top_p):
    order = sorted(range(len(logits)), key=lambda token: (-logits[token], token))
    order = order[:top_k] if top_k else order
    weights = np.exp(np.array([logits[token] for token in order]) - max(logits))
    probs, kept, total = weights / weights.sum(), set(), 0.0
    for token, prob in zip(order, probs, strict=True):
        if kept and total >= top_p:
            break
        kept.add(token)
        total += prob
    return kept


@given(
    st.lists(st.integers(-8, 8), min_size=2, max_size=12, unique=True),
    st.integers(0, 12),
    st.sampled_from([0.1, 0.5, 0.9, 1.0]),
)
def test_the_support_is_the_loops(scores, top_k, top_p):
    logits = [score / 3 + 0.01 for score in scores]
    got = sampling.support(torch.tensor([logits]), top_k, top_p)[0]
    wanted = slow_support(logits, top_k, top_p if top_p < 1 else np.inf)
    assert set(got.nonzero()[:, 0].tolist()) == wanted


def test_a_known_nucleus():
    probs = torch.tensor([[0.5, 0.3, 0.15, 0.05]])
    assert sampling.support(probs.log(), top_p=0.7).tolist() == [[True, True, False, False]]
    assert sampling.support(probs.log(), top_p=0.0001).tolist() == [[True, False, False, False]]
    assert sampling.support(probs.log(), top_k=3).tolist() == [[True, True, True, False]]


def test_the_uniform_names_the_token():
    probs = torch.tensor([[0.25, 0.0, 0.5, 0.25]]).repeat(5, 1)
    uniforms = torch.tensor([0.0, 0.2499, 0.25, 0.7499, 0.75], dtype=torch.float64)
    assert sampling.inverse_cdf(probs, uniforms).tolist() == [0, 0, 2, 2, 3]


@pytest.mark.parametrize("tokens", [40, 1024, 1025, 3000])
def test_draws_follow_the_probabilities(tokens):
    generator = torch.Generator().manual_seed(0)
    probs = (2 * torch.randn(tokens, generator=generator)).softmax(0)
    uniforms = torch.rand(20000, generator=generator, dtype=torch.float64)
    drawn = torch.cat([sampling.inverse_cdf(probs.expand(500, -1), each) for each in uniforms.split(500)])
    order = probs.argsort(descending=True)
    often, seldom = order[:30], order[30:]
    counts = torch.bincount(drawn, minlength=tokens)
    seen = torch.cat([counts[often], counts[seldom].sum()[None]]).numpy()
    expected = torch.cat([probs[often], probs[seldom].sum()[None]]).double().numpy()
    assert stats.chisquare(seen, expected / expected.sum() * 20000).pvalue > 0.01


@pytest.mark.parametrize("tokens", [5, 1500, 5003])
def test_it_is_the_cumulative_sum_and_never_says_the_impossible(tokens):
    generator = torch.Generator().manual_seed(tokens)
    probs = torch.rand(200, tokens, generator=generator) ** 8
    probs[:, ::3] = 0.0
    probs[:, -2:] = 0.0
    uniforms = torch.rand(200, generator=generator, dtype=torch.float64)
    uniforms[:3] = torch.tensor([0.0, 1 - 2**-53, 0.5])
    drawn = sampling.inverse_cdf(probs, uniforms)
    ends = probs.double().cumsum(-1)
    slow = torch.searchsorted(ends, uniforms[:, None] * ends[:, -1:], right=True)[:, 0]
    assert (probs.gather(1, drawn[:, None]) > 0).all()
    gap = (ends.gather(1, drawn[:, None])[:, 0] - ends.gather(1, slow.clamp(max=tokens - 1)[:, None])[:, 0]).abs()
    assert (gap / ends[:, -1] < 1e-5).all() and (drawn == slow).float().mean() > 0.98


@pytest.mark.parametrize("tokens", [1, 7, 8, 9, 23])
def test_a_support_comes_back_from_its_bits(tokens):
    kept = torch.rand(3, 2, tokens, generator=torch.Generator().manual_seed(tokens)) < 0.4
    packed = sampling.pack(kept)
    assert packed.dtype == torch.uint8 and packed.shape == (3, 2, -(-tokens // 8))
    assert torch.equal(sampling.unpack(packed, tokens), kept)
