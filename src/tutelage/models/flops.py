"""Floating-point operations of transformers, counted by one rule, for comparisons at an equal budget.

A token costs 2 operations a weight in a forward pass and 4 more where gradients flow to all weights (Kaplan et al.
2020, §2.1); where fewer than half of the weights learn (an adapter, the upper layers), 2 more: gradients pass through
the others without being taken for them.
The weights of a token are all of the transformer and its head, without the table of input embeddings. Padding
is computed and counts. Attention's products of tokens with tokens are left out, which are small at the lengths of
replies, and so are losses and optimizers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tutelage.models.trunk import ON_PASS


@dataclass
class FlopCount:
    """flops: forward and backward of whole sequences, and of drawing     tokens_sampled: drawn by a counted sampler"""

    flops: float = 0.0
    tokens_sampled: int = 0


COUNT: ContextVar[FlopCount | None] = ContextVar("flop_count", default=None)


@contextmanager
def count_flops() -> Iterator[FlopCount]:
    """Counts the passes over whole sequences inside, and what samplers report to `count_tokens`."""
    count = FlopCount()
    tokens = COUNT.set(count), ON_PASS.set(count_tokens)
    try:
        yield count
    finally:
        COUNT.reset(tokens[0])
        ON_PASS.reset(tokens[1])


@contextmanager
def pause_count() -> Iterator[None]:
    """Nothing inside is counted."""
    token = COUNT.set(None)
    try:
        yield
    finally:
        COUNT.reset(token)


def count_tokens(model: Any, tokens: int, sampled: int = 0) -> None:
    """Adds a pass of so many tokens through a model, with gradients where they are being computed.

    sampled: how many of them were drawn
    """
    count = COUNT.get()
    if count is None:
        return
    weights, learning = weights_of(model)
    passes = 1 if not (torch.is_grad_enabled() and learning) else 2 if learning < weights / 2 else 3
    count.flops += 2.0 * weights * passes * tokens
    count.tokens_sampled += sampled


def weights_of(model: nn.Module) -> tuple[int, int]:
    """(weights that a token is multiplied with, how many of them learn)."""
    embedding: Any = model.get_input_embeddings()  # pyright: ignore[reportCallIssue]
    head: Any = getattr(model, "get_output_embeddings", lambda: None)()
    own = {id(each) for each in embedding.parameters()} - {id(each) for each in (head.parameters() if head else ())}
    used = [each for each in model.parameters() if id(each) not in own]
    return sum(each.numel() for each in used), sum(each.numel() for each in used if each.requires_grad)
