"""DPO and KTO: what they learn from, what is computed once, what is recorded, what is refused."""

from __future__ import annotations

import json
import math

import pytest
import torch
from tests.conftest import letters_tokenizer
from transformers import AutoModelForCausalLM

from tutelage.algorithms.dpo import DPO, DPOConfig
from tutelage.algorithms.kto import KTO, KTOConfig, mean_of_sides, mismatch_replies
from tutelage.cli import run_command
from tutelage.data.errors import InputError
from tutelage.data.judgements import judged, tokenised
from tutelage.data.questions import Pair, Question, ranked
from tutelage.data.tokens import Codec
from tutelage.data.unpaired import AXIS, split_into_replies
from tutelage.execution.native import SamplingSettings
from tutelage.models.lora import with_lora
from tutelage.policies import language
from tutelage.policies.language import LanguagePolicy
from tutelage.runs.files import read_lines
from tutelage.runs.run import Run
from tutelage.training.engine import LOCAL
from tutelage.training.models import language_models
from tutelage.training.speaker import Speaker
from tutelage.training.train import train

CODEC = Codec(letters_tokenizer())
PROMPTS = [f"{first}{second} " for first in "abcd" for second in "abcd"]
PAIRS = [Question(prompt, ("a !", f"bb{prompt[0]}"), (Pair(0, 1, 1.0),)) for prompt in PROMPTS]
SINGLE = [one for each in PAIRS for one in split_into_replies(each)]
ROWS = {
    "pairs": [{"prompt": each.prompt, "chosen": each.responses[0], "rejected": each.responses[1]} for each in PAIRS],
    "rated": [{"prompt": p, "completion": c, "label": c == "a !"} for p in PROMPTS for c in ("a !", "bb")],
    "good": [{"prompt": p, "completion": "a !", "label": True} for p in PROMPTS],
    "equal": [{"prompt": p, "chosen": "a !", "rejected": "a ! "} for p in PROMPTS],
    "ties": [{"q": p, "a": "a !", "b": "bb", "vote": 0} for p in PROMPTS],
    "stars": [{"q": p, "r": "ab"[n % 2], "help": 1 + n % 5} for n, p in enumerate(PROMPTS)],
    "axes": [{"q": p, "r": "ab"[n % 2], "kind": n % 2, "right": n % 2} for n, p in enumerate(PROMPTS)],
}
COLUMNS = {
    "ties": ["prompt=q", "responses=[a, b]", "preference={column: vote, first: 1, second: 2, tie: 0}", "form=text"],
    "stars": ["prompt=q", "responses=r", "ratings={help: help}", "form=text"],
    "axes": ["prompt=q", "responses=r", "ratings={kind: kind, right: right}", "form=text"],
}


def judgements(questions, axes=()):
    return judged(tokenised(CODEC, questions)[0], questions, axes)


def trained(algorithm, config, task, model, folder):
    """Rows of events.jsonl of a run in Python."""
    speaker = Speaker(LanguagePolicy(model), CODEC, SamplingSettings())
    run = Run.create(folder, config)
    assert train(algorithm, config, task, language_models(speaker), LOCAL, run) == config.steps
    return read_lines(folder / "events.jsonl")


@pytest.fixture
def command(model_folder, tmp_path, capsys):
    """(verb, kind of data, *flags) -> (exit code, run folder, what was said on the error stream)."""

    def call(verb, kind, *flags, out="out"):
        path = tmp_path / f"{kind}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS[kind]))
        words = [verb, "--model", str(model_folder), "--data", str(path), "--out", str(tmp_path / out)]
        words += ["--columns", *COLUMNS[kind]] if kind in COLUMNS else []
        code = run_command([*words, "--batch-size", "8", *flags])
        return code, tmp_path / out, capsys.readouterr().err

    return call


@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "simpo"])
def test_dpo_starts_at_its_reference_without_a_second_model(loss, tiny_llama, tmp_path, monkeypatch):
    """Loss log 2 (ipo: 1/4β²), implicit rewards 0; nothing is copied, and the reference is read before training."""
    monkeypatch.setattr(language, "frozen_copy", None)
    config = DPOConfig(loss=loss, steps=3, batch_size=4, learning_rate=1e-3)
    rows = trained(DPO, config, judgements(PAIRS), tiny_llama, tmp_path / "run")
    if loss != "simpo":
        assert rows[0]["loss"] == pytest.approx({"sigmoid": math.log(2), "ipo": 25.0}[loss], abs=1e-5)
        assert [rows[0][f"rewards_{name}"] for name in ("chosen", "rejected", "margins")] == pytest.approx([0.0] * 3)
        assert rows[0]["accuracy"] == 0.5
    assert rows[2]["loss"] < rows[0]["loss"] and rows[2]["rewards_margins"] > rows[0]["rewards_margins"]
    assert rows[0]["log_probs_chosen"] < 0 and rows[0]["log_probs_rejected"] < 0


def test_the_reference_of_an_adapter_is_the_model_below_it(tiny_llama, tmp_path):
    before = {name: each.clone() for name, each in tiny_llama.state_dict().items()}
    model, config = with_lora(tiny_llama, 2), DPOConfig(steps=4, batch_size=16, learning_rate=1e-2)
    rows = trained(DPO, config, judgements(PAIRS), model, tmp_path / "run")
    assert rows[0]["rewards_margins"] == pytest.approx(0.0, abs=1e-6) and rows[3]["rewards_margins"] > 1e-3
    after = {name.replace("base_layer.", ""): each for name, each in model.get_base_model().state_dict().items()}
    assert all(torch.equal(each, after[name]) for name, each in before.items())


def test_a_tie_holds_rewards_together_and_a_ranking_is_all_its_pairs(tiny_llama, tmp_path):
    tie = [Question(each.prompt, each.responses, (Pair(0, 1, 0.5),)) for each in PAIRS]
    ranking = [Question(each.prompt, ("a !", "c", "bb"), ranked({0: 1, 1: 2, 2: 3})) for each in PAIRS]
    config = DPOConfig(steps=3, batch_size=8, learning_rate=1e-3)
    rows = trained(DPO, config, judgements([*tie[:2], *ranking]), tiny_llama, tmp_path / "run")
    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-5) and rows[2]["loss"] < rows[0]["loss"]


def test_kto_does_not_depend_on_micro_batches(tiny_llama, tmp_path):
    """The baseline is that of the whole minibatch: TRL's is that of each micro-batch, so its loss depends on them."""
    state, found = {name: each.clone() for name, each in tiny_llama.state_dict().items()}, []
    for tokens in (8, 4096):
        tiny_llama.load_state_dict(state)
        config = KTOConfig(steps=4, batch_size=16, learning_rate=1e-2, tokens_at_once=tokens, beta=0.5)
        rows = trained(KTO, config, judgements(SINGLE, (AXIS,)), tiny_llama, tmp_path / str(tokens))
        found.append([rows[3][name] for name in ("loss", "baseline_nats", "rewards_chosen", "rewards_rejected")])
    assert found[0] == pytest.approx(found[1], rel=1e-4) and found[0][1] > 0.01
    assert found[0][2] > 0 > found[0][3]


def test_every_prompt_is_set_before_a_reply_to_another_one():
    rows = judgements(SINGLE, (AXIS,)).candidates
    others = mismatch_replies(rows, seed=3)
    before, after = CODEC.prompts_and_responses(rows), CODEC.prompts_and_responses(others)
    assert before[0] == after[0] and sorted(before[1]) == sorted(after[1])
    first_letters = [(prompt[0], reply[2]) for prompt, reply in zip(*after, strict=True) if reply.startswith("bb")]
    assert any(letter != of for letter, of in first_letters)  # bb is followed by the first letter of its own prompt
    assert torch.equal(mismatch_replies(rows, seed=3).actions, others.actions)
    assert not torch.equal(mismatch_replies(rows, seed=4).actions, others.actions)


def test_what_is_good_or_bad_of_a_question():
    question = Question("q", ("a", "b", "c"), ranked({0: 1, 1: 2, 2: 3}), ratings={"x": (1.0, 0.5, None)})
    assert [(each.responses, each.ratings[AXIS]) for each in split_into_replies(question)] == [
        (("a",), (1.0,)),
        (("c",), (0.0,)),
    ]
    assert [each.responses for each in split_into_replies(question, "x")] == [("a",)]
    assert split_into_replies(Question("q", ("a", "b"), (Pair(0, 1, 0.5),))) == []


def test_sides_of_a_minibatch_have_their_own_means():
    stats = {"loss": 0.5, "share_chosen": 0.25, "share_rejected": 0.75}
    stats |= {"rewards_chosen": 0.5, "rewards_rejected": -0.75, "log_probs_chosen": -1.0, "log_probs_rejected": -3.0}
    found = mean_of_sides(stats)
    assert found["rewards_chosen"] == 2.0 and found["rewards_rejected"] == -1.0 and found["rewards_margins"] == 3.0
    one_side = mean_of_sides({**stats, "share_chosen": 0.0})
    assert "rewards_chosen" not in one_side and "rewards_margins" not in one_side


@pytest.mark.parametrize(
    ("verb", "kind", "flags"),
    [
        ("dpo", "pairs", []),
        ("dpo", "pairs", ["--loss", "ipo", "--per-token"]),
        ("dpo", "pairs", ["--loss", "simpo", "--target-margin", "0.5"]),
        ("dpo", "pairs", ["--lora-rank", "2", "--label-smoothing", "0.1"]),
        ("kto", "pairs", []),
        ("kto", "rated", ["--good-weight", "1.2"]),
        ("kto", "axes", ["--axis", "right"]),
    ],
)
def test_the_commands_leave_a_model_that_loads_and_say_what_is_held_out(command, verb, kind, flags):
    code, out, said = command(verb, kind, "--steps", "2", *flags)
    assert code == 0, said
    summary = json.loads((out / "summary.json").read_text())
    name = "accuracy" if verb == "dpo" else "area_under_curve"
    assert 0 <= summary[name] <= 1 and summary["held_out"] > 0 and {f"{name}_low", f"{name}_n"} <= summary.keys()
    if "--lora-rank" not in flags:
        AutoModelForCausalLM.from_pretrained(out / "model")
    assert (out / "report.html").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "kind"), [("dpo", "pairs"), ("kto", "rated")])
def test_each_learns_what_people_said(command, verb, kind):
    """Of prompts it did not learn from, too: the preferred reply became likelier than under the reference."""
    code, out, said = command(verb, kind, "--epochs", "10", "--learning-rate", "1e-3", "--held-out-fraction", "0.25")
    assert code == 0, said
    summary = json.loads((out / "summary.json").read_text())
    assert summary["accuracy" if verb == "dpo" else "area_under_curve"] == 1.0
    rows = read_lines(out / "events.jsonl")
    assert rows[-1]["rewards_chosen"] > 0 > rows[-1]["rewards_rejected"]


@pytest.mark.parametrize(
    ("verb", "kind", "flags", "told"),
    [
        ("dpo", "rated", [], "without a pair (kto learns from ratings)"),
        ("dpo", "equal", [], "with chosen equal to rejected"),
        ("dpo", "ties", [], "every pair is a tie"),
        ("dpo", "pairs", ["--label-smoothing", "0.5"], "label_smoothing is 0.5"),
        ("dpo", "pairs", ["--beta", "0"], "beta is 0.0"),
        ("dpo", "pairs", ["--steps", "0"], "--steps is 0"),
        ("kto", "good", [], "replies are good, and kto needs both kinds"),
        ("kto", "ties", [], "with no reply that is clearly good or bad"),
        ("kto", "stars", [], "kto takes ratings from 0 (bad) to 1 (good), and help has"),
        ("kto", "axes", [], "Say with --axis"),
        ("kto", "rated", ["--axis", "tone"], "the data has no such ratings"),
        ("kto", "rated", ["--good-weight", "-1"], "weights of 0 or more"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_in_a_sentence(command, verb, kind, flags, told):
    code, out, said = command(verb, kind, *flags)
    assert code == 2 and told in said and "Traceback" not in said, said
    assert not out.exists()


def test_python_is_told_the_same(tiny_llama, tmp_path):
    rated = judgements([Question("a ", ("a", "b"), ratings={AXIS: (1.0, 0.0)})], (AXIS,))
    with pytest.raises(InputError, match="dpo learns from pairs, and 1 of the 1 questions have none"):
        trained(DPO, DPOConfig(steps=1), rated, tiny_llama, tmp_path / "dpo")
    with pytest.raises(InputError, match="kto learns from single replies"):
        trained(KTO, KTOConfig(steps=1), rated, tiny_llama, tmp_path / "kto")
