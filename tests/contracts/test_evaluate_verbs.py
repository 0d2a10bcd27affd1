"""`tutelage evaluate ...` on the command line: what is left behind, what was learned from is left out, bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tutelage.cli import run_command
from tutelage.commands.evaluate_reward_models import learned_prompts
from tutelage.data.split import by_prompt
from tutelage.report.plots import script
from tutelage.rewards.text_scores import labels
from tutelage.runs.files import read_json, read_lines


def count_of_a(prompts, responses):
    return [float(response.count("a")) for response in responses]


def first_is_better(prompts, firsts, seconds):
    return [0.75] * len(prompts)


SCHEMA = (Path(__file__).parents[2] / "docs" / "schema.md").read_text(encoding="utf-8")
SCORES, PREFERS = f"{__name__}:count_of_a", f"{__name__}:first_is_better"


def evaluated(files, *command, name="evaluation"):
    """(summary, the page without plotly's own script) of `evaluate ...`."""
    out = files / name
    assert run_command(["evaluate", *map(str, command), "--out", str(out)]) == 0
    summary = read_json(out / "summary.json")
    for each in (summary, *summary.get("reward_models", [])):  # what is in them: tests/docs
        assert {key for key in each if f"`{key}`" not in SCHEMA and not key.endswith(("_low", "_high", "_n"))} <= {"by"}
    return summary, (out / "report.html").read_text().replace(str(script()), "")


def refused(capsys, files, *command):
    assert run_command(["evaluate", *map(str, command), "--out", str(files / "refused"), "--overwrite"]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("tutelage: ") and not list((files / "refused").glob("summary.json"))
    return message


@pytest.fixture
def trained(model_folder, files):
    """A reward model that prefers a's, and the data of one that was taught the opposite."""
    rows = [json.loads(line) for line in (files / "comparisons.jsonl").read_text().splitlines()]
    turned = [
        {"prompt": row["prompt"].upper().lower() + "b ", "chosen": row["rejected"], "rejected": row["chosen"]}
        | {"kind": "ab"[place % 2], "row": place}
        for place, row in enumerate(rows)
    ]
    (files / "turned.jsonl").write_text("".join(json.dumps(row) + "\n" for row in turned))
    command = ["reward-model", "--model", str(model_folder), "--data", str(files / "comparisons.jsonl")]
    assert run_command([*command, "--out", str(files / "likes-a"), "--epochs", "8", "--learning-rate", "3e-3"]) == 0
    return files / "likes-a" / "model"


def test_a_reward_model_is_measured_on_what_it_never_learned_from(trained, files, capsys):
    learned = learned_prompts(str(trained))
    assert learned is not None
    summary, page = evaluated(files, "reward-model", "--model", trained, "--data", files / "comparisons.jsonl")
    training = read_json(trained.parent / "summary.json")
    (row,) = summary["reward_models"]
    # the same split as in training: held out there, measured here
    assert row["accuracy"]["pairs"] == training["held_out"] and row["rows_learned_from"] == len(learned) > 0
    assert row["accuracy"]["accuracy"] == training["accuracy"] == summary["accuracy"]
    assert row["accuracy"]["length_rule_accuracy"] == training["length_rule_accuracy"]
    assert row["learned_from_known"] and summary["temperature"] is not None
    assert "Against what people said" in page and "claimed" in page
    said = capsys.readouterr().out
    assert re.search(r"accuracy +1\.000 \[0\.\d+, 1\.000\]; longest reply", said) and "rows left out" in said


def test_scores_do_not_depend_on_the_batch(trained, files):
    """One long batch in training, parts by length here: the same scores, so the same summary to the digit."""
    first, _ = evaluated(files, "reward-model", "--model", trained, "--data", files / "turned.jsonl", name="one")
    lines = (files / "turned.jsonl").read_text().splitlines(keepends=True)
    (files / "turned.jsonl").write_text("".join(reversed(lines)))
    second, _ = evaluated(files, "reward-model", "--model", trained, "--data", files / "turned.jsonl", name="two")
    assert first["calibration_error"] == pytest.approx(second["calibration_error"], abs=1e-5)
    assert first["temperature"] is None  # of the opposite taste: no temperature makes it right


def test_a_cross_table_shows_who_falls_below_chance(trained, files, capsys):
    data = ["--data", files / "comparisons.jsonl", files / "turned.jsonl", "--by", "kind"]
    assert "no such column" in refused(capsys, files, "reward-model", "--model", trained, *data)
    summary, page = evaluated(files, "reward-model", "--model", trained, *data[:-2])
    here, turned = summary["reward_models"]
    assert summary["models"] == ["likes-a"] and summary["data"] == ["comparisons", "turned"]
    assert here["accuracy"]["accuracy"] == 1.0 and not here["accuracy"]["below_chance"]
    assert turned["accuracy"]["accuracy"] < 0.1 and turned["accuracy"]["below_chance"]
    assert "on turned" in page and page.count("<b>below chance</b>") == 1 and "accuracy" not in summary
    assert "BELOW CHANCE" in capsys.readouterr().out


def test_subsets_and_limits(trained, files, capsys):
    command = ["reward-model", "--model", trained, "--data", files / "turned.jsonl"]
    summary, page = evaluated(files, *command, "--by", "kind", "--limit", "20")
    by = summary["reward_models"][0]["by"]
    assert [row["subset"] for row in by["subsets"]] == ["a", "b"] and sum(row["pairs"] for row in by["subsets"]) == 20
    assert "unweighted mean" in page and "unweighted" in capsys.readouterr().out
    assert "kind, row" in refused(capsys, files, *command, "--by", "subset")


def test_ratings_are_measured_too(trained, files):
    rows = [
        {"prompt": f"q{c} ", "completion": "a !" if good else f"b{c}", "label": good}
        for c in "abcdef"
        for good in (True, False)
    ]
    (files / "rated.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary, page = evaluated(files, "reward-model", "--model", trained, "--data", files / "rated.jsonl")
    found = summary["reward_models"][0]["ratings"]["label"]
    assert found["ratings"] == 12 and "area under curve" in page
    assert found["area_under_curve"] > 0.8 and found["length_area_under_curve"] == 1.0
    assert found["area_under_curve_low"] < 0.5 and found["area_under_curve_n"] == 6  # six prompts do not tell it from ½


def test_votes_give_a_ceiling(trained, files):
    rows = [
        {"q": f"a{c} ", "one": "a !", "two": f"b{c}", "x": 1, "y": 1 if c < "d" else 2, "z": 1 if c != "a" else 0}
        for c in "abcdefgh"
    ]
    (files / "votes.json").write_text(json.dumps(rows))
    columns = ["prompt=q", "responses=[one, two]", "preference.column=[x, y, z]", "preference.first=1"]
    columns += ["preference.second=2", "preference.tie=0", "form=text"]
    command = ["reward-model", "--model", trained, "--data", files / "votes.json", "--columns", *columns]
    summary, page = evaluated(files, *command)
    people = summary["reward_models"][0]["people"]
    assert (people["people"], people["pairs"], people["unanimous"]) == (3, 8, 2)
    assert people["model_with_people"] > people["human_ceiling"]
    assert "the majority of the others" in page


def test_data_that_were_all_learned_from_and_models_that_are_none(trained, model_folder, files, capsys):
    learned = learned_prompts(str(trained)) or set()
    rows = [line for line in read_lines(files / "comparisons.jsonl") if line["prompt"] in learned]
    (files / "seen.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    message = refused(capsys, files, "reward-model", "--model", trained, "--data", files / "seen.jsonl")
    assert "seen.jsonl" in message and "learned from all" in message
    message = refused(capsys, files, "reward-model", "--model", model_folder, "--data", files / "comparisons.jsonl")
    assert "LlamaForCausalLM" in message and "tutelage reward-model" in message
    message = refused(capsys, files, "reward-model", "--model", trained, "--data", files / "prompts.jsonl")
    assert "prompts.jsonl" in message


def test_what_another_program_trained_on_is_not_known(trained, files, capsys):
    (trained.parent / "config.json").unlink()
    assert learned_prompts(str(trained)) is None
    summary, _ = evaluated(files, "reward-model", "--model", trained, "--data", files / "comparisons.jsonl")
    assert summary["reward_models"][0]["learned_from_known"] is False
    assert "may have seen these prompts" in capsys.readouterr().out


def test_data_that_are_gone_are_said(trained, files, capsys):
    (files / "comparisons.jsonl").rename(files / "moved.jsonl")
    assert learned_prompts(str(trained)) is None and "cannot be read again" in capsys.readouterr().out


def test_learned_prompts_are_those_of_the_split(trained, files):
    rows = read_lines(files / "comparisons.jsonl")
    learned, held = by_prompt(rows, lambda row: row["prompt"], 0.1, 0)
    assert learned_prompts(str(trained)) == {row["prompt"] for row in learned}
    assert not learned_prompts(str(trained)) & {row["prompt"] for row in held}


def test_names_are_short_where_that_tells_them_apart():
    assert labels(["runs/helpful/model", "x/harmless.jsonl.gz"]) == ["helpful", "harmless"]
    assert labels(["a/rm/model", "b/rm/model"]) == ["a/rm/model", "b/rm/model"]


def test_policies_by_several_judges_and_people(model_folder, trained, files, capsys):
    second = files / "second"
    second.symlink_to(model_folder)
    pair = ["policies", model_folder, second, "--max-new-tokens", "5"]
    data = ["--data", files / "prompts.jsonl"]
    questions = files / "questions.jsonl"
    summary, _ = evaluated(files, *pair, *data, "--write-questions", questions, name="asked")
    assert "win_rate" not in summary and summary["prompts"] == 8 and summary["kl_nats_per_sequence"] is not None
    rows = read_lines(questions)
    for place, row_ in enumerate(rows):  # people prefer what is shown first, in three of four
        row_["verdict"] |= {"choice": row_["verdict"]["shown"][place % 4 == 3], "rater": "ann"}
    questions.write_text("".join(json.dumps(row_) + "\n" for row_ in rows))
    judges = ["--judge", "people", SCORES, PREFERS, "reward-model", "--reward", trained]
    summary, page = evaluated(files, *pair, *judges, "--verdicts", questions)
    people, scores, prefers, model = summary["judges"]
    assert people["first_advantage"] > 0 and prefers["first_advantage"] == 0.5 and "first_advantage" not in scores
    assert people["swapped_pairs"] == people["pairs"] == len(rows) // 2 and prefers["win_rate"] == 0.5
    assert model["judge"] == "reward-model" and model["score_candidate"] != model["score_other"]
    assert len(summary["agreements"]) == 6 and summary["win_rate"] == people["win_rate"]
    assert "Who prefers the candidate" in page and "sees no place" in page
    assert "agree on" in capsys.readouterr().out
    message = refused(capsys, files, *pair, *data, "--write-questions", questions)
    assert "may hold answers" in message and read_lines(questions) == rows


def test_the_short_form_is_the_same_evaluation(model_folder, files):
    command = ["--data", files / "prompts.jsonl", "--max-new-tokens", "5", "--seed", "3"]
    short, _ = evaluated(
        files, "--model", model_folder, "--baseline", model_folder, "--reward", SCORES, *command, name="short"
    )
    long, _ = evaluated(files, "policies", model_folder, model_folder, "--judge", SCORES, *command, name="long")
    assert short == long and {"score_model", "score_baseline", "win_rate_low", "length_tokens_model"} <= short.keys()


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["--data", "prompts.jsonl"], "--judge is missing"),
        (["--judge", "gold"], "--data is missing"),
        (["--judge", "people", "--data", "prompts.jsonl"], "--verdicts FILE"),
        (["--judge", "reward-model", "--data", "prompts.jsonl"], "needs --reward"),
        (["--judge", "gold", "--reward", "x", "--data", "prompts.jsonl"], "does not name reward-model"),
        (["--judge", "silver", "--data", "prompts.jsonl"], "silver: expected gold"),
        (["--judge", "gold", "gold", "--data", "prompts.jsonl"], "named twice"),
        (["--judge", "people", "--verdicts", "v.jsonl"], "one name"),
        (["--judge", "gold", "--data", "prompts.jsonl", "--max-new-tokens", "4"], "helpdesk"),
    ],
)
def test_what_policies_cannot_be_compared_by(model_folder, files, capsys, monkeypatch, extra, says):
    monkeypatch.chdir(files)
    assert says in refused(capsys, files, "policies", model_folder, model_folder, *extra)


def test_a_word_that_is_no_evaluation(capsys, files):
    assert "there is no `tutelage evaluate everything`" in refused(capsys, files, "everything")


@pytest.mark.slow
def test_a_learning_curve_and_what_the_next_labels_bring(model_folder, files):
    command = ["learning-curve", "--model", model_folder, "--data", files / "comparisons.jsonl", "--batch-size", "4"]
    settings = ["--sizes", "4", "8", "16", "--seeds", "2", "--epochs", "6", "--learning-rate", "3e-3", "--more", "50"]
    summary, page = evaluated(files, *command, *settings, "--held-out-fraction", "0.5")
    found = summary["learning_curve"]
    assert [(row["labels"], row["seed"]) for row in found["points"]] == [(n, s) for n in (4, 8, 16) for s in (0, 1)]
    assert {len(read_json(each)["right"]) for each in files.glob("evaluation/*/summary.json")} == {summary["held_out"]}
    assert "What more labels would bring" in page and summary["length_rule_accuracy"] == 1.0
    if "not_fitted" not in found:
        assert summary["expected_gain_low"] <= summary["expected_gain"] <= summary["expected_gain_high"]
    stage = files / "evaluation" / "labels-000016-seed-1"
    began = (stage / "summary.json").stat().st_mtime_ns
    (files / "evaluation" / "state.json").write_text(
        (files / "evaluation" / "state.json").read_text().replace('"finished"', '"interrupted"')
    )
    assert run_command(["resume", str(files / "evaluation")]) == 0
    assert (stage / "summary.json").stat().st_mtime_ns == began  # a finished model is not trained again


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["--sizes", "4", "8"], "three label counts"),
        (["--sizes", "1", "4", "8"], "expected 2 to"),
        (["--sizes", "4", "8", "900"], "expected 2 to"),
        ([], "three label counts"),
    ],
)
def test_sizes_that_give_no_curve(model_folder, files, capsys, extra, says):
    command = ["learning-curve", "--model", model_folder, "--data", files / "comparisons.jsonl"]
    assert says in refused(capsys, files, *command, *extra)
