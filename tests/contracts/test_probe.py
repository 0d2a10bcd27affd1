"""The probe: replies to the same prompts along a run, which change nothing of the run."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from tests.conftest import letters_tokenizer
from tests.resuming import without_times

from tutelage.algorithms.ppo import PPO, PPOConfig
from tutelage.data.tokens import Codec
from tutelage.doctor.chart import read_stage
from tutelage.environments.language import Language
from tutelage.execution.native import SamplingSettings
from tutelage.policies.language import LanguagePolicy
from tutelage.rewards.language import TextScore
from tutelage.runs.files import read_lines
from tutelage.runs.run import Run
from tutelage.training import monitoring
from tutelage.training.callbacks import Callbacks
from tutelage.training.engine import LOCAL
from tutelage.training.models import critic_of, language_models
from tutelage.training.probe import probe_keys, steps_between
from tutelage.training.speaker import Speaker
from tutelage.training.train import train
from tutelage.trajectory import Task

PROMPTS = ["ab ", "cd ", "ef ", "gh ", "ab ", "cd "]


def chance(prompts, replies):
    """A user's reward that draws from every global generator: one draw more moves all that come after it."""
    noise = float(torch.rand(())) + random.random() + float(np.random.random())
    return [len(reply) + 0.1 * noise for reply in replies]


chance.noisy = True  # said to the preflight, which asks twice


@pytest.fixture
def trained(tiny_llama, tiny_classifier, tmp_path):
    """probes -> (the run, the weights after it), each from the same beginning."""
    begun = {name: value.clone() for name, value in tiny_llama.state_dict().items()}

    def train_with(probes, steps=4, trajectories=16):
        tiny_llama.load_state_dict(begun)
        codec = Codec(letters_tokenizer(pad_token="<eos>"))
        config = PPOConfig(steps=steps, trajectories=trajectories, learning_rate=1e-3, epochs=1)
        speaker = Speaker(LanguagePolicy(tiny_llama), codec, SamplingSettings(max_new_tokens=16))
        run = Run.create(tmp_path / f"probes-{probes}-{trajectories}", config)
        run.skip_preflight = True
        beside = Callbacks(lambda step, batch, score_BT: [{"prompt": "drawn"}], probes=probes)
        critic = critic_of(speaker.policy, tiny_classifier)
        task = Task(speaker.environment(PROMPTS), TextScore(chance, codec))
        train(PPO, config, task, language_models(speaker, critic), LOCAL, run, beside)
        return run, {name: value.clone() for name, value in tiny_llama.state_dict().items()}

    return train_with


def test_a_run_with_a_probe_has_the_bits_of_one_without(trained):
    (plain, without), (probed, with_probe) = trained(0), trained(4)
    assert all(torch.equal(value, with_probe[name]) for name, value in without.items())
    events = [[without_times(row) for row in read_lines(run.path / "events.jsonl")] for run in (plain, probed)]
    assert events[0] == events[1]


def test_the_same_prompts_with_the_same_random_numbers_at_every_look(trained, monkeypatch):
    monkeypatch.setattr(monitoring, "steps_between", lambda config, prompts: 1)
    rows = [row for row in read_lines(trained(4, trajectories=8)[0].path / "samples.jsonl") if "probe" in row]
    assert [row["step"] for row in rows] == [step for step in range(4) for _ in range(4)]
    looks = [rows[4 * step : 4 * step + 4] for step in range(4)]
    assert all([(row["probe"], row["prompt"]) for row in look] == [*enumerate(PROMPTS[:4])] for look in looks)
    assert looks[0][0]["log_ratio_nats"] == [0.0] * len(looks[0][0]["tokens"])  # the policy is its reference still
    assert all({"response", "score", "tokens", "value"} <= row.keys() for row in rows)
    assert len({tuple(row["response"] for row in look) for look in looks}) > 1  # the policy moved


def test_a_probe_that_would_cost_much_is_looked_at_seldom_but_first_and_last(trained):
    steps = {row["step"] for row in read_lines(trained(4)[0].path / "samples.jsonl") if "probe" in row}
    assert steps == {0, 3}
    config = PPOConfig(trajectories=16)
    assert steps_between(config, 4) > 4 * steps_between(PPOConfig(trajectories=64), 4) - 4
    assert steps_between(PPOConfig(trajectories=4096), 4) == 1


@pytest.mark.parametrize("count", [1, 3, 4, 1000, 1_000_003])
def test_prompts_of_a_probe_are_different_ones_from_all_over_the_list(count):
    keys = probe_keys(Language(Numbered(count)), 4)
    places = [key.prompt for key in keys]
    assert len(set(places)) == min(4, count) and len(keys) == len({key.step for key in keys}) * len(keys)
    if count >= 1000:
        assert places[0] < count / 4 and places[-1] > count / 2


def test_no_prompt_stands_twice_in_a_probe():
    assert [key.prompt for key in probe_keys(Language([(1,), (1,), (1,), (2,), (1,)]), 4)] == [0, 3]
    assert probe_keys(Language([(1,)]), 0) == ()


class Numbered:
    """So many different prompts, none of which is held; it counts how many were looked at."""

    def __init__(self, count):
        self.count, self.looked = count, 0

    def __len__(self):
        return self.count

    def __getitem__(self, place):
        self.looked += 1
        assert self.looked <= 100
        return (place,)


def test_the_doctor_reads_the_replies_that_were_learned_from(trained):
    """A probe's replies resemble each other by design, which would look like a template."""
    stage = read_stage(trained(4)[0].path)
    assert {text for _, text in stage.texts("prompt")} == {"drawn"}
