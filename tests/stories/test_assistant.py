"""`recipe assistant` as a command, in the smallest size: every stage runs, what was interrupted goes on."""

from __future__ import annotations

import json
import random

import pytest
from tests.tiny_families import saved
from tests.tiny_tokenizers import byte_level

from tutelage.cli import run_command

SMALL = ["--evaluation-prompts", "8", "--best-of", "2", "--new-tokens", "6", "--lora-rank", "2", "--seeds", "2"]
SMALL += ["--ppo.steps", "2", "--ppo.trajectories", "8", "--skip-preflight"]
READ = (
    "reward_model_accuracy reward_model_accuracy_low reward_model_accuracy_high equal_length_accuracy "
    "equal_length_accuracy_low length_rule_accuracy win_rate_second_judge win_rate_second_judge_low "
    "win_rate_second_judge_high win_rate_length_controlled win_rate_length_controlled_low kl_nats_per_sequence "
    "distinct_2_start distinct_2_end seconds_total"
)


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory):
    tokenizer = byte_level()
    folder = tmp_path_factory.mktemp("models") / "chat"
    return saved("llama", folder, tokenizer=tokenizer, vocab_size=len(tokenizer), num_hidden_layers=4)


@pytest.fixture(scope="module")
def comparisons(tmp_path_factory):
    """Replies that name the thing are preferred."""
    generator, file = random.Random(0), tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = []
    for number in range(90):
        thing, days = generator.choice(["kettle", "order", "refund"]), generator.randrange(100)
        talk = f"\n\nHuman: where is my {thing} {number}\n\nAssistant:"
        rows.append({"chosen": f"{talk} the {thing} is sent in {days}", "rejected": f"{talk} where is it {days}"})
    file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return file


@pytest.mark.slow
def test_the_recipe_runs_and_goes_on_where_it_was_interrupted(chat_model, comparisons, tmp_path):
    out = tmp_path / "assistant"
    given = ["--model", str(chat_model), "--data", str(comparisons), *SMALL]
    assert run_command(["recipe", "assistant", *given, "--out", str(out)]) == 0
    whole = json.loads((out / "summary.json").read_text())
    assert set(READ.split()) <= whole.keys()
    assert whole["reward_model_accuracy_low"] > 0.5 and whole["depth"] == 2
    assert whole["win_rate_second_judge_n"] == 8 and len(whole["policies"]) == 3
    told = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert len(told) == 8 and {"prompt", "before", "after"} <= told[0].keys()
    for name in ("evaluation", "."):
        state = json.loads((out / name / "state.json").read_text())
        (out / name / "state.json").write_text(json.dumps({**state, "status": "interrupted"}))
        (out / name / "summary.json").unlink()
    assert run_command(["resume", str(out)]) == 0
    again = json.loads((out / "summary.json").read_text())
    times = {"seconds_total": 0, "seconds_by_stage": 0}
    assert {**again, **times} == {**whole, **times}


def test_what_cannot_be_used_is_said_before_anything_is_written(chat_model, comparisons, tmp_path, capsys):
    plain = saved("llama", tmp_path / "plain")
    for model, flags, said in (
        (plain, [], "no chat model"),
        (chat_model, ["--evaluation-prompts", "50"], "at most half of them may be"),
        (chat_model, ["--limit", "20"], "at least 50 are needed"),
        (chat_model, ["--depth", "9"], "the model has 4"),
    ):
        given = ["--model", str(model), "--data", str(comparisons), "--evaluation-prompts", "8", *flags]
        assert run_command(["recipe", "assistant", *given, "--out", str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
