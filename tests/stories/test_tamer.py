"""A scripted trainer teaches Tetris and Mountain Car in seconds; a trainer who says the opposite does not."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from tutelage.algorithms.tamer import Expected, Lesson, Trainee
from tutelage.cli import run_command
from tutelage.environments import tetris
from tutelage.feedback.trainers import Trainer, tidier
from tutelage.trajectory import Key

ROOT = Path(__file__).parents[2]
SMALL = ["--seeds", "2", "--games", "3", "--most-placements", "60", "--sarsa-games", "4", "--sarsa-tuning-seeds", "1"]
SMALL += ["--attempts", "2", "--most-steps", "200"]


def lines(seed: int, thinks, games: int = 3, most: int = 200) -> list[int]:
    """Lines by game, under the conditions of the recipe."""
    of_trainer, of_agent, of_pace = (np.random.default_rng([seed, i]) for i in range(3))
    agent = Trainee(Expected.nothing(tetris.FEATURES, 3e-5), of_agent)
    trainer = Trainer(thinks, of_trainer, speaks=0.5, errs=0.15)
    lesson, found = Lesson(agent, trainer.say, lambda: of_pace.uniform(1.0, 2.0)), []
    for number in range(games):
        game = tetris.Tetris(seed, most).episode(Key(0, number))
        lesson.play(game)
        found.append(game.lines)
    return found


@pytest.mark.slow
def test_the_third_game_of_five_trainers_and_of_one_who_says_the_opposite():
    """Of 80 lines that 200 placements can complete; seeds 50 to 54."""
    third = [lines(seed, tidier)[2] for seed in range(50, 55)]
    assert median(third) >= 40, third
    opposite = [lines(seed, lambda game: -tidier(game))[2] for seed in range(50, 53)]
    assert max(opposite) <= 2, opposite


@pytest.mark.slow
def test_the_recipe_runs_and_goes_on_where_it_was_interrupted(tmp_path, capsys):
    out = tmp_path / "tamer"
    assert run_command(["recipe", "tamer", *SMALL, "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert [len(each) for each in summary["lines_by_game"]] == [2, 2, 2]
    assert len(summary["sarsa_lines_by_game"]) == 4 and len(summary["conditions"]) == 9
    assert "lines_game_3_median" in summary and "sarsa_games_to_match" in summary
    report = (out / "report.html").read_text()
    assert "Tetris, taught by hand" in report and "Mountain Car" in report
    documented = (ROOT / "docs" / "schema.md").read_text()
    assert not [key for key in (*summary, *summary["conditions"][0]) if f"`{key}`" not in documented]
    for name in ("state.json", "summary.json"):
        (out / name).unlink()
    for name in ("sarsa", "mountain-car"):  # as if it had been killed there
        (out / name / "summary.json").unlink()
        (out / name / "state.json").write_text('{"status": "interrupted", "name": "x", "tutelage": "run"}')
    (out / "state.json").write_text('{"status": "interrupted", "name": "tamer", "tutelage": "run"}')
    assert run_command(["recipe", "tamer", *SMALL, "--out", str(out), "--resume"]) == 0
    again = json.loads((out / "summary.json").read_text())
    untimed = {key: value for key, value in summary.items() if not key.startswith("seconds")}
    assert {key: value for key, value in again.items() if not key.startswith("seconds")} == untimed


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--seeds", "0"], "1 or more"),
        (["--speaks", "0"], "shares"),
        (["--errs", "1"], "shares"),
        (["--seconds-shortest", "3"], "not above"),
    ],
)
def test_settings_that_cannot_be_are_refused(flags, says, tmp_path, capsys):
    assert run_command(["recipe", "tamer", *flags, "--out", str(tmp_path / "x")]) == 2
    assert says in capsys.readouterr().err
