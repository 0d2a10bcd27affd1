"""`tutelage doctor RUN --deployed FILE`: what the doctor cannot compute, which knows no policy.

From a run folder come its policy, its reference and its reward model; the policy answers the run's own prompts once
more, and both those replies and the ones that came back from the world are read by all three.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tutelage.data.errors import InputError
from tutelage.doctor import command
from tutelage.doctor.chart import Chart, chart_of
from tutelage.doctor.deployed import FEWEST, Deployment, Spoken, read_spoken

if TYPE_CHECKING:  # they bring torch, for which whoever reads a folder should not wait
    from tutelage.data.tokens import Codec
    from tutelage.training.speaker import Speaker

MOST = 512  # samples of either side: enough for a difference that matters
SEED = 0xD217


def main(arguments: list[str]) -> int:
    return command.main(arguments, quietly)


def quietly(path: Path, file: Path) -> Deployment:
    """What was read and dropped is said beside the findings, not among them: those may be JSON."""
    with redirect_stdout(sys.stderr):
        return deployment(path, file)


def deployment(path: Path, file: Path) -> Deployment:
    """InputError where the run has no policy, too few prompts, or the file too few samples."""
    run = chart_of(path)
    rows, _ = read_spoken(str(file))
    folders = models_of(path, run)
    from tutelage.models.pretrained import hush  # what follows loads torch

    hush()
    voices = Voices.of(folders, run)
    rng = np.random.default_rng(SEED)
    kept = [rows[place] for place in rng.permutation(len(rows))[:MOST]]
    asked = known_prompts(run, voices.codec, folders)
    if len(asked) < FEWEST:
        raise InputError(f"{path} holds {len(asked)} of its own prompts; {FEWEST} are the least to compare with.")
    prompts = [asked[place] for place in rng.permutation(len(asked))[: max(FEWEST, len(kept))]]
    replies = voices.speaker.replies(prompts, SEED)[1]
    home = list(zip(prompts, replies, strict=True))
    return Deployment(voices.read(home), voices.read(begun_alike(kept, replies)))


def models_of(path: Path, run: Chart) -> dict[str, str]:
    """Where policy, reference and reward model are: of a run of PPO, or of a pipeline of stages."""
    job = run.stages[0].job
    named = {"policy": ("model", "ppo/model"), "reference": ("sft/model",), "reward": ("reward-model/model",)}
    found = {
        name: str(path / place)
        for name, places in named.items()
        for place in places
        if (path / place / "config.json").exists() or (path / place / "adapter_config.json").exists()
    }
    settings = {"reference": job.get("model"), "reward": job.get("reward"), "prompts": job.get("data")}
    found |= {name: value for name, value in settings.items() if isinstance(value, str) and name not in found}
    if "policy" not in found:
        raise InputError(f"{path} has no model: --deployed needs the policy of a finished run (RUN/model).")
    return found


@dataclass(frozen=True)
class Voices:
    """speaker: the run's policy; others: name -> (prompts and replies -> a number each)."""

    speaker: Speaker
    others: Mapping[str, Callable[[list[tuple[str, str]]], np.ndarray]]

    @property
    def codec(self) -> Codec:
        return self.speaker.codec

    @staticmethod
    def of(folders: Mapping[str, str], run: Chart) -> Voices:
        import torch

        from tutelage.execution.native import SamplingSettings
        from tutelage.policies.language import LanguagePolicy
        from tutelage.policies.loading import load_policy
        from tutelage.rewards.text_scores import TextScorer
        from tutelage.training.speaker import Speaker

        job, device = run.stages[0].job, torch.device("cpu")
        temperature = float(job.get("temperature") or 1.0)
        tokens = job.get("max_new_tokens")
        sampling = SamplingSettings(tokens if isinstance(tokens, int) else 64)
        model, codec = load_policy(folders["policy"], device)
        speaker = Speaker(LanguagePolicy(model, temperature), codec, sampling)
        others = {"policy_excess": excess_of(speaker)}
        if "reference" in folders:
            reference = LanguagePolicy(load_policy(folders["reference"], device)[0], temperature)
            others["reference_excess"] = excess_of(Speaker(reference, codec, sampling))
        if Path(folders.get("reward", "")).is_dir():
            scorer = TextScorer.load(folders["reward"], device, 512)
            others["score"] = lambda rows: scorer(rows)[0]
        return Voices(speaker, others)

    def read(self, rows: list[tuple[str, str]]) -> Spoken:
        prompts, replies = zip(*rows, strict=True)
        return Spoken(prompts, replies, {name: number(rows) for name, number in self.others.items()})


def excess_of(speaker: Speaker) -> Callable[[list[tuple[str, str]]], np.ndarray]:
    """Σ_t (−log π(a_t|s_t) − H(π(·|s_t))) / T of every reply, nats an action."""
    import torch

    from tutelage.data.tokens import written
    from tutelage.data.truncate import fit
    from tutelage.trajectory import Batch, in_parts

    policy, codec = speaker.policy, speaker.codec

    @torch.no_grad()
    def excess(rows: list[tuple[str, str]]) -> np.ndarray:
        batch = Batch.of([written(*fit(codec, *row, 512)[:2]) for row in rows])

        def both(part: Batch) -> tuple[torch.Tensor, ...]:
            log_probs_BT, entropy_BT = policy.evaluate(policy.states(part), part)
            return (-log_probs_BT - entropy_BT,)

        (excess_BT,) = in_parts(both, batch, 2048)
        sums_B = excess_BT.masked_fill(~batch.mask_BT, 0.0).sum(dim=1)
        return (sums_B / batch.mask_BT.sum(dim=1)).double().numpy()

    return excess


def known_prompts(run: Chart, codec: Codec, folders: Mapping[str, str]) -> list[str]:
    """The run's own prompts: of its samples, of the pairs that were judged, of its data where they still are there."""
    from tutelage.data import sources

    found = [text for stage in run.stages for _, text in stage.texts("prompt")]
    found += [row.prompt for row in run.judgements]
    if Path(folders.get("prompts", "")).is_file():
        found += sources.prompts(folders["prompts"], codec)[0]
    return list(dict.fromkeys(found))


def begun_alike(rows: Sequence[tuple[str, str]], replies: Sequence[str]) -> list[tuple[str, str]]:
    """The replies with the blank in front that the policy writes and a log may have stripped: it makes other tokens."""
    blanks = [reply[: len(reply) - len(reply.lstrip())] for reply in replies]
    usual = max(set(blanks), key=blanks.count)
    return [(prompt, reply if not usual or reply[:1].isspace() else usual + reply) for prompt, reply in rows]
