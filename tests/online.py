"""What the tests of algorithms whose policy acts share: a tiny speaker, a task that pays for a letter, a run of it."""

from __future__ import annotations

from dataclasses import replace

import torch
from transformers import LlamaForCausalLM

from tests.conftest import letters_tokenizer, llama_config
from tests.resuming import count_of_a
from tutelage.data.tokens import Codec
from tutelage.execution.native import SamplingSettings
from tutelage.policies.language import LanguagePolicy
from tutelage.rewards.language import TextScore
from tutelage.runs.files import read_lines
from tutelage.runs.run import Run
from tutelage.training.engine import LOCAL
from tutelage.training.models import critic_of, language_models
from tutelage.training.speaker import Speaker
from tutelage.training.train import train
from tutelage.trajectory import Task

PROMPTS = ("ab ", "cd ", "e ")


def tiny_speaker(seed=0, **sampling):
    torch.manual_seed(seed)
    model = LlamaForCausalLM(llama_config()).eval()
    codec = Codec(letters_tokenizer(pad_token="<eos>"))
    return Speaker(LanguagePolicy(model), codec, SamplingSettings(5, **sampling))


def tiny_task(speaker, score=count_of_a):
    return Task(speaker.environment(list(PROMPTS)), TextScore(score, speaker.codec))


def trained(algorithm, config, folder, *, speaker=None, task=None, **settings):
    """(the run's events, the weights that it ends with) of a small run through `train`."""
    speaker = speaker or tiny_speaker()
    run = Run.create(folder, config, resume=settings.pop("resume", False), checkpoint_seconds=0.0)
    run.skip_preflight = settings.pop("skip_preflight", True)
    task = task or tiny_task(speaker)
    task = replace(task, score=settings.pop("score")(task.score)) if "score" in settings else task
    models = language_models(speaker, critic_of(speaker.policy, None) if algorithm.critic else None)
    train(algorithm, config, task, models, settings.pop("engine", LOCAL), run)
    run.mark_finished(run.latest)
    weights = {name: value.clone() for name, value in speaker.policy.model.state_dict().items()}
    return read_lines(run.path / "events.jsonl"), weights


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
