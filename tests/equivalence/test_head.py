"""Log-probs from states in chunks are the plain formula on all logits: values, gradients, whatever is kept."""

from __future__ import annotations

import pytest
import torch

from tutelage.formulas import likelihood
from tutelage.models import head


def inputs(rows=37, width=16, vocabulary=51, bias=True):
    generator = torch.Generator().manual_seed(rows)
    states = torch.randn(rows, width, generator=generator)
    weight = torch.randn(vocabulary, width, generator=generator)
    shift = torch.randn(vocabulary, generator=generator) if bias else None
    return states, weight, shift, torch.randint(vocabulary, (rows,), generator=generator)


def plain(states, weight, shift, actions, temperature):
    logits = states @ weight.t() + (0.0 if shift is None else shift)
    return likelihood.action_log_probs(logits, actions, temperature), likelihood.entropy(logits, temperature)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize(("chunk", "kept"), [(2**24, 2**25), (200, 2**25), (200, 0), (1, 0)])
def test_values_and_gradients_are_the_plain_formulas(monkeypatch, bias, temperature, chunk, kept):
    monkeypatch.setattr(head, "CHUNK", chunk)
    monkeypatch.setattr(head, "KEPT", kept)
    states, weight, shift, actions = inputs(bias=bias)
    pull = torch.randn(len(states), generator=torch.Generator().manual_seed(1))
    results = []
    for function in (head.said, plain):
        given = [each.clone().requires_grad_() if each is not None else None for each in (states, weight, shift)]
        log_probs, _ = function(*given, actions, temperature)
        (log_probs * pull).sum().backward()
        with torch.no_grad():
            entropy = function(*given, actions, temperature)[1]
        results.append([log_probs, entropy, *(each.grad for each in given if each is not None)])
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=2e-5)


def test_a_second_backward_pass_finds_the_same(monkeypatch):
    states, weight, shift, actions = inputs()
    states.requires_grad_()
    log_probs, _ = head.said(states, weight, shift, actions)
    first, second = (torch.autograd.grad(log_probs.sum(), states, retain_graph=True)[0] for _ in range(2))
    assert torch.allclose(first, second, atol=1e-6)


def test_the_gradient_is_that_of_differences():
    states, weight, shift, actions = (each.double() if each.is_floating_point() else each for each in inputs(5, 4, 7))

    def total(given):
        return likelihood.action_log_probs(given @ weight.t() + shift, actions).double().sum()

    states.requires_grad_()
    log_probs, _ = head.said(states.float(), weight.float(), shift.float(), actions)
    (found,) = torch.autograd.grad(log_probs.sum(), states)
    nudge = torch.zeros_like(states)
    nudge[2, 1] = 1e-2
    with torch.no_grad():
        slope = (total(states + nudge) - total(states - nudge)) / 2e-2
    assert float(found[2, 1]) == pytest.approx(float(slope), abs=2e-3)
