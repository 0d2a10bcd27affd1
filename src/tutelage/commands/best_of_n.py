"""`tutelage best-of-n`: n replies to each prompt, of which the reward likes one best."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
import tyro

from tutelage.algorithms.best_of_n import best_of_n, chosen
from tutelage.data import sources
from tutelage.environments.language import refuse_crowded
from tutelage.execution.native import SamplingSettings
from tutelage.formulas import intervals
from tutelage.formulas.best_of_n import kl_nats
from tutelage.models.pretrained import (
    Trust,
    context_tokens,
    device_of,
)
from tutelage.policies.language import LanguagePolicy
from tutelage.policies.loading import load_policy
from tutelage.rewards.scoring import Judging, refuse_unusable, scorer
from tutelage.runs.run import Run
from tutelage.training.engine import Engine, engine_of
from tutelage.training.speaker import Speaker
from tutelage.trajectory import Score

FLAT = tyro.conf.arg(name="")  # the settings' flags carry no prefix


@dataclass(frozen=True)
class BestOfNJob:
    """Sample n replies to each prompt and keep the one that the reward likes best."""

    model: str
    data: str
    """File, folder or hub id of prompts."""
    reward: str
    """Folder of a reward model or an ensemble, or module:function."""
    n: int = 4
    max_new_tokens: int = 64
    temperature: float = 1.0
    limit: int | None = None
    """Use only the first prompts."""
    seed: int = 0
    device: str = "auto"
    judging: Annotated[Judging, FLAT] = field(default_factory=Judging)
    trust: Annotated[Trust, FLAT] = field(default_factory=Trust)


def best_of_n_job(job: BestOfNJob, run: Run) -> dict[str, Any]:
    refuse_unusable(job.reward, job.judging)
    device = device_of(job.device)
    speaker, prompts, score = asked(job, device, engine_of(run))
    batch, scores_PN = best_of_n(
        speaker.sampler(job.seed), speaker.environment(prompts), score, range(len(prompts)), job.n
    )
    best = chosen(batch, scores_PN, job.n)
    replies = speaker.codec.prompts_and_responses(best)[1]
    top = scores_PN.max(dim=1).values.tolist()
    rows = zip(prompts, replies, top, strict=True)
    run.keep_samples(0, [{"prompt": p, "completion": r, "score": s} for p, r, s in rows])
    of_n = intervals.mean_interval(top).row("score")
    of_one = intervals.mean_interval(scores_PN[:, 0].tolist()).row("score_mean_of_one")
    return {
        "n": job.n,
        "prompts": len(prompts),
        "score_mean": of_n.pop("score"),
        **of_n,
        **of_one,
        "kl_nats_at_most": kl_nats(job.n),
    }


def asked(job: BestOfNJob, device: torch.device, engine: Engine) -> tuple[Speaker, list[str], Score]:
    """A policy that is only sampled, the prompts it is asked, and who scores the replies."""
    policy, codec = load_policy(job.model, device, trust=job.trust)
    sampling = SamplingSettings(job.max_new_tokens)
    speaker = Speaker(LanguagePolicy(policy, job.temperature), codec, sampling, engine=engine)
    prompts = sources.prompts(job.data, codec)[0][: job.limit]
    refuse_crowded([codec.prompt(prompt) for prompt in prompts], job.max_new_tokens, context_tokens(policy))
    return speaker, prompts, scorer(job.reward, codec, device, job.judging, job.trust)[0]
