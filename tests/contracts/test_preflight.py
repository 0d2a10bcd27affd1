"""Every check of the preflight fails on a defect planted for it, and none fails on a healthy run."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch
from tests.conftest import FAMILIES, letters_tokenizer
from tests.resuming import kind_of_run
from transformers import AutoModelForCausalLM, GPT2Config

from tutelage.algorithms.ppo import PPOConfig, improve
from tutelage.cli import run_command
from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec
from tutelage.environments.language import Language
from tutelage.execution import preflight as checks
from tutelage.execution.learner import LocalLearner
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.models.causality import remember_as_loaded
from tutelage.models.lora import with_lora
from tutelage.models.trunk import Numerics
from tutelage.policies.language import Frozen, LanguagePolicy, SharedCritic
from tutelage.rewards.language import TextScore

BOS, EOS = 0, 1
PROMPTS = [[BOS, 5, 6], [BOS, 7, 8, 9, 10, 11], [BOS, 12], [BOS, 3, 4, 5, 6, 7, 8]]
SETTINGS = SamplingSettings(max_new_tokens=12)


def letters(prompts, responses):
    """A number that hardly two replies share."""
    return [float(sum(map(ord, response))) for response in responses]


def flight_of(model, *, temperature=0.7, score=None):
    """A healthy run about to begin."""
    codec = Codec(letters_tokenizer(bos_token="<bos>", pad_token="<eos>"))
    policy = LanguagePolicy(model.eval(), temperature)
    return checks.Flight(
        policy=policy,
        actor_critic=SharedCritic(policy),
        reference=Frozen(policy),
        sampler=NativeSampler(policy, [EOS], 0, SETTINGS),
        environment=Language(PROMPTS),
        score=score or TextScore(letters, codec),
        codec=codec,
        stop_tokens=(EOS,),
    )


@pytest.fixture
def flight(tiny_llama):
    return flight_of(tiny_llama)


def failures(flight):
    return {each.name for each in checks.preflight(flight) if each.passed is False}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_healthy_run_passes_in_every_family(family):
    for seed in range(3):
        torch.manual_seed(seed)
        flight = flight_of(AutoModelForCausalLM.from_config(FAMILIES[family]))
        assert not failures(flight), checks.preflight(flight)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo", "demo", "recipe sentiment"])
def test_healthy_commands_are_checked_and_begin(name, tmp_path, capsys):
    assert run_command([*kind_of_run(name, tmp_path), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "preflight  pass  sampler is learner" in said and "FAIL" not in said
    kept = json.loads(next((tmp_path / "out").rglob("preflight.json")).read_text())
    assert len(kept["findings"]) == len(checks.CHECKS)


def test_nothing_is_changed_by_looking(flight):
    before = {name: value.clone() for name, value in flight.policy.state_dict().items()}
    generator = torch.get_rng_state()
    checks.preflight(flight)
    assert all(torch.equal(value, before[name]) for name, value in flight.policy.state_dict().items())
    assert all(each.grad is None for each in flight.policy.parameters())
    assert torch.equal(torch.get_rng_state(), generator)


def stale(flight):
    """The sampler has weights of its own that no publish refreshes."""
    return replace(flight, sampler=NativeSampler(copy.deepcopy(flight.policy), [EOS], 0, SETTINGS))


def without_adapter(flight):
    """A LoRA learns, and the sampler serves the base model."""
    base = copy.deepcopy(flight.policy)
    policy = LanguagePolicy(with_lora(flight.policy.model, 2), flight.policy.temperature)
    sampler = NativeSampler(base, [EOS], 0, SETTINGS)
    return replace(flight, policy=policy, actor_critic=SharedCritic(policy), reference=Frozen(policy), sampler=sampler)


def lost_adapter(flight):
    """A fine-tuned policy's adapter is wiped after it was loaded, and the reference is made of what is left."""
    model = with_lora(flight.policy.model, 2)
    factors = [each for name, each in model.named_parameters() if "lora_B" in name]
    with torch.no_grad():
        for each in factors:
            each.normal_(0.0, 0.5)
        remember_as_loaded(model)
        for each in factors:
            each.zero_()
    policy = LanguagePolicy(model, flight.policy.temperature)
    sampler = NativeSampler(policy, [EOS], 0, SETTINGS)
    return replace(flight, policy=policy, actor_critic=SharedCritic(policy), reference=Frozen(policy), sampler=sampler)


def warmer_sampler(flight):
    policy = LanguagePolicy(flight.policy.model, 1.0)
    return replace(flight, sampler=NativeSampler(policy, [EOS], 0, SETTINGS))


def colder_learner(flight):
    policy = LanguagePolicy(flight.policy.model, 0.5)
    return replace(flight, policy=policy, actor_critic=SharedCritic(policy), reference=Frozen(policy))


def rounded_sampler(flight):
    policy = copy.deepcopy(flight.policy)
    policy.model.to(torch.bfloat16)
    return replace(flight, sampler=NativeSampler(policy, [EOS], 0, SETTINGS))


class TopP(NativeSampler):
    """Draws from the likeliest tokens only, and reports the log-probs of all."""

    def _draw(self, logits_BV, rows):
        log_probs_BV = torch.log_softmax(logits_BV.float() / self.policy.temperature, dim=-1)
        ordered, places = log_probs_BV.exp().sort(descending=True)
        cut = ordered.cumsum(-1) - ordered > 0.5
        kept = torch.zeros_like(ordered).scatter(1, places, ordered.masked_fill(cut, 0.0))
        tokens, _, _ = super()._draw(kept.log() * self.policy.temperature, rows)
        return tokens, log_probs_BV.gather(1, tokens[:, None])[:, 0], None


def top_p(flight):
    return replace(flight, sampler=TopP(flight.policy, [EOS], 0, SamplingSettings(max_new_tokens=40)))


class MasksPadding:
    """Takes its mask from token != pad, and pad is the end of sequence."""

    def __init__(self, inner):
        self.inner = inner

    def publish(self):
        self.inner.publish()

    def sample(self, environment, keys):
        batch = self.inner.sample(environment, keys)
        return replace(batch, mask_BT=batch.mask_BT & (batch.actions != EOS))


def pad_is_end(flight):
    return replace(flight, sampler=MasksPadding(flight.sampler))


def dropout(flight):
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.2}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        GPT2Config(**sizes, vocab_size=23, bos_token_id=0, eos_token_id=1, resid_pdrop=0.2)
    )
    found = flight_of(model)
    model.train()
    return found


def another_reference(flight):
    other = copy.deepcopy(flight.policy)
    with torch.no_grad():
        next(other.parameters()).mul_(1.05)
    return replace(flight, reference=Frozen(other))


class SeesNeighbours(LanguagePolicy):
    """Adds the batch's mean state to every state: what padding and neighbours hold changes every log-prob."""

    def states(self, batch):
        states_BSd = super().states(batch)
        return states_BSd + 0.1 * states_BSd.mean(dim=(0, 1))


def seeing_neighbours(flight):
    policy = SeesNeighbours(flight.policy.model, flight.policy.temperature)
    return replace(flight, actor_critic=SharedCritic(policy))


class DividesByRows(LanguagePolicy):
    """Scales its output by the number of rows: the mean of means that so many losses are."""

    def log_probs(self, batch):
        return super().log_probs(batch) / len(batch)


def dividing_by_rows(flight):
    return replace(flight, policy=DividesByRows(flight.policy.model, flight.policy.temperature))


def two_beginnings(flight):
    return replace(flight, environment=Language([[BOS, *each] for each in PROMPTS]))


def bent_template(flight):
    flight.codec.tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'][0] }} {{ m['content'] }} {% endfor %}"
        "{% if add_generation_prompt %}think {% endif %}"
    )
    return flight


def not_a_number(flight):
    return replace(flight, score=TextScore(lambda prompts, responses: [float("nan") for _ in responses], flight.codec))


def raising(flight):
    def reward(prompts, responses):
        raise KeyError("key")

    return replace(flight, score=TextScore(reward, flight.codec))


def constant(flight):
    return replace(flight, score=TextScore(lambda prompts, responses: [1.0 for _ in responses], flight.codec))


def drawing_lots(flight):
    generator = torch.Generator().manual_seed(0)

    def reward(prompts, responses):
        return torch.rand(len(responses), generator=generator).tolist()

    return replace(flight, score=TextScore(reward, flight.codec))


def without_an_end(flight):
    return replace(flight, stop_tokens=(999,))


def another_tokenizer(flight):
    other = letters_tokenizer(pad_token="<eos>")
    other.add_tokens([one + two for one in "abcdefghijklmnopqr" for two in "abcdefghijklmnopqr"])
    return replace(flight, score=TextScore(letters, Codec(other)))


DEFECTS = {
    stale: "new weights arrive",
    without_adapter: "new weights arrive",
    lost_adapter: "policy is the loaded model",
    warmer_sampler: "sampler is learner",
    colder_learner: "sampler is learner",
    rounded_sampler: "sampler is learner",
    top_p: "samples are of the policy",
    pad_is_end: "ends are actions",
    dropout: "dropout is off",
    another_reference: "reference is the start",
    seeing_neighbours: "neighbours do not matter",
    dividing_by_rows: "micro-batches do not matter",
    two_beginnings: "one beginning of sequence",
    bent_template: "chat template comes round",
    not_a_number: "reward is finite",
    raising: "reward is finite",
    constant: "reward is not constant",
    drawing_lots: "reward is deterministic",
    without_an_end: "an end can be reached",
    another_tokenizer: "reward reads the same tokens",
}


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_a_planted_defect_is_found(flight, defect):
    found = failures(defect(flight))
    assert DEFECTS[defect] in found, found


def test_a_model_with_flat_logits_passes(flight):
    """A new adapter on it moves log-probs too little to be seen, until it is nudged harder."""
    with torch.no_grad():
        flight.policy.model.get_output_embeddings().weight.mul_(0.02)
    policy = LanguagePolicy(with_lora(flight.policy.model, 2), flight.policy.temperature)
    sampler = NativeSampler(policy, [EOS], 0, SETTINGS)
    parts = {"policy": policy, "actor_critic": SharedCritic(policy), "reference": Frozen(policy), "sampler": sampler}
    assert "new weights arrive" not in failures(replace(flight, **parts))
    assert "new weights arrive" in failures(replace(flight, **{**parts, "sampler": stale(flight).sampler}))


def test_every_check_has_a_defect_that_it_finds():
    names = {each.name for each in checks.preflight(flight_of(AutoModelForCausalLM.from_config(FAMILIES["llama"])))}
    assert names - set(DEFECTS.values()) == {"memory suffices"}  # planted below


def test_too_little_memory_is_found(flight, monkeypatch):
    monkeypatch.setattr(checks, "free_bytes", lambda device: 10_000)
    assert failures(flight) == {"memory suffices"}


def test_a_declared_noisy_reward_passes(flight):
    assert "reward is deterministic" not in failures(replace(drawing_lots(flight), noisy=True))


def test_a_failure_stops_the_run_unless_told_otherwise(tmp_path, capsys):
    command = kind_of_run("ppo", tmp_path)
    command[command.index("--reward") + 1] = f"{__name__}:nothing"
    assert run_command([*command, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert "FAIL  reward is not constant" in said.out
    assert "preflight: 1 of" in said.err and "--skip-preflight" in said.err and "Traceback" not in said.err
    assert not (tmp_path / "out" / "events.jsonl").exists()
    assert run_command([*command, "--out", str(tmp_path / "other"), "--skip-preflight"]) == 0


def nothing(prompts, responses):
    return [0.0 for _ in responses]


def test_a_check_that_cannot_be_made_has_failed(flight):
    def broken(flight, batch):
        raise InputError("no reward model there")

    found = checks.attempted(broken, flight, None)
    assert found.passed is False and "no reward model" in found.found


def count_tokens(flight, act):
    """Tokens that the policy's trunk reads, and those of sampled episodes, while `act` runs."""
    read = []
    hook = flight.policy.model.base_model.register_forward_pre_hook(
        lambda module, given, named: read.append(named["input_ids"].numel()), with_kwargs=True
    )
    sample = flight.sampler.sample

    def counted(environment, keys):
        before, batch = len(read), sample(environment, keys)
        del read[before:]
        read.append(int((batch.lengths_B + 1).sum()))
        return batch

    flight.sampler.sample = counted
    act()
    hook.remove()
    flight.sampler.sample = sample
    return sum(read)


def test_it_costs_less_than_two_training_steps(flight):
    """The cheapest step there is: one epoch. Every check used to read the whole probe again, 16 replies alone, too."""
    config = PPOConfig(trajectories=16, epochs=1, learning_rate=0.0, value_learning_rate=0.0)
    learner = LocalLearner({"all": (flight.actor_critic.parameters(), 0.0)})

    def train():
        batch = flight.sampler.sample(flight.environment, flight.keys(0, config.trajectories))
        improve(config, batch, flight.score(batch), 0.1, flight.actor_critic, Frozen(flight.policy), learner)

    step = count_tokens(flight, train)  # the reference is a copy, which the count leaves out
    assert count_tokens(flight, lambda: checks.preflight(flight)) <= 2 * step


def test_each_check_is_told_as_soon_as_it_is_made(flight):
    told = []

    def score(batch):
        told.append("the reward is asked")
        return batch.at_last_action(torch.arange(len(batch)).float())

    checks.preflight(replace(flight, score=score), lambda finding: told.append(finding.name))
    assert told[0] == "the probe" and told[1] == "dropout is off"
    assert told.index("sampler is learner") < told.index("the reward is asked")
    assert all(each.seconds >= 0 for each in checks.preflight(flight))


@pytest.mark.parametrize("family", ["llama", "gpt2", "lora"])
def test_a_healthy_run_passes_in_bf16(family):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FAMILIES.get(family, FAMILIES["llama"])).eval()
    flight = flight_of(with_lora(model, 2) if family == "lora" else model)
    policy = LanguagePolicy(flight.policy.model, 0.7, Numerics("bf16"))
    sampler = NativeSampler(policy, [EOS], 0, SETTINGS)
    low = replace(flight, policy=policy, actor_critic=SharedCritic(policy), reference=Frozen(policy), sampler=sampler)
    assert not failures(low), checks.preflight(low)
    assert "new weights arrive" in failures(stale(low))


def test_a_run_of_few_episodes_has_a_small_probe(flight):
    assert not failures(replace(flight, episodes=2))
