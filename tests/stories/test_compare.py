"""`tutelage compare` as a command, in the smallest size."""

from __future__ import annotations

import json

import pytest

from tutelage.cli import run_command
from tutelage.models.flops import count_flops
from tutelage.recipes.compare import NAMES
from tutelage.runs.run import Run
from tutelage.training.flop_counting import FlopCountingLearner

SMALL = ["--start.demonstrations", "100", "--start.labels", "40", "--start.sft.steps", "4", "--start.ppo-prompts", "80"]
SMALL += [
    "--start.width",
    "16",
    "--start.layers",
    "1",
    "--start.reward-model.epochs",
    "1",
    "--start.max-new-tokens",
    "8",
]
SMALL += ["--ppo-steps", "2", "--seeds", "1", "--evaluation-prompts", "6"]
ROW = (
    "name gold_mean gold_low gold_high kl_nats_per_sequence win_rate win_rate_low tokens_sampled flops seconds "
    "gain_over_seeds distinct_2 steps"
)


@pytest.mark.slow
def test_every_row_is_trained_at_the_same_cost(tmp_path):
    out = tmp_path / "compare"
    assert run_command(["compare", *SMALL, "--out", str(out)]) == 0
    found = json.loads((out / "summary.json").read_text())
    assert [row["name"] for row in found["algorithms"]] == list(NAMES) and "gold_start" in found
    assert all(set(ROW.split()) <= row.keys() for row in found["algorithms"])
    budget = json.loads((out / "budget" / "summary.json").read_text())
    for row in found["algorithms"]:
        assert row["steps"] == budget["steps"][row["name"]]
        half_a_step = 0.5 * budget["flops_a_step"][row["name"]]
        if row["name"] != "online-dpo":  # at this size most of its replies are cut off, all alike, and make no pair
            assert row["flops"] == pytest.approx(budget["flops"], abs=half_a_step + 0.2 * budget["flops"])
        assert (row["tokens_sampled"] > 0) == (row["name"] not in ("dpo", "kto"))
    assert "expert-iteration" in (out / "report.html").read_text()


def test_what_cannot_be_compared_is_refused(tmp_path, capsys):
    for flags, said in (
        (["--algorithms", "ppo", "trpo"], "--algorithms trpo"),
        (["--learning-rates", "ppo=fast"], "expected name=rate"),
        (["--learning-rates", "trpo=1e-4"], "expected name=rate"),
    ):
        assert run_command(["compare", *flags, "--out", str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


class Nothing:
    """A learner of nothing."""

    def update(self, rows, loss):
        return {}

    def state(self):
        return {}

    def restore(self, state):
        pass


def test_the_count_goes_on_where_a_run_was_interrupted(tmp_path):
    learner = FlopCountingLearner(Nothing(), Run(tmp_path))
    with count_flops() as count:
        count.flops, count.tokens_sampled = 12.0, 3
        state = learner.state()
    with count_flops() as again:
        again.flops = 5.0  # what was read before the checkpoint was restored
        learner.restore(state)
        assert (again.flops, again.tokens_sampled) == (12.0, 3)
        learner.update(None, None)
        assert learner.run._noted == {"flops": 12.0, "tokens_sampled": 3.0}
