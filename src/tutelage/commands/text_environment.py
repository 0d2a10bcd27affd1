"""`--environment module:make`: a text environment of the user's own, made by a function of codec and prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tutelage.data.tokens import Codec
from tutelage.environments.checks import call_environment, refuse_unusable_environment
from tutelage.rewards.functions import load_function, refuse_bare_module, refuse_other_arguments
from tutelage.trajectory import Batch, TextEnvironment

FLAG = "--environment"


def load_make(name: str) -> Callable[[Codec, list[str]], Any]:
    """The function that `module:function` names, which must take (codec, prompts); InputError where it does not."""
    refuse_bare_module(name, FLAG)
    make = load_function(name, FLAG)
    refuse_other_arguments(make, f"{FLAG} {name}", "(codec, prompts)", "def make{}`, returning a text environment")
    return make


def make_environment(
    name: str, codec: Codec, prompts: Sequence[str], new_tokens: int, context_tokens: int | None
) -> TextEnvironment:
    """What `module:make` returns for the policy's codec and the texts of --data.

    new_tokens, context_tokens: a turn's at most, and the model's, None where it has no limit
    raises InputError: where the function is not found or fails, or returns no environment that can be sampled
    """
    make = load_make(name)
    environment = call_environment(f"{FLAG} {name}: the function", make, codec, list(prompts))
    refuse_unusable_environment(environment, new_tokens, context_tokens, f"{FLAG} {name}")
    return environment


def score_nothing(batch: Batch) -> Tensor:
    """[B, T] zeros: the score of a task whose environment pays."""
    return torch.zeros_like(batch.rewards_BT)
