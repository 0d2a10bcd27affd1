"""Trajectory -> score in language: a learned reward model, or any function of texts.

A score of the whole reply is one number; it stands at the reply's last action (the end of sequence, if it has one).
"""

from __future__ import annotations

import copy
import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec
from tutelage.models.classifiers import scores_of_states
from tutelage.models.kernels import kernels
from tutelage.models.trunk import Numerics, last_states
from tutelage.rewards.functions import TextReward
from tutelage.trajectory import Batch

SAVE = "tutelage.rewards.folders:save_heads"  # loaded where a reward model is saved; who reads one needs none of it


class Heads(nn.Module):
    """A trunk and H linear heads; their scores are read at the last real token: (head_h · h_last) + bias_h.

    The folder it saves is a Hugging Face sequence classifier with H labels. Its head has no bias in most families,
    so the bias that makes references average 0 stands in `config.score_bias` (a constant shift; no ranking needs it).
    """

    def __init__(self, sequence_classifier: Any, numerics: Numerics = Numerics()) -> None:
        super().__init__()
        self.model, self.numerics = kernels().accelerate(sequence_classifier), numerics
        weight, bias = sequence_classifier.score.weight, getattr(sequence_classifier.config, "score_bias", 0.0)
        self.register_buffer("bias_H", torch.tensor(bias, device=weight.device).float().expand(len(weight)).clone())
        self.bias_H: Tensor

    def forward(self, batch: Batch) -> Tensor:
        """[B, H] scores of whole episodes, by lengths: neither padding nor neighbours change them."""
        states_BSd = last_states(self.model, batch.observations, self.numerics)
        last_Bd = states_BSd[torch.arange(len(batch), device=states_BSd.device), batch.lengths_B]
        return scores_of_states(self.model, last_Bd) + self.bias_H

    @torch.no_grad()
    def normalise(
        self, sample_N: Tensor, *, mean: float = 0.0, deviation: float | None = None, head: int = 0
    ) -> tuple[float, float]:
        """Shift (given a deviation, scale too) a head so that this sample of its scores has mean and deviation exactly.

        gain = s_target / s, shift = μ_target − gain · μ, population deviation (Ziegler et al. 2019). Frozen hereafter.
        Returns (gain, shift): a score was x and is now gain · x + shift.
        """
        spread = float(sample_N.double().std(unbiased=False))
        if deviation is not None and not spread > 0:
            raise ValueError(f"all {len(sample_N)} scores are equal, so they cannot be scaled to deviation {deviation}")
        gain = 1.0 if deviation is None else deviation / spread
        shift = mean - gain * float(sample_N.double().mean())
        self.model.score.weight[head].mul_(gain)
        self.bias_H[head].mul_(gain).add_(shift)
        return gain, shift

    def save(self, folder: Path, codec: Codec) -> None:
        """A folder that transformers reads as a classifier of H labels, with the score at the same token as here.

        Its pooling skips padding by token id, so there padding must not be the end of sequence that closes a reply
        (`with_padding`). Its scores lack `config.score_bias`, a constant. Of a LoRA adapter, the folder that peft reads
        (`models.reward_adapters`); a row for padding is not added to the base model's embedding.
        """
        pkgutil.resolve_name(SAVE)(self, folder, codec)


class RewardModel(Heads):
    """A trunk and one head: episodes -> [B] scores."""

    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch).squeeze(-1)


def start_head(sequence_classifier: Any, seed: int) -> None:
    """Fresh heads N(0, 1/(d+1)), each its own: scores start near unit scale (Stiennon et al. 2020)."""
    weight = sequence_classifier.score.weight
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        fresh = torch.randn(weight.shape, generator=generator) / math.sqrt(weight.shape[1] + 1)
        weight.copy_(fresh)


@dataclass(frozen=True)
class ModelScore:
    """A reward model (episodes -> [B] scores) that shares the policy's tokens, as a Score."""

    model: Callable[[Batch], Tensor]
    episodes_at_once: int = 256

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        parts = torch.arange(len(batch)).split(self.episodes_at_once)
        return batch.at_last_action(torch.cat([self.model(batch.select(part)) for part in parts]))


@dataclass(frozen=True)
class TextScore:
    """A function of texts as a Score: decodes, calls, and refuses what is no finite number.

    A reward that cannot be computed stops the run; it never becomes 0.
    """

    function: TextReward
    codec: Codec
    name: str = "the reward function"

    def __call__(self, batch: Batch) -> Tensor:
        prompts, responses = self.codec.prompts_and_responses(batch)
        return batch.at_last_action(torch.tensor(self.numbers(prompts, responses), device=batch.mask_BT.device))

    def numbers(self, prompts: list[str], responses: list[str]) -> list[float]:
        try:
            returned = self.function(prompts, responses)
        except Exception as error:
            raise InputError(
                f"{self.name} raised {type(error).__name__}: {error} (given {len(prompts)} prompts and responses, "
                f"the first response {responses[0][:80]!r}). It must return one number for each response."
            ) from error
        values = self._as_floats(returned)
        if len(values) != len(responses):
            raise InputError(
                f"{self.name} returned {len(values)} numbers for {len(responses)} responses; expected as many."
            )
        for value, response in zip(values, responses, strict=True):
            if not math.isfinite(value):
                raise InputError(f"{self.name} returned {value} for {response[:80]!r}; expected a finite number.")
        return values

    def _as_floats(self, returned: Any) -> list[float]:
        """A list, tuple, array or tensor [N] of numbers as floats; InputError for anything else."""
        try:
            if isinstance(returned, (str, bytes, Mapping)):
                raise TypeError
            return [float(value) for value in returned]
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{self.name} returned {returned!r:.120} ({type(returned).__name__}); expected a list with one number "
                "for each response."
            ) from error


@dataclass(frozen=True)
class TextClassifier:
    """A classifier of one label that reads prompt and response as one text, with its own tokenizer, such as BERT.

    Texts longer than the model's limit lose their beginning.
    """

    model: Any
    tokenizer: Any
    texts_at_once: int = 32

    def __call__(self, prompts: list[str], responses: list[str]) -> list[float]:
        texts = [prompt + response for prompt, response in zip(prompts, responses, strict=True)]
        parts = [texts[start : start + self.texts_at_once] for start in range(0, len(texts), self.texts_at_once)]
        return [score for part in parts for score in self._scores(part)]

    @torch.no_grad()
    def _scores(self, texts: list[str]) -> list[float]:
        tokenizer, limit = copy.copy(self.tokenizer), self.limit
        tokenizer.truncation_side = "left"
        encoded = [tokenizer(text, truncation=limit is not None, max_length=limit) for text in texts]
        if tokenizer.pad_token is None:  # one at a time, where padding would be read
            batches = [
                tokenizer.pad(each, return_tensors="pt") for each in ({"input_ids": [e["input_ids"]]} for e in encoded)
            ]
        else:
            batches = [tokenizer.pad(encoded, return_tensors="pt")]
        device = next(self.model.parameters()).device
        return [float(score) for each in batches for score in self.model(**each.to(device)).logits[:, 0]]

    @property
    def limit(self) -> int | None:
        """Tokens that the model reads at most, by its config and its tokenizer."""
        limits = [self.tokenizer.model_max_length, getattr(self.model.config, "max_position_embeddings", None)]
        known = [int(each) for each in limits if each and each < 10**6]
        return min(known, default=None)
