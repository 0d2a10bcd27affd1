"""Reports as lines of text for the terminal: every number with its interval and its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def lines(row: Mapping[str, Any]) -> list[str]:
    """One model on one data set, as `evaluation.reward_models.report` found it."""
    told = [f"{row['model']} on {row['data']}{_left_out(row)}"]
    if "accuracy" in row:
        told += _accuracy(row["accuracy"])
    if "best_of" in row:
        told.append(
            f"  best of K            {_with_baselines(row['best_of'])}, {row['best_of']['questions']} questions"
        )
    if "calibration" in row:
        told += _calibration(row["calibration"])
    if "people" in row:
        told += _people(row["people"])
    for axis, found in row.get("ratings", {}).items():
        told += _rating(axis, found)
    if "by" in row:
        told += _subsets(row["by"])
    return told


def lines_of_judges(rows: Sequence[Mapping[str, Any]], agreed: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each judge says of two policies, and how far the judges agree."""
    told = []
    for row in rows:
        told.append(f"{row['judge']}: win rate {between(row, 'win_rate')}, {row['pairs']} pairs, {row['ties']} ties")
        if "length_controlled" in row:
            told.append(f"  as if equally long   {between(row, 'length_controlled')}")
        else:
            told.append(f"  length not controlled: {row['not_length_controlled']}")
        if "swapped_win_rate" in row:
            first = f"the first place is worth {between(row, 'first_advantage')}"
            told.append(
                f"  over both orders     {between(row, 'swapped_win_rate')}, {row['swapped_pairs']} pairs; {first}"
            )
        elif "swapped_pairs" in row:
            told.append(f"  judged in both orders: {row['swapped_pairs']} pairs, too few to take the place out")
        if "human_ceiling" in row:
            told.append(f"  people among themselves: ceiling {between(row, 'human_ceiling')}")
    for row in agreed:
        kappa = "unknown" if row["kappa"] is None else f"{row['kappa']:.3f}"
        names = " and ".join(row["judges"])
        told.append(f"{names} agree on {between(row, 'agreement')} of {row['pairs']} pairs, kappa {kappa}")
    return told


def lines_of_curve(found: Mapping[str, Any]) -> list[str]:
    """Accuracy by label count, and what the next labels would bring."""
    told = [
        f"{row['labels']:8d} labels  accuracy {between(row, 'accuracy')}{'' if row['fitted'] else '  (not fitted)'}"
        for row in found["means"]
    ]
    if "not_fitted" in found:
        return [*told, f"no curve: {found['not_fitted']}"]
    return [*told, f"the next {found['more']} labels: {between(found, 'expected_gain', 4)} of accuracy"]


def between(found: Mapping[str, Any], name: str, digits: int = 3) -> str:
    """value [low, high]; a side that is not known is left open."""
    value, low, high = (found.get(f"{name}{end}") for end in ("", "_low", "_high"))
    shown = ["…" if each is None else f"{each:.{digits}f}" for each in (value, low, high)]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def _left_out(row: Mapping[str, Any]) -> str:
    if not row.get("learned_from_known", True):
        return " (what the model learned from is not known: it may have seen these prompts)"
    return f" ({row['rows_learned_from']} rows left out: learned from)" if row.get("rows_learned_from") else ""


def _accuracy(found: Mapping[str, Any]) -> list[str]:
    counts = f"{found['pairs']} pairs of {found['prompts']} prompts, {found['ties']} of them ties"
    if "accuracy" not in found:
        return [f"  no accuracy          {counts}"]
    below = "; BELOW CHANCE" if found["below_chance"] else ""
    told = [f"  accuracy             {_with_baselines(found)}; {counts}{below}"]
    return [*told, f"  beyond length        {between(found, 'accuracy_beyond_length')}"]


def _with_baselines(found: Mapping[str, Any]) -> str:
    length = between(found, "length_rule_accuracy")
    return f"{between(found, 'accuracy')}; longest reply {length}; chance {found['random_accuracy']:.3f}"


def _calibration(found: Mapping[str, Any]) -> list[str]:
    repaired = found.get("calibration_error_repaired")
    by_chance = f"(by chance alone {found['calibration_error_by_chance']:.3f})"
    told = f"  calibration error    {found['calibration_error']:.3f} {by_chance}"
    if repaired is not None:
        told += f"; repaired, on other prompts {repaired:.3f}"
    if "temperature" not in found:
        return [told]
    if found["temperature"] is None:
        return [told, "  temperature          none is finite: the differences say nothing, or the opposite"]
    return [told, f"  temperature          {between(found, 'temperature', 2)}"]


def _people(found: Mapping[str, Any]) -> list[str]:
    agreement = f"agreement {found['agreement']:.3f}, alpha {between(found, 'alpha')}"
    return [
        f"  people               {found['people']} people, {found['pairs']} pairs: {agreement}",
        f"  one of them          {between(found, 'human_ceiling')} with the majority of the others",
        f"  the model            {between(found, 'model_with_people')} with the same majorities",
        *([f"  all agree            {between(found, 'accuracy_unanimous')}"] if found["unanimous"] else []),
    ]


def _rating(axis: str, found: Mapping[str, Any]) -> list[str]:
    name = "area_under_curve" if "area_under_curve" in found else "rank_correlation"
    baselines = f"length {between(found, f'length_{name}')}; chance {found[f'random_{name}']:.1f}"
    told = [f"  {axis}: {name.replace('_', ' ')} {between(found, name)}; {baselines}; {found['ratings']} ratings"]
    if "within_prompts" in found:
        told.append(f"  {axis} within prompts: accuracy {between(found['within_prompts'], 'accuracy')}")
    return told


def _subsets(found: Mapping[str, Any]) -> list[str]:
    width = max(len(row["subset"]) for row in found["subsets"])
    told = [
        f"    {row['subset']:{width}s}  {between(row, 'accuracy') if 'accuracy' in row else 'no preference':22s} "
        f"{row['pairs']} pairs"
        for row in found["subsets"]
    ]
    means = f"weighted {between(found['weighted'], 'accuracy')}, unweighted {between(found['unweighted'], 'accuracy')}"
    return [f"  by {found['column']}: {means}", *told]
