"""TAMER on Tetris and Mountain Car with scripted trainers, and Sarsa(λ) on the game's own reward beside it.

Every seed draws its pieces, its trainer and its pace once; conditions differ in one thing and are compared by seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tutelage.algorithms.sarsa import SarsaConfig, sarsa
from tutelage.algorithms.tamer import (
    AGGREGATE,
    EXTRAPOLATED,
    INDIVIDUAL,
    SILENCE_COUNTS,
    Expected,
    Labels,
    Lesson,
    Trainee,
)
from tutelage.data.errors import InputError
from tutelage.environments import mountain_car, tetris
from tutelage.evaluation.tamer import WITHIN, Attempts, summarised
from tutelage.feedback import trainers
from tutelage.formulas.credit import Credit, by_gamma, by_uniform, delayed, present_step, previous_step, uniform_cdf
from tutelage.recipes.quick import where_default
from tutelage.runs.checkpoints import State
from tutelage.runs.run import Run
from tutelage.training.stages import run_stages
from tutelage.trajectory import Finish, Key

PAUSE_SECONDS = 2.0  # between two games
PICTURED = 25  # placements after which the report shows a board of each game
CAR_RATE = 0.1  # α of TAMER on Mountain Car
CAR_SEEN = 10  # starts from which a car's policy is tried
SARSA_TRIED = tuple(
    SarsaConfig(learning_rate, discount, trace)
    for learning_rate in (1e-4, 1e-5)
    for discount, trace in ((1.0, 0.9), (0.95, 0.7), (0.9, 0.7), (0.8, 0.5))
)
CAR_SARSA = SarsaConfig(0.1, trace=0.9, exploration=0.0)


@dataclass(frozen=True)
class TamerConfig:
    """Settings of the recipe.

    quick: two seeds, three games, twenty games of Sarsa, where those are the defaults; a look, no result
    seeds: trainers, each with an agent of its own
    games: of Tetris that each trains; three of them where a condition is only compared
    most_placements: after which a game is stopped; good play hardly ends (a line takes 2.5 placements)
    sarsa_games: that Sarsa is given; sarsa_tuning_seeds: seeds on which its settings are tried, the best is then run
    speaks, errs: share of the placements that are spoken about, and of the signals with the wrong sign
    seconds_shortest, seconds_longest: a placement lasts between these
    learning_rate: α of Ĥ on Tetris     attempts: at Mountain Car     most_steps: of one attempt
    """

    seed: int = 0
    quick: bool = False
    seeds: int = 10
    games: int = 5
    most_placements: int = 2500
    sarsa_games: int = 200
    sarsa_tuning_seeds: int = 3
    speaks: float = 0.5
    errs: float = 0.15
    seconds_shortest: float = 1.0
    seconds_longest: float = 2.0
    learning_rate: float = 3e-5
    attempts: int = 5
    most_steps: int = 1000


def checked(config: TamerConfig) -> TamerConfig:
    """What --quick means, and what cannot be."""
    if config.quick:
        default = TamerConfig()
        config = where_default(
            config, default, seeds=2, games=3, most_placements=400, sarsa_games=20, sarsa_tuning_seeds=1
        )
    if min(config.seeds, config.games, config.sarsa_games, config.attempts, config.sarsa_tuning_seeds) < 1:
        raise InputError("--seeds, --games, --sarsa-games, --sarsa-tuning-seeds and --attempts must each be 1 or more.")
    if not 0.0 < config.speaks <= 1.0 or not 0.0 <= config.errs < 1.0:
        raise InputError(
            f"--speaks {config.speaks} and --errs {config.errs} are shares: above 0 to 1, and 0 to below 1."
        )
    if not 0.0 < config.seconds_shortest <= config.seconds_longest:
        raise InputError("--seconds-shortest must be above 0 and not above --seconds-longest.")
    return config


Thinks = Callable[[], Callable[[Any], float]]


@dataclass(frozen=True)
class Condition:
    """What one comparison changes. says: in words; credit, labels: of the agent; the rest: of the trainer."""

    says: str
    credit: Credit = by_gamma
    labels: Labels = INDIVIDUAL
    thinks: Thinks = lambda: trainers.tidier
    delay: trainers.Delay = trainers.gamma_delay
    always_right: bool = False


def far_too_late(steps: Any, at: float) -> np.ndarray:
    """Uniform(2, 4) s: as if people needed three seconds, where they need one."""
    return delayed(steps, at, partial(uniform_cdf, start=2.0, end=4.0))


CONDITIONS = {
    "tamer": Condition("credit by Gamma(2.0, 0.28), each signal a weighted sample"),
    "aggregate": Condition("one sample a step: the sum of its shares of signals", labels=AGGREGATE),
    "extrapolated": Condition("the same, divided by the credit where that is above a half", labels=EXTRAPOLATED),
    "silence-counts": Condition("one sample a step, silence is 0", labels=SILENCE_COUNTS),
    "previous-step": Condition("all credit to the step before the present one", previous_step),
    "nobody-is-late": Condition("wrong delay: all credit to the present step", present_step),
    "far-too-late": Condition("wrong delay: Uniform(2, 4) s", far_too_late),
    "spoiled-trainer": Condition(
        "praises only what is better than it has come to expect", thinks=lambda: trainers.Usual(trainers.tidier)
    ),
    "ideal-trainer": Condition(
        "speaks of every placement, at once, never wrong", present_step, delay=trainers.no_delay, always_right=True
    ),
}


def tamer_recipe(config: TamerConfig, run: Run) -> dict[str, Any]:
    """Every condition a stage, then Sarsa, then Mountain Car; what came of them."""
    config = checked(config)
    mountain_car.MountainCar(config.seed, config.most_steps)  # says at once where gymnasium is missing
    todo: dict[str, Callable[[Run], dict[str, Any]]] = {
        name: partial(seeds_stage, config, partial(taught, config, condition)) for name, condition in CONDITIONS.items()
    }
    todo["sarsa"] = partial(sarsa_stage, config)
    todo["mountain-car"] = partial(seeds_stage, config, partial(car_taught, config, by_uniform))
    todo["mountain-car-nobody-is-late"] = partial(seeds_stage, config, partial(car_taught, config, present_step))
    todo["mountain-car-sarsa"] = partial(seeds_stage, config, partial(car_sarsa, config))
    run_stages(todo, run)
    found = {name: Run(run.path / name).summary for name in todo}
    return summarised(config.seed, found, {name: each.says for name, each in CONDITIONS.items()})


@dataclass
class Rows:
    """What the seeds so far came to; a killed stage goes on after them."""

    rows: list[dict[str, Any]]

    def state(self) -> State:
        return {"rows": self.rows}

    def restore(self, state: State) -> None:
        self.rows = list(state["rows"])


def seeds_stage(config: TamerConfig, one: Callable[[int], dict[str, Any]], stage: Run) -> dict[str, Any]:
    """One row a seed."""
    done = Rows([])
    for seed in stage.steps(config.seeds, shows=("lines", "attempt_steps"), state={"rows": done}):
        row = one(seed)
        done.rows.append(row)
        stage.record(seed, {name: row[name] for name in ("lines", "signals", "attempt_steps") if name in row})
    return {"rows": done.rows}


def generators(config: TamerConfig, seed: int) -> list[np.random.Generator]:
    """Of the trainer, the agent and the pace: the same for a seed in every condition."""
    return [np.random.default_rng(each) for each in np.random.SeedSequence([config.seed, seed]).spawn(3)]


def taught(config: TamerConfig, condition: Condition, seed: int) -> dict[str, Any]:
    """An agent that knows nothing, and a trainer, over some games."""
    of_trainer, of_agent, of_pace = generators(config, seed)
    speaks, errs = (1.0, 0.0) if condition.always_right else (config.speaks, config.errs)
    trainer = trainers.Trainer(condition.thinks(), of_trainer, condition.delay, speaks, errs)
    expected = Expected.nothing(tetris.FEATURES, config.learning_rate)
    trainee = Trainee(expected, of_agent, condition.credit, condition.labels)
    pace = partial(of_pace.uniform, config.seconds_shortest, config.seconds_longest)
    boards: list[str] = []

    def says(game: tetris.Game, began: float, until: float) -> list[tuple[float, float]]:
        boards.extend([game.board.drawn()] if game.placements == PICTURED else [])
        return trainer.say(game, began, until)

    lesson = Lesson(trainee, says, pace)
    games: list[tetris.Game] = []
    for number in range(config.games if condition is CONDITIONS["tamer"] else min(WITHIN, config.games)):
        games.append(pieces(config, seed).episode(Key(0, number)))
        lesson.play(games[-1])
        lesson.now += PAUSE_SECONDS
    third = games[min(WITHIN, len(games)) - 1]
    return {
        "seed": seed,
        "lines_by_game": [each.lines for each in games],
        "placements_by_game": [each.placements for each in games],
        "stopped": sum(each.finish is Finish.TRUNCATED for each in games),
        "lines": third.lines,
        "signals": trainer.signals,
        "weights": expected.weights_F.tolist(),
        "boards": boards if seed == 0 else [],
    }


def pieces(config: TamerConfig, seed: int) -> tetris.Tetris:
    """The same pieces for everybody of this seed."""
    return tetris.Tetris(config.seed * 1000 + seed, config.most_placements)


def played(config: TamerConfig, settings: SarsaConfig, seed: int, games: int) -> list[int]:
    """Lines by game of Sarsa(λ) with the rows as reward."""
    chance = np.random.default_rng([config.seed, seed, 1])
    weights_F, lines = np.zeros(tetris.FEATURES), []
    for number in range(games):
        game = pieces(config, seed).episode(Key(0, number))
        weights_F = sarsa(settings, game, weights_F, chance)
        lines.append(game.lines)
    return lines


def sarsa_stage(config: TamerConfig, stage: Run) -> dict[str, Any]:
    """Tries settings on a few seeds of their own, then plays all seeds by those whose last half had most lines."""
    tried, done = Rows([]), Rows([])
    total = len(SARSA_TRIED) + config.seeds
    for step in stage.steps(total, shows=("lines",), state={"tried": tried, "rows": done}):
        if step < len(SARSA_TRIED):
            settings = SARSA_TRIED[step]
            seeds = range(1000, 1000 + config.sarsa_tuning_seeds)
            lines = [played(config, settings, seed, config.sarsa_games) for seed in seeds]
            later = float(np.mean([each[len(each) // 2 :] for each in lines]))
            tried.rows.append({**vars(settings), "lines": later})
        else:
            seed = step - len(SARSA_TRIED)
            lines = played(config, SARSA_TRIED[best(tried.rows)], seed, config.sarsa_games)
            done.rows.append({"seed": seed, "lines_by_game": lines})
            later = float(np.mean(lines[len(lines) // 2 :]))
        stage.record(step, {"lines": later})
    return {"rows": done.rows, "tried": tried.rows, "chosen": tried.rows[best(tried.rows)]}


def best(rows: Sequence[Mapping[str, Any]]) -> int:
    return int(np.argmax([row["lines"] for row in rows]))


def car_taught(config: TamerConfig, credit: Credit, seed: int) -> dict[str, Any]:
    """Mountain Car: after every attempt the policy so far is tried from ten starts."""
    of_trainer, of_agent, _ = generators(config, seed)
    trainer = trainers.Trainer(trainers.pumps, of_trainer, trainers.uniform_delay, config.speaks, config.errs)
    expected = Expected.nothing(mountain_car.FEATURES, CAR_RATE)
    lesson = Lesson(Trainee(expected, of_agent, credit), trainer.say, lambda: mountain_car.STEP_SECONDS)
    world, row = mountain_car.MountainCar(config.seed * 1000 + seed, config.most_steps), Attempts(seed)
    for number in range(config.attempts):
        drive = world.episode(Key(0, number))
        lesson.play(drive)
        lesson.now += PAUSE_SECONDS
        row.add(drive.steps, tried(world, expected.weights_F))
    return {**row.row(), "signals": trainer.signals}


def car_sarsa(config: TamerConfig, seed: int) -> dict[str, Any]:
    """Sarsa(λ) on the same features; a step costs 1."""
    world, row = mountain_car.MountainCar(config.seed * 1000 + seed, config.most_steps), Attempts(seed)
    chance, weights_F = np.random.default_rng([config.seed, seed, 2]), np.zeros(mountain_car.FEATURES)
    for number in range(10 * config.attempts):
        drive = world.episode(Key(0, number))
        weights_F = sarsa(CAR_SARSA, drive, weights_F, chance)
        row.add(drive.steps, [drive.steps])  # its own attempts tell: it explores by hoping, not by chance
    return row.row()


def tried(world: mountain_car.MountainCar, weights_F: np.ndarray) -> list[int]:
    """Steps that the greedy policy takes from each of ten starts that training has not seen."""
    steps = []
    for start in range(CAR_SEEN):
        drive = world.episode(Key(1, start))
        while drive.finish is None:
            drive.step(int(np.argmax(drive.features_AF @ weights_F)))
        steps.append(drive.steps)
    return steps
