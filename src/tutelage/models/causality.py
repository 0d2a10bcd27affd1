"""Checks that a loaded model reads from left to right, and a record of what it computed when it was loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tutelage.data.errors import InputError
from tutelage.models.dtypes import rounding_of

LENGTH = 12  # tokens of the probe
TOLERANCE = 2e-5  # of the largest output: rounding stays below, and the smallest random encoder is far above
ATTRIBUTE = "tutelage_loaded_as"


@dataclass(frozen=True)
class LoadedAs:
    """What a language model computed when it was loaded, or when its last stage ended.

    log_probs: [S-1] of tokens [1, S], each given those before it. `preflight` compares the policy with them, so an
    adapter that is lost on the way to training is noticed.
    """

    tokens: Tensor
    log_probs: Tensor


def probe_tokens(vocabulary: int, device: torch.device) -> Tensor:
    """[2, S] token ids: two sequences that agree in their first half and nowhere else."""
    generator = torch.Generator().manual_seed(0)
    first, last = max(0, min(3, vocabulary - 1)), max(1, min(vocabulary, 1000))  # special tokens come first or last
    tokens = torch.randint(first, last, (LENGTH,), generator=generator) if last > first else torch.zeros(LENGTH).long()
    other = tokens.clone()
    other[LENGTH // 2 :] = first + (tokens[LENGTH // 2 :] - first + 1 + (last - first) // 2) % max(1, last - first)
    return torch.stack([tokens, other]).to(device)


@torch.no_grad()
def refuse_non_causal(
    outputs: Callable[[Tensor], Tensor], vocabulary: int, device: torch.device, name: str, rounding: float = 0.0
) -> Tensor:
    """[S, ...] outputs of the first probe sequence, where no output depends on a later token.

    outputs: [1, S] token ids -> [1, S, ...] outputs, one at each position.
    rounding: torch.finfo(dtype).eps of weights below fp32
    InputError where one does (BERT and other encoders), or where the model cannot be run on token ids alone.
    """
    one, other = probe_tokens(vocabulary, device).split(1)
    half = LENGTH // 2
    try:
        found, changed = outputs(one)[0].float(), outputs(other)[0].float()
        moved = float((found[:half] - changed[:half]).abs().max())
        scale = float(found.abs().max())
    except Exception as error:  # of any kind: the code of nearly two hundred families runs here
        raise InputError(
            f"{name}: this model cannot be run on token ids alone ({type(error).__name__}: {first_line(error)}), so it "
            "cannot be sampled or trained here. Give a causal language model that reads text."
        ) from error
    if not found.isfinite().all():
        raise InputError(f"{name}: the model's outputs are not finite. Are its weights whole?")
    if moved > max(TOLERANCE, rounding) * scale:
        raise InputError(
            f"{name}: this model is not causal: changing later tokens moves its earlier outputs by {moved:.2g}, as in "
            "an encoder such as BERT. Give a causal (decoder-only) language model."
        )
    return found


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:200]


def refuse_non_causal_lm(model: Any, name: str) -> None:
    """InputError where the language model is not causal; keeps on the model what it computed (`loaded_as`)."""
    device = next(model.parameters()).device
    vocabulary = model.config.get_text_config().vocab_size
    logits = refuse_non_causal(
        lambda tokens: model(input_ids=tokens, use_cache=False).logits, vocabulary, device, name, rounding_of(model)
    )
    remember_as_loaded(model, logits)


@torch.no_grad()
def remember_as_loaded(model: Any, logits_SV: Tensor | None = None) -> None:
    """Keeps on the model the log-probs that it gives to the probe now."""
    tokens = probe_tokens(model.config.get_text_config().vocab_size, next(model.parameters()).device)[:1]
    found = model(input_ids=tokens, use_cache=False).logits[0].float() if logits_SV is None else logits_SV
    setattr(model, ATTRIBUTE, LoadedAs(tokens, log_probs_of(tokens, found)))


def loaded_as(model: Any) -> LoadedAs | None:
    """What `remember_as_loaded` kept, also through the wrapper of an adapter; None of a model made in memory."""
    return getattr(model, ATTRIBUTE, None)


def log_probs_of(tokens_BS: Tensor, logits_SV: Tensor) -> Tensor:
    """[S-1] log-probs of every token of one sequence but the first."""
    return logits_SV[:-1].log_softmax(-1).gather(-1, tokens_BS[0, 1:, None])[:, 0]
