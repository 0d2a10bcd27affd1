"""Five algorithms whose policy acts: what each page promises, and that each resumes, is watched and leaves a model."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from tests.docs.test_docs import ROOT, documented_metrics
from tests.online import PROMPTS, same, tiny_speaker, tiny_task, trained
from tests.resuming import count_of_a, small_data, small_model
from transformers import AutoModelForCausalLM

from tutelage.algorithms.a2c import A2C, A2CConfig, a2c_loss
from tutelage.algorithms.grpo import GRPO, GRPOConfig
from tutelage.algorithms.nlpo import NLPO, NLPOConfig, UnmaskedKL, attach_mask
from tutelage.algorithms.ppo import PPO, PPOConfig, aimed, ppo_loss
from tutelage.algorithms.ppo_ptx import PPO_PTX, PPOPTXConfig, TextLearner, TextTask, perplexity
from tutelage.algorithms.rloo import RLOO, RLOOConfig
from tutelage.algorithms.sft import negative_log_likelihood
from tutelage.cli import run_command
from tutelage.data.errors import InputError
from tutelage.data.texts import in_pieces, split_held_out
from tutelage.doctor.diagnosis import diagnose
from tutelage.environments.dialogue import Dialogue
from tutelage.execution.learner import LocalLearner
from tutelage.formulas import sampling
from tutelage.runs.files import read_lines
from tutelage.studio.look.runs import Index
from tutelage.training.models import critic_of, language_models
from tutelage.training.train import prepare
from tutelage.trajectory import Batch, Step, group_keys

TEXT = [f"a kind {animal} ran home" for animal in ("dog", "hog", "fox", "cod", "hen")] * 4
QUICK = {"steps": 4, "trajectories": 8, "learning_rate": 1e-3}
ALGORITHMS = {
    "rloo": (RLOO, RLOOConfig(**QUICK, samples=4)),
    "grpo": (GRPO, GRPOConfig(**QUICK, samples=4)),
    "ppo-ptx": (PPO_PTX, PPOPTXConfig(**QUICK, epochs=2, minibatches=2, ptx_batch_size=3)),
    "a2c": (A2C, A2CConfig(**QUICK)),
    "nlpo": (NLPO, NLPOConfig(**QUICK, epochs=2, mask_every=3)),
}
every = pytest.mark.parametrize("name", ALGORITHMS)
CRITICS = ("ppo-ptx", "a2c", "nlpo")


def sum_of_letters(prompts, responses):
    return [float(sum(map(ord, response)) % 7) for response in responses]


def text_of(speaker):
    learned, held_out = split_held_out(in_pieces(speaker.codec, TEXT, 12), "the test")
    return {"text": Batch.of(learned), "held_out_text": Batch.of(held_out)}


def task_of(name, speaker, score=count_of_a):
    task = tiny_task(speaker, score)
    return TextTask(task.environment, task.score, **text_of(speaker)) if name == "ppo-ptx" else task


def run_of(name, folder, **settings):
    algorithm, config = ALGORITHMS[name]
    speaker = settings.pop("speaker", None) or tiny_speaker()
    config = replace(config, **settings.pop("changes", {}))
    return trained(algorithm, config, folder, speaker=speaker, task=task_of(name, speaker), **settings)


@every
def test_it_resumes_to_the_bit(name, tmp_path):
    def killed(score):
        def scored(batch):
            if batch.keys[0].step == 2:
                raise KeyboardInterrupt
            return score(batch)

        return scored

    events, weights = run_of(name, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_of(name, tmp_path / "killed", score=killed)
    again, resumed = run_of(name, tmp_path / "killed", resume=True)
    assert same(weights, resumed)
    timeless = [{key: value for key, value in event.items() if "seconds" not in key} for event in events]
    assert timeless == [{key: value for key, value in event.items() if "seconds" not in key} for event in again]


@every
@pytest.mark.slow
def test_a_command_passes_its_preflight_and_leaves_what_others_open(name, tmp_path):
    model, files, out = small_model(tmp_path), small_data(tmp_path), tmp_path / "runs" / name
    (tmp_path / "text.txt").write_text("\n".join(TEXT))
    command = [name, "--model", model, "--data", files["prompts"], "--reward", "tests.resuming:count_of_a"]
    command += ["--max-new-tokens", "5", "--steps", "12", "--trajectories", "8", "--learning-rate", "1e-3"]
    command += {"ppo-ptx": ["--pretraining-data", str(tmp_path / "text.txt")]}.get(name, [])
    assert run_command([*command, "--out", str(out)]) == 0
    AutoModelForCausalLM.from_pretrained(out / "model")
    findings = json.loads((out / "preflight.json").read_text())["findings"]
    assert len(findings) >= 15 and all(each["passed"] is not False for each in findings)
    events = read_lines(out / "events.jsonl")
    assert set().union(*events) <= documented_metrics(), set().union(*events) - documented_metrics()
    common = {"score", "kl_nats_per_sequence", "entropy_nats", "sampler_gap_nats", "policy_loss"}
    assert all(common <= event.keys() for event in events)
    critical = {"value_loss", "explained_variance", "value_clipped_fraction", "return_deviation"}
    assert name in CRITICS or not critical & events[0].keys()
    assert (out / "report.html").exists()
    index = Index(tmp_path / "runs")
    assert [row["verb"] for row in index.rows()[0]] == [name]
    accused = {finding.disease for finding in diagnose(out).findings}
    assert not accused & {"dead critic", "value clip against reward scale", "stale sampler", "KL negative"}


@every
def test_its_settings_are_documented(name):
    own = (ROOT / "docs" / "algorithms.md").read_text(encoding="utf-8").split(f"\n## {name}\n")[1].split("\n## ")[0]
    settings = type(ALGORITHMS[name][1])
    known = {each.name for each in dataclasses.fields(PPOConfig)} if name in ("ppo-ptx", "nlpo") else set()
    if name == "grpo":
        known = {each.name for each in dataclasses.fields(RLOOConfig)} - {"beta", "epsilon_high"}
    rows = " ".join(line for line in own.splitlines() if line.startswith("| `"))
    missing = [each.name for each in dataclasses.fields(settings) if f"`{each.name}`" not in rows]
    assert not set(missing) - known


def pay_together(dialogues):
    return [Step([5], 0.25 * len(each[-1])) for each in dialogues]


def two_turns(codec, prompts):
    """Of `--environment`: the other side says a letter, and pays for the length of what it heard."""
    return Dialogue([codec.prompt(f"ab{letter} ") for letter in "abcdefgh"], pay_together, turns=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grpo", "nlpo"])
def test_an_environment_of_two_turns_that_pays_needs_no_reward(name, tmp_path):
    command = [name, "--model", small_model(tmp_path), "--environment", f"{__name__}:two_turns", "--steps", "2"]
    command += ["--max-new-tokens", "4", "--trajectories", "8", "--out", str(tmp_path / "out")]
    assert run_command(command) == 0
    events = read_lines(tmp_path / "out" / "events.jsonl")
    assert all(event["score"] == 0.0 and event["environment_reward"] > 0.0 for event in events)


def test_the_two_gradients_of_ppo_ptx_are_accumulated_in_one_update():
    """What the optimizer sees is the sum of PPO's gradient and the coefficient times the text's, taken apart."""
    speaker = tiny_speaker()
    config = PPOPTXConfig(trajectories=4, ptx_coefficient=0.7, ptx_batch_size=3, max_grad_norm=1e9, tokens_at_once=16)
    critic = critic_of(speaker.policy, None)
    batch = speaker.sampler(0).sample(speaker.environment(list(PROMPTS)), group_keys(0, [0, 1, 2, 0]))
    score_BT = tiny_task(speaker, sum_of_letters).score(batch)
    targets, _ = aimed(config, batch, score_BT, 0.1, critic, speaker.policy.log_probs)
    text = text_of(speaker)["text"]
    parameters = list(speaker.policy.parameters())
    learner = LocalLearner({"policy": (parameters, 0.0)}, max_grad_norm=1e9, tokens_at_once=16)
    mixed = TextLearner(config, learner, speaker.policy, text)
    seen = []
    select = text.select
    object.__setattr__(text, "select", lambda rows: seen.append(select(rows)) or seen[-1])
    stats = mixed.update(targets, partial(ppo_loss, config, critic))
    together = [each.grad.clone() for each in parameters]

    def gradient(loss):
        return torch.autograd.grad(loss, parameters)

    ppo = gradient(ppo_loss(config, critic, targets)["loss"] / targets.weight)
    of_text = gradient(negative_log_likelihood(speaker.policy, seen[0])["loss"] / seen[0].weight)
    for found, first, second in zip(together, ppo, of_text, strict=True):
        assert torch.allclose(found, first + 0.7 * second, atol=1e-6)
    assert max(float(each.abs().max()) for each in ppo) > 1e-3 < max(float(each.abs().max()) for each in of_text)
    expected = float(negative_log_likelihood(speaker.policy, seen[0])["loss"].detach() / seen[0].weight)
    assert stats["ptx_loss"] == pytest.approx(expected, rel=1e-5)


def test_without_a_coefficient_ppo_ptx_is_ppo_to_the_bit(tmp_path):
    events, weights = run_of("ppo-ptx", tmp_path / "ptx", changes={"ptx_coefficient": 0.0})
    config = PPOConfig(**QUICK, epochs=2, minibatches=2)
    theirs, ppo = trained(PPO, config, tmp_path / "ppo")
    assert same(weights, ppo)
    assert [event["loss"] for event in events] == [event["loss"] for event in theirs]
    assert "text_perplexity" in events[0] and "text_perplexity" not in theirs[0]


@pytest.mark.slow
def test_ppo_ptx_keeps_held_out_text_likelier_than_ppo_does(tmp_path):
    found = {}
    for coefficient in (0.0, 1.0):
        speaker = tiny_speaker()
        changes = {"ptx_coefficient": coefficient, "learning_rate": 1e-2, "steps": 6}
        events, _ = run_of("ppo-ptx", tmp_path / str(coefficient), speaker=speaker, changes=changes)
        found[coefficient] = perplexity(speaker.policy, text_of(speaker)["held_out_text"], 1024)
        assert events[0]["text_perplexity"] == pytest.approx(found.setdefault("base", events[0]["text_perplexity"]))
    assert found[1.0] < found["base"] and found[1.0] < found[0.0]


def test_the_first_layers_of_a2c_keep_their_bits(tmp_path):
    speaker = tiny_speaker()
    before = {name: value.clone() for name, value in speaker.policy.model.state_dict().items()}
    _, after = run_of("a2c", tmp_path / "run", speaker=speaker)
    frozen = {name for name in before if name.startswith(("model.embed_tokens", "model.layers.0."))}
    assert len(frozen) > 5
    for name, value in before.items():
        assert torch.equal(value, after[name]) == (name in frozen), name


def test_with_all_weight_on_the_kl_a2c_stays_at_the_start(tmp_path):
    speaker = tiny_speaker()
    before = {name: value.clone() for name, value in speaker.policy.model.state_dict().items()}
    changes = {"alpha": 1.0, "frozen_layers": 0.0, "learning_rate": 1e-2}
    events, after = run_of("a2c", tmp_path / "run", speaker=speaker, changes=changes)
    assert same(before, after)
    assert [event["gradient_norm_policy"] for event in events] == [0.0] * 4
    _, moved = run_of("a2c", tmp_path / "other", changes={**changes, "alpha": 0.99})
    assert not same(before, moved)


def test_without_the_kl_the_gradient_of_a2c_is_that_of_ppos_first_update():
    speaker = tiny_speaker()
    config = A2CConfig(**QUICK, alpha=0.0, frozen_layers=0.0, normalize_advantages=True)
    parts = prepare(A2C, config, tiny_task(speaker), language_models(speaker, critic_of(speaker.policy, None)))
    batch = parts.sampler.sample(speaker.environment(list(PROMPTS)), group_keys(0, [0, 1, 2, 0]))
    critic = parts.models.critic
    targets, _ = aimed(
        config, batch, tiny_task(speaker, sum_of_letters).score(batch), 0.0, critic, parts.models.reference
    )
    ours = torch.autograd.grad(a2c_loss(config, parts.models, targets)["loss"], list(critic.parameters()))
    theirs = torch.autograd.grad(ppo_loss(PPOConfig(), critic, targets)["loss"], list(critic.parameters()))
    for first, second in zip(ours, theirs, strict=True):
        assert torch.allclose(first, second, atol=1e-5)
    assert max(float(each.abs().max()) for each in theirs) > 1e-2


def test_with_nothing_masked_nlpo_is_ppo_to_the_bit(tmp_path):
    events, weights = run_of("nlpo", tmp_path / "nlpo", changes={"mask_top_p": 1.0})
    theirs, ppo = trained(PPO, PPOConfig(**QUICK, epochs=2), tmp_path / "ppo")
    assert same(weights, ppo)
    assert [event["loss"] for event in events] == [event["loss"] for event in theirs]


def likely_tokens(policy, batch, config, stops):
    """[N, V] what the policy, as it is now, would leave to choose from in every state of the batch."""
    plain = replace(batch, extras={})
    logits = policy.action_logits(policy.states(plain), plain).detach().float()
    support = sampling.support(logits, top_p=config.mask_top_p) | sampling.support(logits, config.min_tokens_to_keep)
    support[:, list(stops)] = True
    return support


@pytest.mark.parametrize("source", ["lagged", "initial"])
def test_the_mask_used_in_sampling_follows_the_policy(source, tmp_path):
    """Replies of every step were drawn under the policy as it was at the last renewal, two steps apart."""
    speaker = tiny_speaker()
    config = NLPOConfig(
        **{**QUICK, "learning_rate": 1e-2, "steps": 6}, mask_every=2, min_tokens_to_keep=2, mask_top_p=0.7,
        mask_source=source,
    )  # fmt: skip
    start = tiny_speaker().policy
    renewed, found = tiny_speaker().policy, []

    def compared(score):
        def scored(batch):
            step = batch.keys[0].step
            if step < config.steps:
                if source == "lagged" and step % config.mask_every == 0:
                    renewed.model.load_state_dict(speaker.policy.model.state_dict())
                kept = sampling.unpack(batch.extras["support"][batch.mask_BT], 23)
                of = [
                    likely_tokens(each, batch, config, speaker.stop_tokens) for each in (renewed, speaker.policy, start)
                ]
                assert torch.equal(kept, of[0]), step
                found.append([bool(torch.equal(kept, each)) for each in of[1:]])
            return score(batch)

        return scored

    trained(NLPO, config, tmp_path / "run", speaker=speaker, score=compared)
    now, initial = zip(*found, strict=True)
    assert initial == ((True, True, False, False, False, False) if source == "lagged" else (True,) * 6)
    assert now == ((True, False) * 3 if source == "lagged" else (True, *(False,) * 5))


def test_nlpo_charges_the_kl_without_the_mask_and_replays_the_mask_in_the_ratio(tmp_path):
    speaker = tiny_speaker()
    config = NLPOConfig(**QUICK, mask_top_p=0.6, min_tokens_to_keep=1)
    models = language_models(speaker, critic_of(speaker.policy, None)).fitted_to(NLPO)
    attach_mask(config, models)
    other = tiny_speaker(seed=1).policy
    batch = speaker.sampler(0).sample(speaker.environment(list(PROMPTS)), group_keys(0, [0, 1, 2]))
    masked = speaker.policy.log_probs(batch)
    assert torch.allclose(masked[batch.mask_BT], batch.behaviour_log_probs_BT[batch.mask_BT], atol=1e-5)
    plain = replace(batch, extras={})
    charged = masked - UnmaskedKL(speaker.policy, other.log_probs)(batch)
    raw = speaker.policy.log_probs(plain) - other.log_probs(plain)
    assert torch.allclose(charged, raw, atol=1e-5)
    assert not torch.allclose(masked, speaker.policy.log_probs(plain), atol=1e-2)
    probs = torch.where(sampling.unpack(batch.extras["support"][batch.mask_BT], 23), 1.0, 0.0)
    assert 1 <= float(probs.sum(1).mean()) < 20


@every
@pytest.mark.slow
def test_it_learns(name, tmp_path):
    longer = {"steps": 16, "trajectories": 32, "learning_rate": 1e-2}
    further = {"ppo-ptx": {"ptx_coefficient": 0.1, "kl_coefficient": 0.01}, "nlpo": {"kl_coefficient": 0.01}}
    events, _ = run_of(name, tmp_path / "run", changes={**longer, **further.get(name, {})})
    scores = np.array([event["score"] for event in events])
    assert scores[-4:].mean() > scores[:4].mean() + 0.3, scores


def test_a_vocabulary_below_what_nlpo_keeps_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"keeps the 100 likeliest tokens .* vocabulary has 23: nothing would ever be"):
        run_of("nlpo", tmp_path / "run", changes={"min_tokens_to_keep": 100})


def test_ppo_ptx_without_text_is_refused(tmp_path):
    with pytest.raises(InputError, match="ppo-ptx keeps text likely, and this task has none"):
        trained(PPO_PTX, ALGORITHMS["ppo-ptx"][1], tmp_path / "run")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"prompt": "ab ", "completion": "cd"}], "its columns are prompt, completion; expected text"),
        ([{"text": 3}], "text is 3, expected text"),
        ([{"text": "a kind dog"}], "1 pieces of two tokens or more; expected two at least"),
        ([{"text": "a"}, {"text": "b"}], "0 pieces of two tokens or more"),
    ],
)
def test_text_in_another_format_is_refused_before_a_run_is_begun(rows, says, tmp_path, capsys):
    model, files = small_model(tmp_path), small_data(tmp_path)
    (tmp_path / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["ppo-ptx", "--model", model, "--data", files["prompts"], "--reward", "tests.resuming:count_of_a"]
    command += ["--max-new-tokens", "5"]
    out = tmp_path / "out"
    assert run_command([*command, "--pretraining-data", str(tmp_path / "text.jsonl"), "--out", str(out)]) == 2
    assert says in capsys.readouterr().err and not out.exists()


def test_flags_that_fit_no_algorithm_are_refused(tmp_path, capsys):
    model, files = small_model(tmp_path), small_data(tmp_path)
    given = ["--model", model, "--data", files["prompts"], "--reward", "tests.resuming:count_of_a"]
    given += ["--max-new-tokens", "5"]
    faults = {
        ("ppo-ptx",): "--pretraining-data is missing",
        ("rloo", "--samples", "1", "--trajectories", "4"): "samples is 1, expected 2 or more",
        ("grpo", "--samples", "3", "--trajectories", "8"): "trajectories is a multiple of samples",
        ("grpo", "--beta", "-1"): "--beta is -1.0: expected 0 or more",
        ("a2c", "--alpha", "1.5"): "--alpha is 1.5: expected a share, from 0 to 1",
        ("nlpo", "--mask-top-p", "0"): "--mask-top-p is 0.0: expected a number above 0",
        ("nlpo", "--min-tokens-to-keep", "23"): "this vocabulary has 23",
        ("nlpo", "--sampler", "vllm"): "does not draw under a mask",
    }
    for words, says in faults.items():
        assert run_command([*words, *given, "--out", str(tmp_path / "out")]) == 2, words
        assert says in capsys.readouterr().err, words
        assert not (tmp_path / "out").exists(), words
