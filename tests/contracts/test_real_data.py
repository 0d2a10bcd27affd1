"""Real weights and real comparisons, where they lie beside the repository; nothing in the package needs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification

from tutelage.cli import run_command
from tutelage.data.preferences import comparisons
from tutelage.data.sources import prompts
from tutelage.data.tokens import Codec
from tutelage.models.pretrained import load_tokenizer

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real weights and data are not beside this repository")
MODEL = str(DATA / "models" / "stories260K")


def test_human_comparisons_are_read_and_what_is_dropped_has_a_reason():
    found, report = comparisons(str(DATA / "hh-rlhf" / "helpful-base.jsonl.gz"), Codec(load_tokenizer(MODEL)))
    assert report.rows_read == 2354 and len(found) == 2354 - sum(report.dropped.values())
    assert report.dropped["with chosen equal to rejected"] == 2
    assert all(each.prompt.endswith("\n\nAssistant:") for each in found)
    longer = sum(len(each.responses[0]) > len(each.responses[1]) for each in found) / len(found)
    assert 0.5 < longer < 0.65  # people like the longer reply a little more often


def test_stories_open_with_thirty_two_tokens():
    codec = Codec(load_tokenizer(MODEL))
    found, report = prompts(str(DATA / "tinystories-sample" / "tinystories_a.txt"), codec)
    assert len(found) > 500 and report.rows_read > len(found)
    assert {len(codec.prompt(each)) for each in found[:50]} <= {31, 32, 33}


@pytest.mark.slow
def test_a_reward_model_of_human_comparisons(tmp_path, capsys):
    data = str(DATA / "hh-rlhf" / "helpful-base.jsonl.gz")
    command = ["reward-model", "--model", MODEL, "--data", data, "--limit", "300", "--max-tokens", "192"]
    assert run_command([*command, "--out", str(tmp_path / "rm")]) == 0
    said = capsys.readouterr().out
    for part in ("2354 rows read", "2 with chosen equal to rejected", "rows truncated", "longer reply"):
        assert part in said, said
    summary = json.loads((tmp_path / "rm" / "summary.json").read_text())
    assert summary["rows_used"] in range(300, 310) and 0 < summary["rows_truncated"] < 300
    assert 0 <= summary["accuracy_low"] < summary["accuracy"] < summary["accuracy_high"] <= 1
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm" / "model")
