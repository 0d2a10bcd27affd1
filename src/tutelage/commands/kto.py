"""`tutelage kto`: a policy learns from single replies that are good or bad; how well its reward tells them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any

from tutelage.algorithms.implicit_reward import log_ratios, measure, with_reference
from tutelage.algorithms.kto import KTO, KTOConfig, refuse_unusable
from tutelage.commands.preference_data import FLAT, PreferenceJob, load_material
from tutelage.data.errors import InputError
from tutelage.data.questions import Question
from tutelage.data.unpaired import AXIS, split_into_replies
from tutelage.evaluation.rated import ratings
from tutelage.runs.run import Run
from tutelage.training.engine import engine_of
from tutelage.training.models import language_models
from tutelage.training.train import train

MOST_UNEVEN = 4 / 3  # of λ_D · good to λ_U · bad replies, or the other way round (Ethayarajh et al. 2024, §4.2)


@dataclass(frozen=True)
class KTOJob(PreferenceJob):
    """Optimize a policy on single replies that are good or bad (KTO); pairs are taken apart."""

    axis: str | None = None
    """Which ratings (0 bad to 1 good) say what is good. None: what was compared is taken apart; where nothing was, the
    one axis there is."""
    settings: Annotated[KTOConfig, FLAT] = field(default_factory=KTOConfig)


def kto_job(job: KTOJob, run: Run) -> dict[str, Any]:
    config = job.settings
    material = load_material(job, partial(good_or_bad, job.axis), (AXIS,), config.held_out_fraction, config.seed, run)
    policy, held_out = material.speaker.policy, material.held_out
    refuse_unusable(config, material.learned)
    good = int(material.learned.ratings_NKA.sum())
    say_uneven(config, good, len(material.learned) - good)
    kept = with_reference(policy, held_out.candidates, config.tokens_at_once, run, "reference-of-held-out")
    held_out = replace(held_out, candidates=kept)
    train(KTO, config, material.learned, language_models(material.speaker), engine_of(run), run)
    found = measure(lambda part: {"ratio": log_ratios(policy, part.candidates)[1]}, held_out, config.tokens_at_once)
    rewards_N = config.beta * found["ratio"].numpy()
    told = ratings(material.held_rows, list(rewards_N[:, None])).get(AXIS, {})
    measured = {"area_under_curve": None} | {name: each for name, each in told.items() if "area_under_curve" in name}
    return {
        **material.counts,
        "good": good,
        "bad": len(material.learned) - good,
        **measured,
        "loss": run.latest["loss"],
    }


def good_or_bad(axis: str | None, questions: Sequence[Question]) -> tuple[list[Question], Counter[str]]:
    """Single replies with their verdict; InputError where ratings cannot be read as good and bad."""
    axes = sorted({each for question in questions for each in question.ratings})
    compared = any(each.pairs for each in questions)
    if axis is None and not compared and len(axes) > 1:
        raise InputError(f"the data has ratings on {', '.join(axes)}. Say with --axis which of them to learn from.")
    if axis is not None and axis not in axes:
        raise InputError(f"--axis {axis}: the data has no such ratings. It has: {', '.join(axes) or 'none at all'}.")
    read = axis or ("" if compared else axes[0])
    beyond = [v for each in questions for v in each.ratings.get(read, ()) if v is not None and not 0 <= v <= 1]
    if beyond:
        raise InputError(
            f"kto takes ratings from 0 (bad) to 1 (good), and {read} has {beyond[0]:g}. Give its scale (--columns "
            "ratings.…)."
        )
    parts = [split_into_replies(each, read) for each in questions]
    left_out = Counter({"with no reply that is clearly good or bad": sum(not part for part in parts)})
    return [reply for part in parts for reply in part], +left_out


def say_uneven(config: KTOConfig, good: int, bad: int) -> None:
    """Prints weights that would balance the two kinds, where they are far from it."""
    ratio = config.good_weight * good / max(1e-9, config.bad_weight * bad)
    if not 1 / MOST_UNEVEN <= ratio <= MOST_UNEVEN:
        flag, weight = ("--bad-weight", good / bad) if good > bad else ("--good-weight", bad / good)
        print(f"{good} good and {bad} bad replies: {flag} {weight:.3g} would weigh both kinds alike.")
