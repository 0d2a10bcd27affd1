"""Several reward models as one score: members apart or heads on one trunk, put together by a function passed in.

A folder of an ensemble holds a folder of a Hugging Face classifier for each member, or one of k labels for k heads on
one trunk, and `ensemble.json` that names them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec
from tutelage.models.pretrained import NOTHING, Trust, load_sequence_classifier
from tutelage.models.trunk import Numerics
from tutelage.rewards.language import Heads
from tutelage.trajectory import Batch

INDEX = "ensemble.json"
Combine = Callable[[Tensor], Tensor]
"""[M, B] scores, one row a member -> [B] (formulas.uncertainty)."""


class Ensemble(nn.Module):
    """Reward models of the same tokens, each of one head or more: episodes -> [B, M], a column each."""

    def __init__(self, models: Sequence[Heads]) -> None:
        super().__init__()
        self.models: Any = nn.ModuleList(models)

    def forward(self, batch: Batch) -> Tensor:
        return torch.cat([model(batch).view(len(batch), -1) for model in self.models], dim=1)

    def normalise(self, sample_NM: Tensor, *, mean: float = 0.0, deviation: float | None = None) -> None:
        """Every member by itself on the same sample, before they are put together (Christiano et al. 2017)."""
        places = [(model, head) for model in self.models for head in range(len(model.bias_H))]
        for column, (model, head) in enumerate(places):
            model.normalise(sample_NM[:, column], mean=mean, deviation=deviation, head=head)

    def save(self, folder: Path, codec: Codec) -> None:
        names = [f"member-{number}" for number in range(len(self.models))]
        for name, model in zip(names, self.models, strict=True):
            model.save(folder / name, codec)
        codec.tokenizer.save_pretrained(folder)
        heads = [len(model.bias_H) for model in self.models]
        (folder / INDEX).write_text(json.dumps({"members": names, "heads": heads}, indent=2) + "\n", encoding="utf-8")


def is_ensemble(name: str) -> bool:
    return (Path(name).expanduser() / INDEX).is_file()


def load_ensemble(
    name: str, device: torch.device | str = "cpu", numerics: Numerics = Numerics(), trust: Trust = NOTHING
) -> Ensemble:
    """The ensemble of a folder; InputError where its index is damaged or a member is missing."""
    folder = Path(name).expanduser()
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        members = [(_inside(each), int(heads)) for each, heads in zip(index["members"], index["heads"], strict=True)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / INDEX} is no index of an ensemble ({type(error).__name__}: {error}). It names members and, for "
            "each, how many heads it has: docs/schema.md."
        ) from error
    if not members:
        raise InputError(f"{folder / INDEX} names no member. Give an ensemble of at least one.")
    classifiers = [load_sequence_classifier(str(folder / each), device, heads, trust) for each, heads in members]
    return Ensemble([Heads(each, numerics) for each in classifiers])


def _inside(name: str) -> str:
    """The name of a folder within; an index does not lead elsewhere."""
    if Path(name).name != name:
        raise ValueError(f"{name!r:.60} is no name of a folder in it")
    return name


@dataclass(frozen=True)
class CombinedScore:
    """What several heads or members (episodes -> [B, M]) say together, as a Score; they share the policy's tokens."""

    model: Callable[[Batch], Tensor]
    combine: Combine
    episodes_at_once: int = 256

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        parts = torch.arange(len(batch)).split(self.episodes_at_once)
        scores_BM = torch.cat([self.model(batch.select(part)) for part in parts])
        return batch.at_last_action(self.combine(scores_BM.t()))
