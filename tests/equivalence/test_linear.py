"""Products in oneDNN are torch's own, forward and backward, and a model that uses them is the same model."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.conftest import llama_config
from torch import nn
from transformers import LlamaForCausalLM

from tutelage.execution.cpu import products
from tutelage.execution.cpu.kernels import CpuKernels

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


@pytest.fixture
def with_onednn(monkeypatch):
    monkeypatch.setattr(products, "library", lambda: "onednn")
    monkeypatch.setattr(products, "SMALLEST", 1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(7, 48), (3, 5, 48), (1, 1, 48)])
def test_values_and_gradients_are_those_of_the_plain_formula(shape, bias):
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(shape, generator=generator), torch.randn(33, 48, generator=generator)
    shift = torch.randn(33, generator=generator) if bias else None
    ours = [each.clone().requires_grad_() for each in (x, weight, shift) if each is not None]
    exact = [each.double().requires_grad_() for each in (x, weight, shift) if each is not None]
    got = products.product(*ours)
    wanted = exact[0] @ exact[1].t() + (exact[2] if bias else 0.0)
    assert torch.allclose(got.double(), wanted, atol=1e-5)
    pull = torch.randn(got.shape, generator=generator)
    got.backward(pull)
    wanted.backward(pull.double())
    for mine, theirs in zip(ours, exact, strict=True):
        assert torch.allclose(mine.grad.double(), theirs.grad, atol=2e-5)


def test_a_model_is_the_same_model(with_onednn):
    torch.manual_seed(0)
    plain = LlamaForCausalLM(llama_config()).eval()
    quick = CpuKernels().accelerate(copy.deepcopy(plain))
    assert sum(type(each) is products.Linear for each in quick.modules()) == 15
    tokens = torch.arange(20).view(2, 10)
    losses = [model(input_ids=tokens, labels=tokens).loss for model in (plain, quick)]
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-6)
    for loss in losses:
        loss.backward()
    for (name, mine), theirs in zip(quick.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, atol=1e-6), name
    assert quick.state_dict().keys() == plain.state_dict().keys()


def test_what_it_is_not_made_for_goes_to_torch():
    layer = nn.Linear(8, 8).double()
    layer.__class__ = products.Linear
    x = torch.randn(2, 8, dtype=torch.float64)
    assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))
    layer.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x.float()).dtype == torch.bfloat16


def test_without_onednn_nothing_is_touched(monkeypatch):
    monkeypatch.setattr(products, "library", lambda: "torch")
    model = CpuKernels().accelerate(LlamaForCausalLM(llama_config()))
    assert not any(type(each) is products.Linear for each in model.modules())
