"""What samples keep of every token: the numbers that PPO learned from, beside the words they belong to."""

from __future__ import annotations

import pytest
import torch
from tests.conftest import letters_tokenizer

from tutelage.algorithms.ppo import PPO, PPOConfig
from tutelage.data.tokens import Codec, written
from tutelage.execution.native import SamplingSettings
from tutelage.policies.language import LanguagePolicy
from tutelage.rewards.language import TextScore
from tutelage.runs.files import read_lines
from tutelage.runs.run import Run
from tutelage.training.callbacks import Callbacks
from tutelage.training.engine import LOCAL
from tutelage.training.models import critic_of, language_models
from tutelage.training.speaker import Speaker
from tutelage.training.token_rows import COLUMNS, token_columns
from tutelage.training.train import train
from tutelage.trajectory import Batch, Task

COEFFICIENT = 0.3


@pytest.fixture
def rows(tiny_llama, tiny_classifier, tmp_path):
    """Samples of a short run whose first two episodes of a step are kept, and its events."""
    codec = Codec(letters_tokenizer(pad_token="<eos>"))
    config = PPOConfig(steps=3, trajectories=2, learning_rate=1e-3, kl_coefficient=COEFFICIENT)
    speaker = Speaker(LanguagePolicy(tiny_llama), codec, SamplingSettings(max_new_tokens=6))
    run = Run.create(tmp_path / "run", config)

    def look(step, batch, score_BT):
        asked, replied = codec.prompts_and_responses(batch)
        scores = score_BT.sum(dim=1).tolist()
        return [{"prompt": p, "response": r, "score": s} for p, r, s in zip(asked, replied, scores)]

    score = TextScore(lambda prompts, replies: [float(len(each)) for each in replies], codec)
    critic = critic_of(speaker.policy, tiny_classifier)
    task = Task(speaker.environment(["ab ", "cd "]), score)
    train(PPO, config, task, language_models(speaker, critic), LOCAL, run, Callbacks(look, probes=0))
    return read_lines(run.path / "samples.jsonl"), read_lines(run.path / "events.jsonl")


def test_pieces_are_the_reply_and_columns_are_as_long(rows):
    samples, _ = rows
    assert [row["step"] for row in samples] == [0, 0, 1, 1, 2, 2]
    for row in samples:
        assert "".join(row["tokens"]).replace("<eos>", "") == row["response"]
        assert {len(row[name]) for name in COLUMNS} == {len(row["tokens"])}


def test_the_numbers_are_those_that_were_learned_from(rows):
    """log-ratios sum to the step's KL; r_t = −coefficient · log-ratio, plus the score at the last token."""
    samples, events = rows
    for event in events:
        mine = [row for row in samples if row["step"] == event["step"]]
        kl = sum(sum(row["log_ratio_nats"]) for row in mine) / len(mine)
        assert kl == pytest.approx(event["kl_nats_per_sequence"], abs=2e-3)
        for row in mine:
            expected = [-COEFFICIENT * ratio for ratio in row["log_ratio_nats"]]
            expected[-1] += row["score"]
            assert row["reward"] == pytest.approx(expected, abs=2e-3)
        advantages = [value for row in mine for value in row["advantage"]]
        assert sum(advantages) == pytest.approx(0.0, abs=0.02)  # whitened over the batch, which these two are
    assert all(ratio == 0.0 for row in samples if row["step"] == 0 for ratio in row["log_ratio_nats"])


def test_seconds_by_phase_are_recorded_and_are_no_more_than_the_step_took(rows):
    _, events = rows
    parts = [sum(event[f"seconds_{phase}"] for phase in ("sampling", "scoring", "learning")) for event in events]
    assert all(part > 0 for part in parts) and sum(parts) <= events[-1]["seconds"] + 0.01


def test_the_other_sides_words_have_no_numbers():
    """Only actions of the policy were learned from."""
    codec = Codec(letters_tokenizer(pad_token="<eos>"))
    batch = Batch.of([written(codec.prompt("ab "), codec.prompt("cdef"))])
    mask_BT = batch.mask_BT.clone()
    mask_BT[0, 3] = False  # the second letter of the reply was the other side's
    batch = Batch(**{**vars(batch), "mask_BT": mask_BT})
    numbers = torch.arange(batch.mask_BT.shape[1]).float()[None] / 10
    targets = batch.with_extras(**dict.fromkeys(COLUMNS.values(), numbers))
    found = token_columns(codec, targets, 0)
    assert found["tokens"][0] == "c" and found["value"][1] is None and found["value"][0] is not None
