"""Online DPO and expert iteration: which of the policy's own replies are learned from, who judges, what is recorded."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from tests.online import same, tiny_speaker, tiny_task, trained
from tests.resuming import kind_of_run
from transformers import AutoModelForCausalLM

from tutelage.algorithms.expert_iteration import (
    EXPERT_ITERATION,
    ExpertIterationConfig,
    keep_best,
    keep_quarter,
)
from tutelage.algorithms.online_dpo import ONLINE_DPO, OnlineDPOConfig, best_against_worst
from tutelage.algorithms.sft import negative_log_likelihood
from tutelage.cli import run_command
from tutelage.commands.online_dpo import AskedScore
from tutelage.data.errors import InputError
from tutelage.feedback.store import Store
from tutelage.runs.files import read_lines
from tutelage.training.episode_keys import prompt_keys
from tutelage.training.models import language_models
from tutelage.training.train import prepare
from tutelage.trajectory import Key

QUICK = {"steps": 3, "trajectories": 8, "learning_rate": 1e-2, "tokens_at_once": 4096}
LEARNS = {"steps": 12, "trajectories": 32, "samples": 4, "learning_rate": 1e-2, "tokens_at_once": 4096}


def test_the_best_and_the_worst_of_a_group_are_its_pair():
    rewards = torch.tensor([[0.0, 3.0, 1.0, -1.0], [2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 0.0, 0.0]])
    expected = [[0.0, 1.0, 0.0, -1.0], [0.0] * 4, [1.0, 0.0, -1.0, 0.0]]
    assert best_against_worst(rewards).tolist() == expected


def test_what_expert_iteration_keeps():
    rewards = torch.tensor([[0.0, 3.0, 1.0, -1.0], [5.0, 4.0, 0.0, 0.0]])
    assert keep_best(rewards).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]
    assert keep_quarter(rewards).tolist() == [[0, 0, 0, 0], [1, 1, 0, 0]]  # of all eight, whatever their prompts
    assert keep_quarter(torch.zeros(1, 2)).tolist() == [[1, 0]]  # one at least


def test_online_dpo_starts_at_its_reference_and_raises_the_better_reply(tmp_path):
    events, _ = trained(
        ONLINE_DPO, OnlineDPOConfig(**{**QUICK, "trajectories": 32}, samples=4, epochs=3), tmp_path / "run"
    )
    assert events[0]["kl_nats_per_sequence"] == pytest.approx(0.0, abs=1e-5)
    assert {"equal_groups_fraction", "score_advantage_correlation", "log_probs_chosen"} <= events[0].keys()
    assert events[-1]["rewards_margins"] > 0 and events[-1]["kl_nats_per_sequence"] != 0


def test_groups_that_are_judged_alike_are_counted_and_move_nothing(tmp_path):
    speaker = tiny_speaker()
    before = {name: each.clone() for name, each in speaker.policy.model.state_dict().items()}
    task = tiny_task(speaker, lambda prompts, responses: [1.0] * len(prompts))
    events, after = trained(
        ONLINE_DPO, OnlineDPOConfig(**QUICK, samples=2), tmp_path / "run", speaker=speaker, task=task
    )
    assert [event["equal_groups_fraction"] for event in events] == [1.0] * 3 and "loss" not in events[0]
    assert same(before, after)


def test_with_one_sample_expert_iteration_is_sft_on_its_own_samples(tmp_path):
    config = ExpertIterationConfig(**{**QUICK, "steps": 1}, samples=1)
    _, found = trained(EXPERT_ITERATION, config, tmp_path / "run")
    speaker = tiny_speaker()
    task = tiny_task(speaker)
    parts = prepare(EXPERT_ITERATION, config, task, language_models(speaker))
    batch = parts.sampler.sample(task.environment, prompt_keys(len(task.environment), config, 0))
    parts.learner.update(batch, partial(negative_log_likelihood, speaker.policy))
    own = speaker.policy.model.state_dict()
    assert all(torch.allclose(found[name], own[name], atol=1e-6) for name in found)


def test_micro_batches_change_no_number(tmp_path):
    for algorithm, config in ((ONLINE_DPO, OnlineDPOConfig), (EXPERT_ITERATION, ExpertIterationConfig)):
        runs = [
            trained(algorithm, config(**{**QUICK, "tokens_at_once": tokens}), tmp_path / f"{algorithm.name}-{tokens}")
            for tokens in (8, 4096)
        ]
        for first, second in zip(*(events for events, _ in runs), strict=True):
            assert first.get("loss") == pytest.approx(second.get("loss"), rel=1e-3, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "config"),
    [
        (ONLINE_DPO, OnlineDPOConfig(**LEARNS)),
        (EXPERT_ITERATION, ExpertIterationConfig(**LEARNS)),
        (EXPERT_ITERATION, ExpertIterationConfig(**LEARNS, keep="quarter")),
    ],
    ids=["online-dpo", "expert-iteration", "expert-iteration-quarter"],
)
def test_each_learns_what_is_paid_for(algorithm, config, tmp_path):
    """The reward counts the letter a; a random policy writes about 0.2 of them."""
    events, _ = trained(algorithm, config, tmp_path / "run")
    first, last = (sum(event["score"] for event in part) / 3 for part in (events[:3], events[-3:]))
    assert last > first + 0.8, (first, last)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["online-dpo", "expert-iteration"])
def test_the_commands_pass_the_preflight_and_leave_a_model_that_loads(verb, tmp_path, capsys):
    assert run_command([*kind_of_run(verb, tmp_path), "--steps", "1", "--out", str(tmp_path / "out")]) == 0
    assert "FAIL" not in capsys.readouterr().out
    AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "model")
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["steps"] == 1


class LongerIsBetter:
    """Somebody at the page who prefers the reply with more letters a, and skips nothing."""

    kind = "human"

    def __init__(self):
        self.asked = []

    def answer(self, store, names):
        self.asked += names
        person = store.labeller("ann", "human")
        for name in names:
            for given in store.claim(person, names=[name]):
                best = max(given.shown, key=lambda each: (each.text.count("a"), each.text))
                store.answer(person, given.id, given.lease, f"ann:{given.id}", {"choice": best.id})
        return len(names)


def test_people_judge_through_the_store_and_are_asked_once(tmp_path):
    speaker, person = tiny_speaker(), LongerIsBetter()
    score = AskedScore(person, tmp_path / "feedback.db", speaker.codec)
    sampler, task = speaker.sampler(0), tiny_task(speaker)
    batch = sampler.sample(task.environment, [Key(4, place // 2, place) for place in range(6)])
    first_BT, again_BT = score(batch), score(batch)
    assert torch.equal(first_BT, again_BT)
    wanted = [count.count("a") for count in speaker.codec.prompts_and_responses(batch)[1]]
    for row in range(0, 6, 2):
        two = first_BT[row : row + 2].sum(dim=1).tolist()
        assert sorted(two) in ([0.0, 1.0], [0.5, 0.5])
        if wanted[row] != wanted[row + 1]:
            assert two[0] == float(wanted[row] > wanted[row + 1])
    assert len(set(person.asked)) == len(score.store.labels()) > 0  # the second call found every answer there
    probe = sampler.sample(task.environment, [Key(2**32 - 64, 0, 0), Key(2**32 - 64, 1, 0)])
    asked = len(person.asked)
    assert not score(probe).any() and len(person.asked) == asked
    score.close()


def test_a_run_waits_for_people_and_goes_on_without_them(tmp_path, capsys):
    """Nobody comes: the questions are withdrawn, nothing is learned, and the store says what was asked."""
    command = kind_of_run("online-dpo", tmp_path)
    place = command.index("--reward")
    command = [*command[:place], *command[place + 2 :], "--judge", "people", "--without-page", "--wait-s", "0.1"]
    out = tmp_path / "out"
    assert run_command([*command, "--steps", "1", "--samples", "2", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "people judge pairs" in said and "FAIL" not in said and "waiting for" in said
    assert read_lines(out / "events.jsonl")[0]["equal_groups_fraction"] == 1.0
    with Store.open(out / "feedback.db") as store:
        assert not store.open_questions() and not store.labels()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--judge", "people"], "it takes no --reward"),
        (["--judge", "nobody"], "--judge 'nobody'"),
        (["--samples", "1"], "online-dpo compares the replies to a prompt: samples is 1"),
        (["--beta", "0"], "beta is 0.0"),
        (["--trajectories", "9", "--samples", "2"], "trajectories is a multiple of samples"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(flags, told, tmp_path, capsys):
    command = [*kind_of_run("online-dpo", tmp_path), *flags, "--out", str(tmp_path / "out")]
    assert run_command(command) == 2
    assert told in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_python_is_told_the_same(tmp_path):
    with pytest.raises(InputError, match="samples is 1, expected 2 or more"):
        trained(ONLINE_DPO, OnlineDPOConfig(**QUICK, samples=1), tmp_path / "run")
