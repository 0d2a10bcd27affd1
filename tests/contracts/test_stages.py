"""The stages from Python: a reward function of one's own, and PPO a step at a time."""

from __future__ import annotations

import pytest
import torch
from tests.conftest import letters_tokenizer, llama_config
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from tutelage.algorithms.ppo import PPO, PPOConfig
from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec
from tutelage.execution.native import SamplingSettings
from tutelage.policies.language import LanguagePolicy, SeparateCritic, SharedCritic
from tutelage.rewards.language import TextScore
from tutelage.runs.files import read_lines
from tutelage.runs.run import Run
from tutelage.training.engine import LOCAL
from tutelage.training.episode_keys import prompt_keys, shuffle
from tutelage.training.models import critic_of, language_models
from tutelage.training.speaker import Speaker
from tutelage.training.stepwise import StepwisePPO
from tutelage.training.train import train
from tutelage.trajectory import Task

PROMPTS = ["ab ", "cd ", "ef ", "gh "]
QUICK = PPOConfig(
    steps=25, trajectories=32, epochs=2, learning_rate=3e-3, value_learning_rate=3e-3, kl_coefficient=0.02
)


def share_of_a(prompts, responses):
    return [response.count("a") / max(1, len(response)) for response in responses]


@pytest.fixture
def codec():
    return Codec(letters_tokenizer(pad_token="<eos>"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["separate", "shared"])
def test_a_reward_function_is_learned_by_either_critic(tiny_llama, tiny_classifier, codec, tmp_path, kind):
    speaker = Speaker(LanguagePolicy(tiny_llama), codec, SamplingSettings(max_new_tokens=6))
    critic = critic_of(speaker.policy, tiny_classifier if kind == "separate" else None)
    assert isinstance(critic, SeparateCritic if kind == "separate" else SharedCritic)
    run = Run.create(tmp_path / "run", QUICK)
    task = Task(speaker.environment(PROMPTS), TextScore(share_of_a, codec))
    train(PPO, QUICK, task, language_models(speaker, critic), LOCAL, run)
    scores = [event["score"] for event in read_lines(run.path / "events.jsonl")]
    assert sum(scores[-5:]) / 5 > sum(scores[:2]) / 2 + 0.4
    AutoModelForCausalLM.from_pretrained(run.path / "model")


def test_step_by_step_learns_what_it_is_told(tiny_llama):
    torch.manual_seed(0)
    trainer = StepwisePPO(QUICK, tiny_llama, letters_tokenizer(), sampling=SamplingSettings(max_new_tokens=6))
    means = []
    for step in range(25):
        prompts = PROMPTS * 8
        responses = trainer.generate(prompts, seed=step)
        scores = share_of_a(prompts, responses)
        stats = trainer.step(prompts, responses, scores)
        means.append(sum(scores) / len(scores))
        assert stats["score"] == pytest.approx(means[-1], abs=1e-6)
    assert sum(means[-5:]) / 5 > sum(means[:2]) / 2 + 0.4


def test_a_step_takes_token_ids_too_and_refuses_a_mixture(tiny_llama, tmp_path):
    trainer = StepwisePPO(QUICK, tiny_llama, letters_tokenizer())
    stats = trainer.step([[2, 3], [4]], [[5, 1], [6, 7]], [1.0, -1.0])
    assert stats["terminated_fraction"] == 0.5  # the second does not end in the end of sequence
    with pytest.raises(InputError, match="both as text or both as token ids"):
        trainer.step(["ab "], [[5]], [1.0])
    with pytest.raises(InputError, match="2 prompts, 1 responses"):
        trainer.step(["ab ", "cd "], ["a"], [1.0])
    with pytest.raises(InputError, match="row 0: the score is nan"):
        trainer.step(["ab "], ["a"], [float("nan")])
    trainer.save_pretrained(str(tmp_path / "model"))
    AutoModelForCausalLM.from_pretrained(tmp_path / "model")


def test_the_controller_lives_between_steps(tiny_llama):
    config = PPOConfig(kl_coefficient=0.1, kl_target_nats=1.0, kl_horizon=10.0)
    trainer = StepwisePPO(config, tiny_llama, letters_tokenizer())
    trainer.step(["ab "] * 2, ["a", "b"], [1.0, 0.0])
    assert trainer.controller.coefficient == pytest.approx(
        0.1 * (1 - 0.2 * 2 / 10)
    )  # KL 0 is below its target: clipped at −0.2


def test_every_prompt_is_seen_once_an_epoch_and_runs_of_a_seed_agree():
    config = PPOConfig(trajectories=3, seed=5)
    keys = [key for step in range(8) for key in prompt_keys(6, config, step)]
    assert sorted(key.prompt for key in keys[:6]) == sorted(key.prompt for key in keys[6:12]) == list(range(6))
    assert keys == [key for step in range(8) for key in prompt_keys(6, config, step)]
    assert len({(key.step, key.prompt, key.sample) for key in keys}) == len(keys)


def test_two_runs_of_a_seed_are_one(codec, tmp_path):
    def weights(name):
        torch.manual_seed(3)
        model = LlamaForCausalLM(llama_config()).eval()
        speaker = Speaker(LanguagePolicy(model), codec, SamplingSettings(max_new_tokens=5))
        config = PPOConfig(steps=3, trajectories=8, epochs=2, minibatches=2, learning_rate=1e-3)
        run = Run.create(tmp_path / name, config)
        task = Task(speaker.environment(PROMPTS), TextScore(share_of_a, codec))
        train(PPO, config, task, language_models(speaker, critic_of(speaker.policy, None)), LOCAL, run)
        return model.state_dict()

    first, second = weights("a"), weights("b")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_epoch_of_prompts_is_shuffled_once(monkeypatch):
    """A shuffle of all prompts for every episode made a step over a million prompts take minutes."""
    drawn = []
    permute = torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda *given, **named: drawn.append(given) or permute(*given, **named))
    shuffle.cache_clear()
    config = PPOConfig(trajectories=64, seed=5)
    keys = [key for step in range(6) for key in prompt_keys(100, config, step)]
    assert len(drawn) == 4  # 384 episodes over 100 prompts
    assert sorted(key.prompt for key in keys[:100]) == list(range(100))
    order = permute(100, generator=torch.Generator().manual_seed(5 * 1000003 + 1))
    assert [key.prompt for key in keys[100:200]] == order.tolist()
