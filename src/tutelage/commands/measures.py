"""How well a reward model says what people said of the questions that were held out, beside what length alone says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tutelage.algorithms.reward_losses import pairs
from tutelage.commands.labels import Asked, Reading
from tutelage.data.errors import InputError
from tutelage.data.judgements import Judgements
from tutelage.formulas import intervals, rating, uncertainty


def measured(
    how: Reading, scores_NKM: Tensor, held_out: Judgements, rows: Sequence[Asked], members: bool
) -> dict[str, Any]:
    """For the summary: of the first source, then of the second as `also_…`, then how far members disagree.

    scores_NKM: of M members (their mean counts), or of heads, of which the first counts
    """
    scores_NK = scores_NKM.mean(dim=-1) if members else scores_NKM[..., 0]
    places = {also: [place for place, each in enumerate(rows) if each.also is also] for also in (False, True)}
    if not places[False]:
        raise InputError("no question of --data is held out. Give more of them, or a larger --held-out-fraction.")
    found = _of(how, scores_NK, held_out, rows, places[False])
    if places[True]:
        beside = _of(how, scores_NK, held_out, rows, places[True])
        found |= {f"also_{name}": value for name, value in beside.items()}
    if members:
        spread = uncertainty.variance(scores_NKM[held_out.present_NK].t()).sqrt()
        found["disagreement"] = float(spread.mean())
    return found


def _of(
    how: Reading, scores_NK: Tensor, held_out: Judgements, rows: Sequence[Asked], places: Sequence[int]
) -> dict[str, Any]:
    part = held_out.select(places)
    scores_NK = scores_NK[torch.tensor(places), : part.places_NK.shape[1]]
    characters = [float(len(text)) for place in places for text in rows[place].question.responses]
    lengths_NK = part.spread(torch.tensor(characters, device=scores_NK.device))
    found: dict[str, Any] = {}
    if how.right is not None:
        prompts = [rows[place].question.prompt for place in places]
        found = intervals.share(how.right(scores_NK, part).double().cpu().numpy(), prompts).row("accuracy")
        if not how.rated:
            found["held_out_loss"] = float(pairs(scores_NK, part).mean())
    found["held_out"] = len(part)
    if how.right is not None and not how.rated:
        return {**found, "length_rule_accuracy": float(how.right(lengths_NK, part).mean())}
    ratings_NK = part.ratings_NKA[..., 0]
    rated = ~ratings_NK.isnan()
    for name, values_NK in (("concordance", scores_NK), ("length_rule_concordance", lengths_NK)):
        found[name] = rating.concordance(values_NK[rated], ratings_NK[rated])
    return found


def in_words(summary: Mapping[str, Any]) -> str:
    """One line: what was reached on what is held out, beside the rule that prefers the longer reply."""
    said = []
    if "accuracy" in summary:
        interval = f"[{summary['accuracy_low']:.3f}, {summary['accuracy_high']:.3f}]"
        interval += "" if summary["accuracy_n"] >= intervals.FEWEST else " (too few to tell)"
        said.append(f"held-out accuracy {summary['accuracy']:.3f} {interval} on {summary['held_out']} comparisons")
    if summary.get("concordance") is not None:
        said.append(f"pairs of held-out ratings in the right order: {summary['concordance']:.3f}")
    rule = summary.get("length_rule_accuracy", summary.get("length_rule_concordance"))
    return "; ".join([*said, *([f"preferring the longer reply: {rule:.3f}"] if rule is not None else [])])
