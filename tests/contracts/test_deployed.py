"""Drift after deployment, on the helpdesk's own prompts and replies: more of the same is none, the rest is named."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.sick_runs import ppo_run

from tutelage.cli import run_command
from tutelage.data.errors import InputError
from tutelage.data.helpdesk import demonstrations as desk
from tutelage.data.helpdesk import world
from tutelage.doctor.deployed import FEWEST, Deployment, Spoken, read_spoken
from tutelage.doctor.deployment_drift import sign_of
from tutelage.doctor.diagnosis import diagnose
from tutelage.evaluation.told_apart import plain, told_apart

COUNT = 200


def spoken(seed, split="labels", change=lambda case: case, **numbers):
    """The desk's customers, and its agents' replies; numbers as a policy has them of its own replies."""
    rng = np.random.default_rng(seed)
    cases = [change(case) for case in world.cases(split, COUNT, seed)]
    found = {"policy_excess": rng.normal(0.0, 0.3, COUNT), "score": rng.normal(0.0, 1.0, COUNT), **numbers}
    return Spoken([world.prompt(case, rng) for case in cases], [desk.reply(case, rng) for case in cases], found)


@pytest.mark.slow
def test_more_of_the_same_is_no_drift():
    """Other customers, other order numbers, other agents' moods; twelve times."""
    for seed in range(12):
        assert sign_of(Deployment(spoken(seed), spoken(100 + seed, "evaluation"))) is None


def test_customers_with_other_things_are_named():
    moved = spoken(7, "evaluation", lambda case: replace(case, item="bicycle"))
    sign = sign_of(Deployment(spoken(0), moved))
    assert sign is not None and sign.severity == "warning"
    assert any("prompts" in said and "bicycle" in said for said in sign.evidence)
    assert "judged" in sign.remedy and "--data" in sign.remedy


def test_longer_letters_are_told():
    long = spoken(7)
    long = replace(long, prompts=[f"{each} And another thing. " * 3 for each in long.prompts])
    sign = sign_of(Deployment(spoken(0), long))
    assert sign is not None and any("words a prompt" in said for said in sign.evidence)


@pytest.mark.parametrize(
    ("policy", "reference", "expected"),
    [(-0.5, 0.3, "colder"), (0.9, 0.01, "reference would say"), (0.9, 0.8, "would not say this")],
)
def test_likelihoods_tell_whose_fault_it_is(policy, reference, expected):
    rng = np.random.default_rng(3)
    home = spoken(0, reference_excess=rng.normal(-0.2, 0.3, COUNT))
    out = spoken(1, policy_excess=rng.normal(policy, 0.3, COUNT), reference_excess=rng.normal(reference, 0.3, COUNT))
    sign = sign_of(Deployment(home, out))
    assert sign is not None and sign.severity == "warning" and expected in sign.remedy
    least_likely = np.argsort(out.numbers["policy_excess"])[::-1][0]
    assert sign.samples[0] == out.replies[int(least_likely)]


def test_a_difference_that_chance_explains_or_nobody_minds_is_none():
    rng = np.random.default_rng(3)
    nearly = spoken(1, policy_excess=rng.normal(0.05, 0.3, COUNT), score=rng.normal(0.1, 1.0, COUNT))
    assert sign_of(Deployment(spoken(0), nearly)) is None


def test_a_classifier_does_not_learn_prompts_by_heart():
    """The same twenty prompts over and over, with replies of one kind: nothing tells them apart on other prompts."""
    rng = np.random.default_rng(0)
    prompts = world.prompts("labels", 40, 0)
    replies = [desk.reply(case, rng) for case in world.cases("labels", 400, 0)]
    groups = [prompts[place % 20 + 20 * (place >= 200)] for place in range(400)]
    told = told_apart(groups[:200], groups[200:], groups)
    assert told is not None and told.low < 0.6
    told = told_apart(replies[:200], replies[200:], groups)
    assert told is not None and told.low < 0.5 < told.high


def test_order_numbers_and_capitals_tell_nothing():
    assert plain("Order #K7T, PLEASE") == plain("order #Z2A, please") == "order 0 please"


def test_without_words_in_common_nothing_is_told():
    texts = [f"x{'y' * place}" for place in range(40)]
    assert told_apart(texts[:20], texts[20:], texts) is None
    assert told_apart(["a b"] * 30, ["a b"] * 30, ["same"] * 60) is None


# --- the file, and the verb


def rows(count=COUNT, name="response"):
    found = spoken(5)
    return [{"prompt": p, name: r} for p, r in zip(found.prompts[:count], found.replies[:count], strict=True)]


def written(path, content):
    path.write_text("".join(json.dumps(row) + "\n" for row in content))
    return str(path)


@pytest.mark.parametrize("name", ["response", "completion", "reply"])
def test_samples_are_read_by_the_usual_names(name, tmp_path):
    found, report = read_spoken(written(tmp_path / "new.jsonl", [*rows(60, name), {"prompt": " ", name: "x"}]))
    assert len(found) == 60 and report.dropped == {"with an empty prompt": 1}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (rows(FEWEST - 1), "49 samples; 50 are the least"),
        ([{"prompt": "p", "text": "r"}], "expected prompt and response"),
        ([{"prompt": "p", "response": 3}], "expected texts"),
    ],
)
def test_samples_that_cannot_be_used(content, expected, tmp_path):
    with pytest.raises(InputError, match=expected):
        read_spoken(written(tmp_path / "new.jsonl", content))


def test_the_finding_stands_beside_the_others(tmp_path):
    ppo_run(tmp_path / "run", kl_nats_per_sequence=lambda i: 2.0 * i, kl_nats_per_action=lambda i: 0.08 * i)
    moved = spoken(7, "evaluation", lambda case: replace(case, item="bicycle"))
    found = [each.disease for each in diagnose(tmp_path / "run", Deployment(spoken(0), moved)).findings]
    assert {"KL runaway", "drift after deployment"} <= set(found)
    assert "drift after deployment" not in diagnose(tmp_path / "run").unseen


def test_deployed_samples_belong_to_one_run_with_a_model(tmp_path, capsys):
    for name in ("a", "b"):
        ppo_run(tmp_path / name)
    file = written(tmp_path / "new.jsonl", rows())
    assert run_command(["doctor", str(tmp_path / "a"), str(tmp_path / "b"), "--deployed", file]) == 2
    assert "one run" in capsys.readouterr().err
    assert run_command(["doctor", str(tmp_path / "a"), "--deployed", file]) == 2
    assert "has no model" in capsys.readouterr().err
    assert run_command(["doctor", str(tmp_path / "a"), "--deployed", str(tmp_path / "nowhere.jsonl")]) == 2
    assert "nowhere.jsonl" in capsys.readouterr().err


def ends(prompts, responses):
    return [float(each.count("e")) for each in responses]


@pytest.fixture
def optimised(words_folder, tmp_path):
    """A run of PPO of a tiny model on eighty customers, far from where it began."""
    prompts = written(tmp_path / "prompts.jsonl", [{"prompt": each[:40]} for each in world.prompts("labels", 80, 0)])
    command = ["ppo", "--model", str(words_folder), "--data", prompts, "--reward", f"{__name__}:ends"]
    command += ["--max-new-tokens", "16", "--steps", "3", "--trajectories", "16", "--learning-rate", "3e-2"]
    command += ["--kl-coefficient", "0", "--skip-preflight", "--out", str(tmp_path / "run")]
    assert run_command([*command, "--on-disease", "off"]) == 0
    return tmp_path / "run"


def answers(model, temperature, tmp_path, seed="1"):
    """What a served model says to other customers: the file of samples."""
    prompts = written(tmp_path / "asked.jsonl", [{"prompt": p[:40]} for p in world.prompts("evaluation", 80, 1)])
    command = ["best-of-n", "--model", str(model), "--data", prompts, "--reward", f"{__name__}:ends", "--n", "1"]
    command += ["--max-new-tokens", "16", "--temperature", str(temperature), "--seed", seed]
    assert run_command([*command, "--out", str(tmp_path / f"served-{temperature}-{seed}"), "--overwrite"]) == 0
    return str(tmp_path / f"served-{temperature}-{seed}" / "samples.jsonl")


@pytest.mark.slow
def test_a_served_policy_and_what_can_go_wrong_with_it(optimised, words_folder, tmp_path, capsys):
    """The same policy at its own temperature; colder; the model from before the training."""

    def said(file):
        capsys.readouterr()
        code = run_command(["doctor", str(optimised), "--deployed", file, "--json"])
        (told,) = json.loads(capsys.readouterr().out)
        return code, {each["disease"]: each for each in told["findings"]}

    _, found = said(answers(optimised / "model", 1.0, tmp_path))
    assert "drift after deployment" not in found
    code, found = said(answers(optimised / "model", 0.3, tmp_path))
    assert code == 1 and "colder" in found["drift after deployment"]["remedy"]
    code, found = said(answers(words_folder, 1.0, tmp_path))
    assert code == 1
    remedy = found["drift after deployment"]["remedy"]  # bytes that are no text do not survive a file as they were
    assert "reference would say" in remedy or "would not say this" in remedy
