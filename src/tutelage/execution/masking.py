"""What may be drawn as an earlier policy sees it: its likeliest tokens, as NLPO masks actions (Ramamurthy et al. 2022).

The mask asks its own copy of the policy, with its own key-value cache, for the logits of the very episodes that a
sampler is drawing. So a new copy of the weights is in the next draw; there is no second place that could stay behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tutelage.execution.decoding import Decoder, decoder_of
from tutelage.formulas import sampling
from tutelage.policies.language import LanguagePolicy, frozen_copy


@dataclass
class Shadow:
    """An episode as the mask's decoder reads it. tokens: the sampler's own list, which grows as it draws
    read: how many of them this decoder has seen"""

    row: Any
    tokens: list[int]
    read: int = 0


class LaggedMask:
    """A `policies.language.Masking`: the fewest tokens that hold probability top_p under the policy as it was at the
    last `renew`, at least the `fewest` likeliest, and `always` those given.

    With top_p 1 there is no mask.
    """

    def __init__(self, policy: LanguagePolicy, top_p: float, fewest: int, always: Sequence[int]) -> None:
        self.policy, self.top_p, self.fewest, self.always = frozen_copy(policy), top_p, fewest, list(always)
        pairs = zip(self.policy.parameters(), policy.parameters(), strict=True)
        self.parameters = [mine for mine, theirs in pairs if theirs.requires_grad]  # the others never change
        self.decoder: Decoder | None = None
        self.running: list[Shadow] = []

    @torch.no_grad()
    def __call__(self, rows: Sequence[Any]) -> Tensor | None:
        """[rows, V] bool. rows: running episodes with their `tokens`, in any order; those not given are forgotten."""
        if self.top_p >= 1.0:
            return None
        decoder = self._follow(rows)
        logits_BV = decoder.step(self.running).float() / self.policy.temperature
        places = {id(shadow.row): place for place, shadow in enumerate(self.running)}
        logits_BV = logits_BV[[places[id(row)] for row in rows]]
        mask_BV = sampling.support(logits_BV, top_p=self.top_p) | sampling.support(logits_BV, top_k=self.fewest)
        mask_BV[:, self.always] = True
        return mask_BV

    def _follow(self, rows: Sequence[Any]) -> Decoder:
        """The decoder, whose slots hold these episodes; `self.running` says which slot holds which."""
        self.decoder = self.decoder or decoder_of(self.policy)
        wanted = {id(row) for row in rows}
        kept = [place for place, shadow in enumerate(self.running) if id(shadow.row) in wanted]
        if not kept:
            self.decoder.begin()
            self.running = []
        elif len(kept) < len(self.running):
            self.decoder.keep(kept)
            self.running = [self.running[place] for place in kept]
        known = {id(shadow.row) for shadow in self.running}
        new = [Shadow(row, row.tokens) for row in rows if id(row) not in known]
        if new:
            self.decoder.add(new)
            self.running += new
        return self.decoder

    @torch.no_grad()
    def renew(self, policy: LanguagePolicy) -> None:
        """From now on the mask is that of these weights."""
        learning = [each for each in policy.parameters() if each.requires_grad]
        for mine, theirs in zip(self.parameters, learning, strict=True):
            mine.copy_(theirs)
        self.running = []  # the cache holds what the old weights read

    def state(self) -> dict[str, Any]:
        return {"parameters": [each.clone() for each in self.parameters]}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        for mine, theirs in zip(self.parameters, state["parameters"], strict=True):
            mine.copy_(theirs)
        self.running = []
