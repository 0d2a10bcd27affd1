"""What games and attempts say: lines by game over seeds, how long Sarsa needs for as much, what a wrong model costs.

Lines are skewed (a good game is ten times a bad one), so medians stand beside every game, and conditions are compared
by the factor between them, seed by seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tutelage.formulas.intervals import Estimate, mean_interval, share, t_interval

LEARNED_STEPS = 200  # Gymnasium's limit for Mountain Car: a policy that needs fewer from every start has learned it
WITHIN = 3  # games and attempts after which the papers compare


def summarised(seed: int, found: Mapping[str, Any], says: Mapping[str, str]) -> dict[str, Any]:
    """summary.json of `recipe tamer` from those of its stages. says: condition -> in words, the first the main one."""
    main, *_ = says
    lines_SG = lines(found[main])
    third = min(WITHIN, lines_SG.shape[1]) - 1
    aim = float(np.median(lines_SG[:, third]))
    sarsa_SG = lines(found["sarsa"])
    car, late, other = (found[f"mountain-car{name}"]["rows"] for name in ("", "-nobody-is-late", "-sarsa"))
    return {
        "seed": seed,
        "seeds": len(lines_SG),
        "games": lines_SG.shape[1],
        "lines_game_3_median": aim,
        "lines_game_3_lowest": float(lines_SG[:, third].min()),
        "lines_game_3_highest": float(lines_SG[:, third].max()),
        "games_stopped": sum(each["stopped"] for each in found[main]["rows"]),
        "sarsa_games_to_match": games_to_match(sarsa_SG, aim),
        "sarsa_games": sarsa_SG.shape[1],
        "sarsa_lines_last_20_games_mean": float(sarsa_SG[:, -20:].mean()),
        **learned(car),
        **ratio(tests(late), tests(car)).row("mountain_car_factor_nobody_is_late"),
        "mountain_car_sarsa_attempts_to_match": attempts_to_match(other, learned_steps(car)),
        "lines_by_game": lines_SG.T.tolist(),
        "lines_by_game_median": np.median(lines_SG, axis=0).tolist(),
        "conditions": [row(name, each, found[name], found[main], third) for name, each in says.items()],
        "sarsa_lines_by_game": sarsa_SG.T.tolist(),
        "sarsa_settings": found["sarsa"]["chosen"],
        "mountain_car": {"tamer": cars(car), "nobody is late": cars(late), "Sarsa(λ)": cars(other)},
        "boards": found[main]["rows"][0]["boards"],
        "seconds_total": sum(each["seconds"] for each in found.values()),
        "seconds_by_stage": {name: each["seconds"] for name, each in found.items()},
    }


def lines(stage: Mapping[str, Any]) -> np.ndarray:
    """[seeds, games]"""
    return np.array([each["lines_by_game"] for each in stage["rows"]])


def games_to_match(lines_SG: np.ndarray, aim: float) -> int | None:
    """The first game in which the median over seeds reaches `aim`; None where none does."""
    reached = np.flatnonzero(np.median(lines_SG, axis=0) >= aim)
    return int(reached[0]) + 1 if len(reached) else None


def row(name: str, says: str, stage: Mapping[str, Any], main: Mapping[str, Any], third: int) -> dict[str, Any]:
    """One condition: its third game, and how many times the main condition's lines it has, paired by seed."""
    own_SG, main_SG = lines(stage), lines(main)
    factor = ratio(own_SG[:, third], main_SG[:, third])
    placements = sum(sum(each["placements_by_game"]) for each in stage["rows"])
    return {
        "condition": name,
        "says": says,
        "lines_by_game_median": np.median(own_SG, axis=0).tolist(),
        "lines_game_3": sorted(own_SG[:, third].tolist()),
        **factor.row("factor"),
        "seeds_below": int((own_SG[:, third] < main_SG[:, third]).sum()),
        "signals_a_placement": sum(each["signals"] for each in stage["rows"]) / placements,
    }


def ratio(own_S: Sequence[float] | np.ndarray, other_S: Sequence[float] | np.ndarray) -> Estimate:
    """e^mean of log((1 + own) / (1 + other)), Student's t over seeds; no interval of one seed."""
    logs_S = np.log1p(np.asarray(own_S, dtype=float)) - np.log1p(np.asarray(other_S, dtype=float))
    found = t_interval(logs_S) if len(logs_S) > 1 else mean_interval(logs_S)
    return found.mapped(lambda each: float(np.exp(each)))


@dataclass
class Attempts:
    """One seed at Mountain Car. attempt_steps: of each attempt; test_steps: mean over the starts after it; worst: the
    longest of those."""

    seed: int
    attempt_steps: list[int] = field(default_factory=list[int])
    test_steps: list[float] = field(default_factory=list[float])
    worst: list[int] = field(default_factory=list[int])

    def add(self, steps: int, tried: Sequence[int]) -> None:
        self.attempt_steps.append(steps)
        self.test_steps.append(float(np.mean(tried)))
        self.worst.append(max(tried))

    def row(self) -> dict[str, Any]:
        third = min(WITHIN, len(self.test_steps)) - 1
        return {
            "seed": self.seed,
            "steps_by_attempt": self.attempt_steps,
            "test_steps_by_attempt": self.test_steps,
            "worst_by_attempt": self.worst,
            "attempt_steps": self.test_steps[third],
        }


def learned(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Steps of the third attempt, which is still being taught; and how many seeds had a policy within three attempts
    that reaches the hill from all test starts in LEARNED_STEPS without anybody's help."""
    first = [
        next((i + 1 for i, worst in enumerate(each["worst_by_attempt"]) if worst < LEARNED_STEPS), None)
        for each in rows
    ]
    third = [each["steps_by_attempt"][min(WITHIN, len(each["steps_by_attempt"])) - 1] for each in rows]
    within = [each is not None and each <= WITHIN for each in first]
    learned_within = share(np.array(within, dtype=np.float64)).row("mountain_car_learned_within_3")
    return {
        "mountain_car_third_attempt_median": float(np.median(third)),
        "mountain_car_third_attempt_highest": max(third),
        "mountain_car_learned_within_3_fraction": learned_within.pop("mountain_car_learned_within_3"),
        **learned_within,
        "mountain_car_learned_after_attempts": first,
        "mountain_car_test_steps_after_3_median": learned_steps(rows),
    }


def tests(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Each seed's mean steps from the starts after the third attempt."""
    return [each["attempt_steps"] for each in rows]


def learned_steps(rows: Sequence[Mapping[str, Any]]) -> float:
    return float(np.median(tests(rows)))


def attempts_to_match(rows: Sequence[Mapping[str, Any]], aim: float) -> int | None:
    """The first attempt after which the median over seeds needs no more than `aim` steps."""
    tested_SN = np.array([each["test_steps_by_attempt"] for each in rows])
    reached = np.flatnonzero(np.median(tested_SN, axis=0) <= aim)
    return int(reached[0]) + 1 if len(reached) else None


def cars(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    tested_SN = np.array([each["test_steps_by_attempt"] for each in rows])
    return {
        "test_steps_by_attempt_median": np.median(tested_SN, axis=0).tolist(),
        "test_steps_by_attempt": tested_SN.T.tolist(),
        "steps_by_attempt": np.array([each["steps_by_attempt"] for each in rows]).T.tolist(),
    }
