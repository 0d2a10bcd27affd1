"""The KL of whole distributions as a loss: the value and the gradient of `kl.exact`, and exactly 0 at equality."""

from __future__ import annotations

import torch

from tutelage.formulas import kl
from tutelage.formulas.divergence import divergence


def gradient(function, logits, reference):
    return torch.autograd.grad(function(logits, reference).sum(), logits)[0]


def test_value_and_gradient_are_those_of_the_exact_kl():
    torch.manual_seed(0)
    logits = (3 * torch.randn(8, 200)).requires_grad_()
    reference = logits.detach() + 0.3 * torch.randn(8, 200)
    assert torch.equal(divergence(logits, reference), kl.exact(logits, reference))
    assert torch.allclose(gradient(divergence, logits, reference), gradient(kl.exact, logits, reference), atol=1e-6)


def test_where_both_are_the_same_the_gradient_is_exactly_0():
    """Autograd of the plain sum leaves rounding there, which Adam would scale up to steps."""
    torch.manual_seed(0)
    logits = (3 * torch.randn(8, 2000)).requires_grad_()
    same = logits.detach().clone()
    assert float(gradient(divergence, logits, same).abs().max()) == 0.0
    assert float(gradient(kl.exact, logits, same).abs().max()) > 0.0
