"""`tutelage reward-model` on labels of every kind: which loss is chosen, what is left behind, what is refused."""

from __future__ import annotations

import json
import math

import pytest
import torch
from tests.conftest import letters_tokenizer
from tests.resuming import differences
from transformers import AutoModelForSequenceClassification

from tutelage.cli import run_command
from tutelage.commands.labels import Asked, Labels, reading
from tutelage.commands.measures import measured
from tutelage.commands.reward_model import bootstrap
from tutelage.data import preferences
from tutelage.data.judgements import judged, tokenised
from tutelage.data.questions import Question, chosen
from tutelage.data.tokens import Codec, written
from tutelage.models.pretrained import load_sequence_classifier, load_tokenizer
from tutelage.rewards.ensemble import load_ensemble
from tutelage.rewards.language import Heads, RewardModel
from tutelage.runs.files import read_lines
from tutelage.trajectory import Batch

LETTERS = "abcdefgh"
PROMPTS = [f"{first}{second} " for first in LETTERS for second in LETTERS]
FOUR = ["a", "b !", "kk", "d d d"]
ROWS = {
    "pairs": [{"prompt": p, "chosen": "a !", "rejected": f"b{p[0]}"} for p in PROMPTS],
    "best": [{"prompt": p, "responses": FOUR, "choice": 2} for p in PROMPTS],
    "ranked": [{"q": p, "replies": FOUR[:3], "ranks": [3, 1, 1]} for p in PROMPTS[:32]]
    + [{"q": p, "replies": FOUR, "ranks": [3, 1, 1, 2]} for p in PROMPTS[32:]],
    "good": [{"prompt": p, "completion": f" {c}", "label": c == "a"} for p in PROMPTS for c in "ab"],
    "stars": [{"q": p, "r": "abc"[n % 3], "help": 1 + n % 3, "length": 0.5} for n, p in enumerate(PROMPTS)],
    "both": [{"q": p, "a": "a !", "b": "bbb", "vote": 1, "ok_a": 1, "ok_b": n % 2} for n, p in enumerate(PROMPTS)],
    "graded": [{"q": p, "a": "a !", "b": "bbb", "by": 2} for p in PROMPTS],
    "rules": [
        {"prompt": p, "completion": c, "rule": f"no {r}", "broken": c == r}
        for p in PROMPTS[:32] for c in "ab" for r in "ab"
    ],
}  # fmt: skip
COLUMNS = {
    "ranked": ["prompt=q", "responses=replies", "ranking=ranks", "form=text"],
    "stars": ["prompt=q", "responses=r", "ratings={help: help, length: length}", "form=text"],
    "both": [
        "prompt=q",
        "responses=[a, b]",
        "preference={column: vote, first: 1, second: 2}",
        "ratings={supported: {column: [ok_a, ok_b]}}",
        "form=text",
    ],
    "graded": ["prompt=q", "responses=[a, b]", "preference={column: by, scale: [3, -3]}", "form=text"],
}


@pytest.fixture
def job(model_folder, tmp_path, capsys):
    """(kind of data, *flags) -> (exit code, run folder, what was said on the error stream)."""

    def run(kind, *flags, out="out"):
        path = tmp_path / f"{kind}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS[kind]))
        command = ["reward-model", "--model", str(model_folder), "--data", str(path), "--out", str(tmp_path / out)]
        if kind in COLUMNS:
            command += ["--columns", *COLUMNS[kind]]
        quick = [] if "--epochs" in flags else ["--epochs", "0.2"]
        code = run_command([*command, "--batch-size", "8", *quick, *flags])
        return code, tmp_path / out, capsys.readouterr().err

    return run


def summary_of(found):
    code, out, said = found
    assert code == 0, said
    return json.loads((out / "summary.json").read_text())


@pytest.mark.parametrize(
    ("kind", "flags", "loss"),
    [
        ("pairs", [], "pairs"),
        ("best", [], "choice"),
        ("ranked", [], "pairs"),
        ("good", [], "binary"),
        ("stars", ["--axis", "help"], "squared"),
        ("both", [], "pairs"),
        ("pairs", ["--loss", "choice"], "choice"),
        ("pairs", ["--loss", "floored", "--error-fraction", "0.2"], "floored"),
        ("ranked", ["--loss", "plackett-luce"], "plackett-luce"),
        ("best", ["--loss", "pairs", "--label-smoothing", "0.1"], "pairs"),
        ("graded", ["--margin-scale", "1.0"], "pairs"),
        ("stars", ["--loss", "ordinal", "--axis", "help"], "ordinal"),
        ("both", ["--loss", "binary"], "binary"),
        ("rules", ["--by-rule"], "binary"),
    ],
)
def test_a_loss_for_every_label(job, kind, flags, loss):
    found = job(kind, *flags)
    summary = summary_of(found)
    assert summary["learned_from"] == loss and summary["questions_left_out"] == 0
    rated = loss in ("squared", "ordinal", "binary")
    assert ("accuracy" in summary) == (loss not in ("squared", "ordinal"))
    assert ("concordance" in summary) == rated and ("length_rule_accuracy" in summary) != rated
    assert summary["normalised_on"] == ("none" if rated else "held-out")
    assert all(math.isfinite(event["loss"]) for event in read_lines(found[1] / "events.jsonl"))
    AutoModelForSequenceClassification.from_pretrained(found[1] / "model")


@pytest.mark.slow
def test_each_loss_learns_what_it_is_told(job):
    """Held-out accuracy or concordance after a few epochs on rules that a tiny model can learn."""
    learn = ["--epochs", "8", "--learning-rate", "3e-3"]
    assert summary_of(job("best", *learn, out="a"))["accuracy"] == 1.0
    assert summary_of(job("ranked", *learn, out="b"))["accuracy"] > 0.8  # a tied pair of five or six is half right
    assert summary_of(job("ranked", "--loss", "plackett-luce", *learn, out="c"))["accuracy"] > 0.8
    assert summary_of(job("good", *learn, out="d"))["concordance"] > 0.9
    ordinal = summary_of(job("stars", "--loss", "ordinal", "--axis", "help", *learn, out="e"))
    assert ordinal["concordance"] == 1.0 and ordinal["length_rule_concordance"] == 0.5
    assert ordinal["grades"] == [1.0, 2.0, 3.0] and ordinal["thresholds"][0] < ordinal["thresholds"][1]
    assert summary_of(job("stars", "--axis", "help", *learn, out="f"))["concordance"] == 1.0
    assert (
        "gradient_norm_thresholds"
        in read_lines(job("stars", "--loss", "ordinal", "--axis", "help", out="g")[1] / "events.jsonl")[0]
    )


def test_thresholds_move_with_the_scores_they_cut(job):
    """Normalised to half the deviation, the same grades are given at the same replies."""
    flags = ["--loss", "ordinal", "--axis", "help", "--epochs", "2"]
    plain, scaled = (
        summary_of(job("stars", *flags, *more, out=out))
        for out, more in (("a", []), ("b", ["--normalise-on", "held-out", "--normalise-deviation", "1.5"]))
    )
    assert plain["normalised_on"] == "none" and scaled["normalised_on"] == "held-out"
    gain = (scaled["thresholds"][1] - scaled["thresholds"][0]) / (plain["thresholds"][1] - plain["thresholds"][0])
    shift = scaled["thresholds"][0] - gain * plain["thresholds"][0]
    first, second = (scores(job, out) for out in ("a", "b"))
    assert torch.allclose(gain * first + shift, second, atol=1e-4)


def scores(job, out, prompts=PROMPTS[:6], texts=("a", "bb")):
    folder = str(job("pairs", "--limit", "10", out=f"{out}-beside")[1].parent / out / "model")
    codec = Codec(load_tokenizer(folder))
    batch = Batch.of([written(*codec.pair(prompt, text)) for prompt in prompts for text in texts])
    with torch.no_grad():
        return RewardModel(load_sequence_classifier(folder))(batch)


def test_hold_out_is_by_prompt_over_both_sources(job, tmp_path):
    """Fact: no prompt of the held-out questions was learned from, though both sources have it."""
    (tmp_path / "also.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS["best"]))
    also = ["--also", str(tmp_path / "also.jsonl"), "--also-weight", "0.5", "--held-out-fraction", "0.25"]
    summary = summary_of(job("pairs", *also))
    assert summary["rows_used"] == 128 and summary["held_out"] == 16 == summary["also_held_out"]
    assert {"also_accuracy", "also_accuracy_low", "also_length_rule_accuracy"} <= summary.keys()


@pytest.mark.slow
def test_the_weight_of_a_second_source_decides_between_opposites(job, tmp_path):
    """Bai et al. 2022 in small: two sources that want the opposite; λ says which of them is followed."""
    turned = [{"prompt": row["prompt"], "chosen": row["rejected"], "rejected": row["chosen"]} for row in ROWS["pairs"]]
    (tmp_path / "turned.jsonl").write_text("".join(json.dumps(row) + "\n" for row in turned))
    learn = ["--epochs", "8", "--learning-rate", "3e-3", "--also", str(tmp_path / "turned.jsonl")]
    light = summary_of(job("pairs", *learn, "--also-weight", "0.2", out="light"))
    heavy = summary_of(job("pairs", *learn, "--also-weight", "5", out="heavy"))
    assert light["accuracy"] == 1.0 == heavy["also_accuracy"]
    assert light["also_accuracy"] == 0.0 == heavy["accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--bootstrap"], ["--shared-trunk"], ["--shared-trunk", "--bootstrap"]])
def test_members_are_an_ensemble_that_ppo_and_best_of_n_take(job, files, model_folder, flags):
    found = job("pairs", "--members", "3", *flags, "--epochs", "1", "--normalise-deviation", "1")
    summary = summary_of(found)
    assert summary["members"] == 3 and summary["disagreement"] > 0
    ensemble = load_ensemble(str(found[1] / "model"))
    assert [len(each.bias_H) for each in ensemble.models] == ([3] if "--shared-trunk" in flags else [1, 1, 1])
    codec = Codec(load_tokenizer(str(found[1] / "model" / "member-0")))
    batch = Batch.of([written(*codec.pair(prompt, text)) for prompt in PROMPTS[:8] for text in ("a !", "bb")])
    with torch.no_grad():
        said = ensemble(batch)
    assert len({tuple(column) for column in said.t().tolist()}) == 3  # no two members are the same
    least = ["--combine", "minimum"]
    quick = ["--data", str(files / "prompts.jsonl"), "--model", str(model_folder), "--max-new-tokens", "4"]
    reward = ["--reward", str(found[1] / "model"), *least]
    steps = ["--steps", "1", "--trajectories", "4", "--epochs", "1"]
    assert run_command(["ppo", *quick, *reward, *steps, "--out", str(files / "ppo")]) == 0
    assert run_command(["best-of-n", *quick, *reward, "--out", str(files / "best")]) == 0
    evaluate = ["evaluate", "--baseline", str(model_folder), *quick, *reward[:2], "--combine", "uwo"]
    assert run_command([*evaluate, "--uncertainty-coefficient", "0.5", "--out", str(files / "judged")]) == 0
    assert run_command([*evaluate[:-2], "--combine", "minimum", "--out", str(files / "least")]) == 0
    function = ["--reward", "tests.resuming:count_of_a", "--combine", "minimum", "--out", str(files / "refused")]
    assert run_command([*evaluate[: evaluate.index("--reward")], *function]) == 2


def test_every_member_is_scaled_on_the_same_held_out_candidates(job):
    """Normalised one by one: their mean on the sample is 0, and so is each member's."""
    found = job("pairs", "--members", "2", "--normalise-on", "references", "--references", references(job))
    assert summary_of(found)["normalised_on"] == "references"
    folder = found[1] / "model"
    codec = Codec(load_tokenizer(str(folder / "member-0")))
    batch = Batch.of([written(*codec.pair(prompt, "abc !")) for prompt in PROMPTS[:5]])
    with torch.no_grad():
        assert load_ensemble(str(folder))(batch).mean(dim=0).tolist() == pytest.approx([0.0, 0.0], abs=1e-5)


def references(job):
    path = job("pairs", "--limit", "10", out="beside")[1].parent / "references.jsonl"
    path.write_text("".join(json.dumps({"prompt": prompt, "completion": "abc !"}) + "\n" for prompt in PROMPTS[:5]))
    return str(path)


def test_references_are_the_zero_and_samples_may_be(job):
    found = job("pairs", "--references", references(job), out="a")
    assert summary_of(found)["normalised_on"] == "references"
    folder = str(found[1] / "model")
    codec = Codec(load_tokenizer(folder))
    batch = Batch.of([written(*codec.pair(prompt, "abc !")) for prompt in PROMPTS[:5]])
    with torch.no_grad():
        assert float(RewardModel(load_sequence_classifier(folder))(batch).mean()) == pytest.approx(0.0, abs=1e-5)
    sampled = job(
        "pairs", "--normalise-on", "samples", "--normalise-new-tokens", "6", "--normalise-samples", "20", out="b"
    )
    assert summary_of(sampled)["normalised_on"] == "samples"


def test_a_second_head_is_learned_beside_the_preference(job):
    found = job("both", "--auxiliary-axis", "supported", "--epochs", "8", "--learning-rate", "3e-3")
    assert summary_of(found)["accuracy"] == 1.0
    model = load_sequence_classifier(str(found[1] / "model"), labels=2)
    assert model.config.score_heads == ["preference", "supported"]
    codec = Codec(load_tokenizer(str(found[1] / "model")))
    batch = Batch.of([written(*codec.pair(prompt, text)) for prompt in PROMPTS[:6] for text in ("a !", "bbb")])
    with torch.no_grad():
        scores_B2 = Heads(model)(batch)
    assert (scores_B2[::2, 0] > scores_B2[1::2, 0]).all()  # "a !" is preferred
    assert (scores_B2[::2, 1] > 0).all()  # and always supported
    assert (scores_B2[::2, 1] > scores_B2[1::2, 1]).all()  # as "bbb" is half of the time


@pytest.mark.slow
def test_a_rule_classifier_tells_rules_apart_and_scores_a_policy(job, files, model_folder):
    """P(broken | dialogue, rule): the same reply breaks one rule and keeps the other."""
    found = job("rules", "--by-rule", "--epochs", "40", "--learning-rate", "3e-3")
    assert summary_of(found)["accuracy"] == 1.0
    (files / "rules.txt").write_text("no a\nno b\n")
    command = [
        "best-of-n",
        "--data",
        str(files / "prompts.jsonl"),
        "--model",
        str(model_folder),
        "--max-new-tokens",
        "3",
    ]
    command += ["--reward", str(found[1] / "model"), "--rules", str(files / "rules.txt"), "--combine", "minimum"]
    assert run_command([*command, "--out", str(files / "best")]) == 0
    assert all(0 <= row["score"] <= 1 for row in read_lines(files / "best" / "samples.jsonl"))


@pytest.mark.slow
def test_it_goes_on_with_the_head_that_it_had(job):
    """A rate of nearly 0 with --keep-head leaves scores as they were (but for the shift); without, the head is new."""
    first = job("pairs", "--epochs", "2", out="first")[1] / "model"
    nothing = ["--learning-rate", "1e-12", "--model", str(first)]
    kept, fresh = (
        summary_of(job("pairs", *nothing, *more, out=out))
        for more, out in ((["--keep-head"], "a"), (["--seed", "7"], "b"))
    )
    assert kept["accuracy"] >= fresh["accuracy"]
    before, same, new = (scores(job, out) for out in ("first", "a", "b"))
    assert torch.allclose(same - same.mean(), before - before.mean(), atol=1e-4)
    assert not torch.allclose(new - new.mean(), before - before.mean(), atol=1e-2)


def test_members_are_measured_by_their_mean_and_named_heads_by_the_first():
    """Two held-out pairs: the first head is wrong about both, the mean of the two is right about one."""
    rows = [Asked(Question(prompt, ("a", "bbb"), chosen(0, 2), 0)) for prompt in ("ab ", "cd ")]
    questions = [each.question for each in rows]
    batch = judged(tokenised(Codec(letters_tokenizer(pad_token="<eos>")), questions)[0], questions)
    scores_NKM = torch.tensor([[[0.0, 3.0], [1.0, 0.0]], [[0.0, 3.0], [4.0, 0.0]]])
    how = reading(Labels(), questions)
    assert measured(how, scores_NKM, batch, rows, members=True)["accuracy"] == 0.5
    found = measured(how, scores_NKM, batch, rows, members=False)
    assert found["accuracy"] == 0.0 == found["length_rule_accuracy"] and "disagreement" not in found
    spread = measured(how, scores_NKM, batch, rows, members=True)["disagreement"]
    assert spread == pytest.approx((1.5 + 0.5 + 1.5 + 2.0) / 4)


def test_the_flags_of_a_loss_arrive_in_it():
    questions = [Question("ab ", ("a", "bbb"), chosen(1, 2, margin=0.5), 1)]
    batch = judged(tokenised(Codec(letters_tokenizer(pad_token="<eos>")), questions)[0], questions)
    wrong = torch.tensor([[9.0, 1.0]])

    def loss(**flags):
        return float(reading(Labels(**flags), questions).objective(torch.empty(0)).loss(wrong, batch))

    assert loss(loss="floored", error_fraction=0.4) == pytest.approx(-math.log(0.2 + 0.6 / (1 + math.exp(8))), abs=1e-5)
    assert loss() == pytest.approx(8.000335, abs=1e-5)
    assert loss(margin_scale=4.0) == pytest.approx(10.000045, abs=1e-5)
    assert loss(label_smoothing=0.25) == pytest.approx(8.000335 - 0.25 * 8, abs=1e-5)
    assert loss(loss="choice", label_smoothing=0.25) == pytest.approx(8.000335 - 0.25 * 8, abs=1e-5)


@pytest.mark.parametrize("kind", ["pairs", "both"])
def test_an_ensemble_and_two_heads_are_evaluated_as_they_were_trained(job, files, kind):
    flags = ["--members", "2"] if kind == "pairs" else ["--auxiliary-axis", "supported"]
    found = job(kind, *flags, "--epochs", "2")
    command = ["evaluate", "reward-model", "--model", str(found[1] / "model"), "--out", str(files / "judged")]
    columns = ["--columns", *COLUMNS[kind]] if kind in COLUMNS else []
    assert run_command([*command, "--data", str(files / f"{kind}.jsonl"), *columns]) == 0
    row = json.loads((files / "judged" / "summary.json").read_text())["reward_models"][0]
    training = summary_of(found)
    assert row["accuracy"]["accuracy"] == training["accuracy"] and row["accuracy"]["pairs"] == training["held_out"]
    assert row["learned_from_known"]  # and left out


def test_a_bootstrap_draws_as_many_and_leaves_a_third_out():
    drawn = [bootstrap(3000, 0, member) for member in range(4)]
    for each in drawn:
        assert len(each) == 3000 and int(each.min()) >= 0 and int(each.max()) < 3000
        assert len(each.unique()) / 3000 == pytest.approx(1 - 1 / math.e, abs=0.02)
    assert not torch.equal(drawn[0], drawn[1])
    assert torch.equal(bootstrap(3000, 0, 2), drawn[2])


def test_flags_of_every_group_stand_in_a_settings_file_by_their_names(job, tmp_path):
    (tmp_path / "settings.yaml").write_text(
        "loss: floored\nmembers: 2\nnormalise_on: none\nprecision: fp32\nwarm_up: 3\n"
    )
    summary = summary_of(job("pairs", "--config", str(tmp_path / "settings.yaml")))
    assert (summary["learned_from"], summary["members"], summary["normalised_on"]) == ("floored", 2, "none")


def test_an_ensemble_resumed_between_members_is_the_same(job, monkeypatch, tmp_path):
    from tutelage.commands import reward_model as reward_models

    whole = job("pairs", "--members", "2", out="whole")[1]
    member = reward_models.member

    def interrupted(*given):
        if given[-1] == 1:
            raise KeyboardInterrupt
        return member(*given)

    monkeypatch.setattr(reward_models, "member", interrupted)
    assert job("pairs", "--members", "2", out="cut")[0] == 130
    monkeypatch.setattr(reward_models, "member", member)
    assert run_command(["resume", str(tmp_path / "cut")]) == 0
    assert differences(whole, tmp_path / "cut") == []


@pytest.mark.parametrize(
    ("kind", "flags", "said"),
    [
        ("pairs", ["--loss", "squared"], "the data has none. It has: pairs: 64"),
        ("pairs", ["--loss", "plackett-luce", "--label-smoothing", "0.1"], "--label-smoothing is not read"),
        ("ranked", ["--loss", "choice"], "a best of all K, and none of the 64 questions"),
        ("good", ["--loss", "pairs"], "learns from comparisons"),
        ("best", ["--loss", "plackett-luce"], "learns from rankings"),
        ("stars", [], "ratings on help, length. Say with --axis"),
        ("stars", ["--axis", "joy"], "--axis joy: the data has no such ratings. It has: help, length"),
        ("stars", ["--axis", "help", "--loss", "binary"], "help has 2"),
        ("stars", ["--axis", "length", "--loss", "ordinal"], "length has 1"),
        ("pairs", ["--axis", "help"], "--axis is not read by --loss pairs"),
        ("pairs", ["--auxiliary-axis", "supported"], "--auxiliary-axis supported: the data has no such ratings"),
        ("pairs", ["--margin-scale", "1", "--loss", "choice"], "--margin-scale is not read"),
        ("pairs", ["--margin-scale", "-1"], "--margin-scale is -1.0"),
        ("pairs", ["--label-smoothing", "0.5"], "--label-smoothing is 0.5"),
        ("pairs", ["--loss", "floored", "--error-fraction", "1"], "--error-fraction is 1.0"),
        ("pairs", ["--also-columns", "prompt=x"], "--also-columns is not read"),
        ("pairs", ["--also-weight", "0"], "--also-weight is 0.0"),
        ("pairs", ["--members", "0"], "--members is 0"),
        ("pairs", ["--bootstrap"], "need --members"),
        ("pairs", ["--members", "2", "--auxiliary-axis", "x"], "leave out --members"),
        ("pairs", ["--keep-head"], "is a language model"),
        ("pairs", ["--by-rule"], "broken, completion, prompt, rule"),
        ("pairs", ["--normalise-on", "references"], "needs --references"),
        ("pairs", ["--normalise-on", "none", "--normalise-deviation", "1"], "needs a sample"),
        ("pairs", ["--normalise-on", "samples", "--normalise-new-tokens", "64"], "no prompt leaves room"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_one_clear_error(job, kind, flags, said):
    code, _, message = job(kind, *flags)
    assert code == 2 and "Traceback" not in message
    assert said in message.strip().splitlines()[-1]


def test_a_second_source_that_teaches_nothing_is_refused(job, tmp_path):
    (tmp_path / "good.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS["good"]))
    code, _, message = job("pairs", "--also", str(tmp_path / "good.jsonl"))
    assert code == 2 and "reads none of its labels" in message


def test_rule_verdicts_of_records_are_one_question_for_each_rule_and_candidate(tmp_path, words_folder):
    record = {
        "context": {"prompt": "Hi"},
        "candidates": [{"id": "x", "text": " you"}, {"id": "y", "text": " there"}],
        "verdict": {"rules": {"be kind": {"x": False, "y": True}, " be brief": {"x": True}}},
    }
    (tmp_path / "records.jsonl").write_text(json.dumps(record) + "\n")
    found, report = preferences.rule_verdicts(str(tmp_path / "records.jsonl"), Codec(load_tokenizer(str(words_folder))))
    told = {(each.prompt, each.responses[0], each.ratings["broken"][0]) for each in found}
    assert told == {
        ("Hi you", "\n\nRule: be kind", 0.0),
        ("Hi there", "\n\nRule: be kind", 1.0),
        ("Hi you", "\n\nRule: be brief", 1.0),
    }
    assert report.rows_read == 3 and {each.columns["rule"] for each in found} == {"be kind", "be brief"}


@pytest.mark.parametrize("broken", ["maybe", 2, None])
def test_a_rule_verdict_that_is_none_is_refused(job, monkeypatch, broken):
    monkeypatch.setitem(ROWS, "rules", [{**ROWS["rules"][0], "broken": broken}])
    code, _, message = job("rules", "--by-rule")
    assert code == 2 and "line 1: broken is" in message
