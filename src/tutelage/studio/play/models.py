"""The models of run folders, loaded when they are asked: replies of a policy, scores of a reward model."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.data.errors import InputError
from tutelage.data.talks import template_of as template_of
from tutelage.report.sanitise import plain
from tutelage.studio.look.lineage import kind_of
from tutelage.studio.look.runs import Folder
from tutelage.studio.look.samples import PROMPTS, SampleShelf

LOADED = 4  # models held in memory; the one that was asked longest ago goes
READ = 512  # tokens of prompt and reply that a reward model reads
PROMPTS_SHOWN = 12


@dataclass(frozen=True)
class Drawing:
    """How a policy replies. template: how a message becomes a prompt where the model has no chat template."""

    temperature: float
    top_p: float
    max_new_tokens: int
    seed: int
    template: str = ""

    @property
    def row(self) -> dict[str, Any]:
        """As it is kept beside an answer."""
        return {"temperature": self.temperature, "top_p": self.top_p, "max_new_tokens": self.max_new_tokens}


Said = Sequence[Mapping[str, str]]
"""A talk so far: role (user, assistant) and content of each turn."""


def models_of(folder: Folder) -> list[dict[str, str]]:
    """The models of a run: id, kind, title; PPO's policy first."""
    found: list[dict[str, str]] = []
    for stage in folder.stages:
        kind = kind_of(stage.path, stage.files)
        if kind in ("policy", "reward model"):
            title = f"{folder.id} / {stage.name}" if stage.name else folder.id
            found.append({"id": name_of(folder, stage.name), "kind": kind, "title": plain(title, 160)})
    return sorted(found, key=lambda each: each["id"].endswith("//ppo"), reverse=True)


def name_of(folder: Folder, stage: str) -> str:
    return f"{folder.id}//{stage}"


def asked_in(shelf: SampleShelf, folder: Folder) -> list[str]:
    """Some prompts that the run was asked, each once."""
    prompts: dict[str, None] = {}
    for stage in folder.stages:
        if "samples.jsonl" not in stage.files or len(prompts) >= PROMPTS_SHOWN:
            continue
        samples = shelf.samples(stage.path / "samples.jsonl")
        with samples.lock:
            samples.refresh()
            probe = not samples.places
            some = list(samples.kind(probe))[:PROMPTS_SHOWN]
            rows = [row for step in some for row in samples.rows(step, 0, PROMPTS_SHOWN, probe)]
        prompts |= {row[name]: None for row in rows for name in PROMPTS if isinstance(row.get(name), str)}
    return list(prompts)[:PROMPTS_SHOWN]


class Bench:
    """Models in memory. Everything that computes waits for `lock`: two at once would only slow each other down."""

    def __init__(self, device: str) -> None:
        self.device, self.lock = device, threading.Lock()
        self._loaded: OrderedDict[tuple[str, int], Any] = OrderedDict()

    def replies(self, path: Path, said: Said, drawing: Drawing, count: int) -> tuple[str, list[str]]:
        """(the prompt as the model read it, so many replies of a policy to a talk).

        InputError where the model cannot be loaded or the talk is too long.
        """
        from tutelage.environments.language import Language, refuse_crowded
        from tutelage.execution.native import NativeSampler, SamplingSettings
        from tutelage.models.pretrained import context_tokens
        from tutelage.policies.language import LanguagePolicy, stop_tokens
        from tutelage.studio.chat_prompts import as_prompt
        from tutelage.trajectory import Key

        with self.lock:
            model, codec = self._kept(path, self._policy)
            prompt = as_prompt(codec, drawing.template, [dict(each) for each in said])
            tokens = codec.prompt(prompt)
            refuse_crowded([tokens], drawing.max_new_tokens, context_tokens(model))
            settings = SamplingSettings(drawing.max_new_tokens, top_p=drawing.top_p)
            policy = LanguagePolicy(model, drawing.temperature)
            sampler = NativeSampler(policy, stop_tokens(model, codec), drawing.seed, settings)
            batch = sampler.sample(Language([tokens]), [Key(len(said), 0, sample) for sample in range(count)])
            return prompt, codec.prompts_and_responses(batch)[1]

    def scores(self, path: Path, message: str, template: str, replies: Sequence[str]) -> list[float]:
        """What a reward model says of replies to a message."""
        from tutelage.studio.chat_prompts import as_prompt

        with self.lock:
            scorer = self._kept(path, self._scorer)
            prompt = as_prompt(scorer.codec, template, [{"role": "user", "content": message}])
            return [float(score) for score in scorer([(prompt, reply) for reply in replies])[0]]

    def _kept(self, path: Path, load: Callable[[Path], Any]) -> Any:
        """Loaded once for each state of its folder: a model that was trained again is loaded again."""
        try:
            key = (str(path), path.stat().st_mtime_ns)
        except OSError as error:
            raise InputError(f"{path.parent.name} has no model yet.") from error
        found = self._loaded.pop(key, None) or load(path)
        self._loaded[key] = found
        while len(self._loaded) > LOADED:
            self._loaded.popitem(last=False)
        return found

    def _policy(self, path: Path) -> Any:
        from tutelage.models.pretrained import device_of, hush
        from tutelage.policies.loading import load_policy

        hush()
        return load_policy(str(path), device_of(self.device))

    def _scorer(self, path: Path) -> Any:
        from tutelage.models.pretrained import device_of, hush
        from tutelage.rewards.text_scores import TextScorer

        hush()
        return TextScorer.load(str(path), device_of(self.device), READ)
