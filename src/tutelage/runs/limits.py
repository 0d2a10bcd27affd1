"""Numbers among the settings that cannot work in any verb are refused before anything is loaded or written."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, cast

from tutelage.data.errors import InputError
from tutelage.runs.settings import flat_groups

COUNTS = {  # 1 is the least; 0 where it is the default and means something else
    *("steps", "trajectories", "minibatches", "epochs", "batch_size", "tokens_at_once", "max_new_tokens", "new_tokens"),
    *("max_tokens", "opening_tokens", "n", "limit", "best_of", "best_of_prompts", "candidates", "candidates_per_label"),
    *("members", "seeds", "rounds", "labels", "labels_per_round", "labels_at_once", "open_questions", "human_labels"),
    *("demonstrations", "evaluation_prompts", "evaluation_episodes", "ppo_prompts", "frontier_prompts", "pool"),
    *("frontier_samples", "normalise_samples", "normalise_new_tokens", "width", "widths", "layers", "games"),
    *("attempts", "most_placements", "most_steps", "sarsa_games", "sarsa_tuning_seeds", "ppo_steps", "updates"),
    *("reward_model_updates", "evaluate_every", "patience", "samples", "max_completion_length"),
    *("min_tokens_to_keep", "mask_every", "ptx_batch_size"),
}
NOT_NEGATIVE = {
    *(
        "seed",
        "warm_up",
        "lora_rank",
        "top_k",
        "learning_rate",
        "value_learning_rate",
        "kl_coefficient",
        "value_weight",
    ),
    *("stop_at_peak", "uncertainty_coefficient", "best_quarter_steps", "further_seeds", "stale_versions", "wait_s"),
    *("answer_seconds", "margin_scale", "l2", "first_updates", "checkpoint_seconds", "beta", "ptx_coefficient"),
}
ABOVE_ZERO = {
    *("temperature", "clip_range", "value_clip_range", "kl_target_nats", "kl_horizon", "max_grad_norm", "top_p"),
    *("parity_tolerance_nats", "epsilon", "epsilon_high", "mask_top_p"),
}
SHARES = {
    "gamma",
    "gae_lambda",
    "error_fraction",
    "uniform_fraction",
    "against_first",
    "half_rate_fraction",
    "top_p",
    "alpha",
    "frozen_layers",
    "mask_top_p",
}


def refuse_impossible_numbers(job: Any) -> None:
    """InputError that names the first flag whose number is not finite or outside of what it can be."""
    for flag, name, value, default in numbers_of(job):
        fault = _fault(name, value, default)
        if fault:
            raise InputError(f"{flag} is {value}: expected {fault}.")


def _fault(name: str, value: float, default: object) -> str:
    """What was expected, or nothing where the number can be."""
    if not math.isfinite(value):
        return "a finite number"
    fractional = isinstance(value, float)
    rules = (
        (name in COUNTS and not fractional and value < 1 and default != value, "1 or more"),
        (name in COUNTS and fractional and value <= 0, "a number above 0"),
        (name in NOT_NEGATIVE and value < 0, "0 or more"),
        (name in ABOVE_ZERO and value <= 0, "a number above 0"),
        (name in SHARES and not 0 <= value <= 1, "a share, from 0 to 1"),
    )
    return next((expected for broken, expected in rules if broken), "")


def numbers_of(job: Any, prefix: str = "--") -> Iterator[tuple[str, str, float, object]]:
    """(flag, name, value, default) of every number among the settings, those in tuples and in groups too."""
    flat = set(flat_groups(job).values())
    for each in dataclasses.fields(job):
        value = getattr(job, each.name)
        flag = f"{prefix}{each.name.replace('_', '-')}"
        if dataclasses.is_dataclass(value):
            yield from numbers_of(value, prefix if each.name in flat else f"{flag}.")
        for one in cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,):
            if isinstance(one, (int, float)) and not isinstance(one, bool):
                yield flag, each.name, one, each.default
