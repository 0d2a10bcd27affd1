"""Rules in words: one classifier of P(rule broken | dialogue, rule text) for all of them (Glaese et al. 2022, Sparrow).

It reads the dialogue, the reply and then the rule as one text, and its score is the log-odds that the rule is broken;
so a rule that it never saw can be asked about, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tutelage.data.errors import InputError
from tutelage.data.files import TEXT, read_rows
from tutelage.data.talks import about_rule
from tutelage.data.tokens import Codec, written
from tutelage.data.truncate import fit
from tutelage.trajectory import Batch


@dataclass(frozen=True)
class RuleScore:
    """How well replies keep the rules, as a Score in 0 to 1.

    model: the rule classifier, episodes -> [B] log-odds of broken
    combine: [R, B] P(kept) -> [B]; the mean over rules is what Sparrow adds to its preference reward (1/n Σ R_rule,
        as recalled: its text was not at hand), the minimum is 1 − the largest P(broken)
    limit: the longest text that the classifier reads, in tokens; the oldest turns go first, the rule stays

    Legend: R rules, B replies.
    """

    model: Callable[[Batch], Tensor]
    codec: Codec
    rules: tuple[str, ...]
    combine: Callable[[Tensor], Tensor]
    limit: int | None = None
    episodes_at_once: int = 256

    def __call__(self, batch: Batch) -> Tensor:
        prompts, responses = self.codec.prompts_and_responses(batch)
        odds_RB = self.log_odds(prompts, responses, batch.mask_BT.device)
        return batch.at_last_action(self.combine(torch.sigmoid(-odds_RB)))

    @torch.no_grad()
    def log_odds(self, prompts: list[str], responses: list[str], device: torch.device | str = "cpu") -> Tensor:
        """[R, B] log-odds that each rule is broken by each reply."""
        said = [prompt + response for prompt, response in zip(prompts, responses, strict=True)]
        read = [fit(self.codec, text, about_rule(rule), self.limit) for rule in self.rules for text in said]
        rows = Batch.of([written(text, rule) for text, rule, _ in read]).to(device)
        parts = torch.arange(len(rows)).split(self.episodes_at_once)
        return torch.cat([self.model(rows.select(part)) for part in parts]).view(len(self.rules), len(said))


def read_rules(source: str) -> tuple[str, ...]:
    """Rules from a text file, one a line, or from the column `rule` of any other file; each once."""
    rows = list(read_rows(source))
    for row in rows:
        if not isinstance(row.fields.get("rule", row.fields.get(TEXT)), str):
            raise InputError(f"{row.place}: expected a rule: a line of text, or a column named rule with text.")
    return tuple(dict.fromkeys(row.fields.get("rule", row.fields.get(TEXT)).strip() for row in rows))
