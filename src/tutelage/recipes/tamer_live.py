"""TAMER with a person: one agent that plays, one person who rewards and punishes it, and the log of both.

What the agent did and what the person said are kept in the feedback store as they happen; the weights follow from
them. `Play.of` works them out from the log: so a play outlives the server, and nothing but the log has to be trusted.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.algorithms.tamer import Expected, Lived, Trainee
from tutelage.data.errors import InputError
from tutelage.environments import mountain_car, tetris
from tutelage.feedback.asking import Receipt
from tutelage.feedback.signals import Acts, Signal
from tutelage.feedback.store import Store
from tutelage.formulas.credit import Credit, by_gamma, by_uniform
from tutelage.trajectory import Key

REMEMBERED = 64  # steps that a signal can still be about
KEPT_AT_ONCE = 25  # actions that go to the log together where nobody says anything


@dataclass(frozen=True)
class Kind:
    """A game that can be taught. make: of a seed; draws: what the page needs for a step, given the game before it."""

    make: Callable[[int], Any]
    features: int
    learning_rate: float
    credit: Credit
    draws: Callable[[Any, np.ndarray, int], dict[str, Any]]


def tetris_drawn(game: tetris.Game, expected_A: np.ndarray, action: int) -> dict[str, Any]:
    """Rows of 0 and 1 from the floor up, before the placement; its cells; the best expectation by leftmost column."""
    placement, found = tetris.placed(game.options, action), tetris.drops(game.piece)
    column_A = found.column_A[game.options.drop_A]
    columns = [expected_A[column_A == column] for column in range(tetris.WIDTH)]
    return {
        "piece": placement.piece,
        "cells": [list(each) for each in placement.cells],
        "rows": placement.before.cells_HW.astype(int).tolist(),
        "after": placement.after.cells_HW.astype(int).tolist(),
        "completed": placement.lines,
        "columns": [float(each.max()) if len(each) else None for each in columns],
        "chosen_column": int(column_A[action]),
    }


def car_drawn(drive: mountain_car.Drive, expected_A: np.ndarray, action: int) -> dict[str, Any]:
    return {"position": drive.position, "velocity": drive.velocity, "columns": expected_A.tolist()}


KINDS: dict[str, Kind] = {
    "tetris": Kind(tetris.Tetris, tetris.FEATURES, 3e-5, by_gamma, tetris_drawn),
    "mountain-car": Kind(mountain_car.MountainCar, mountain_car.FEATURES, 0.1, by_uniform, car_drawn),
}


def kind_of(game: str) -> Kind:
    if game not in KINDS:
        raise InputError(f"there is no game {game!r:.60} to teach. There are: {', '.join(KINDS)}.")
    return KINDS[game]


class Play:
    """One agent and its game. Thread-safe. Begin one with `begun`, or go on with `of`.

    steps: done so far, over all games     game: which one of them is going on, from 0
    """

    def __init__(self, store: Store, labeller: str, id: str, game: str, seed: int) -> None:
        self.store, self.labeller, self.id, self.name, self.seed = store, labeller, id, game, seed
        self.kind = kind_of(game)
        self.world = self.kind.make(seed)
        chance = np.random.default_rng([seed, 0])
        expected = Expected.nothing(self.kind.features, self.kind.learning_rate)
        self.trainee = Trainee(expected, chance, self.kind.credit)
        self.steps, self.game, self.signals = 0, 0, 0
        self.current = self.world.episode(Key(0, 0))
        self.finished: list[dict[str, int]] = []
        self.pending: list[int] = []
        self.frame: dict[str, Any] | None = None
        self._seen: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = threading.RLock()

    @staticmethod
    def begun(store: Store, labeller: str, game: str, seed: int) -> Play:
        """A new agent."""
        kind = kind_of(game)
        settings = {"seed": seed, "learning_rate": kind.learning_rate, "credit": kind.credit.__name__}
        return Play(store, labeller, store.begin_play(labeller, game, settings), game, seed)

    @staticmethod
    def of(store: Store, labeller: str, id: str) -> Play:
        """The play as the log tells it, weights and all."""
        recorded = store.recorded(labeller, id)
        play = Play(store, labeller, id, recorded.game, int(recorded.settings["seed"]))
        for each in recorded.happened:
            if isinstance(each, Signal):
                play._learn(each)
                play.signals += 1
                continue
            play.trainee.training = each.training
            for action in each.actions:
                play._do(action)
        return play

    # --- what the page asks

    def step(self, number: int) -> dict[str, Any]:
        """Does the step of this number where it is the next one; the frame of the last step done."""
        with self._lock:
            if number == self.steps or self.frame is None:
                features_AF = self.current.features_AF
                expected_A = self.trainee.expected.of(features_AF)
                action = self.trainee.choose(features_AF)
                drawn = self.kind.draws(self.current, expected_A, action)
                self.pending.append(action)
                frame = {"step": self.steps, "game": self.game, "action": action, **drawn}
                self.frame = {**frame, **expectations(expected_A, action), **self._do(action)}
                if len(self.pending) >= KEPT_AT_ONCE or self.frame["over"]:
                    self.keep()
            return self.frame

    def signal(self, key: str, said: Signal) -> tuple[Receipt, dict[str, Any]]:
        """Keeps what the person said, then learns from it, once for every key."""
        with self._lock:
            said = Signal(said.value, said.at, said.spans, self.trainee.training)
            receipt = self.store.signal(self.labeller, self.id, key, said, self._unkept())
            self.pending.clear()
            about: list[tuple[int, float]] = []
            before = self.trainee.expected.weights_F
            if not receipt.repeated:
                about = self._learn(said)
                self.signals += 1
            change = float(np.linalg.norm(self.trainee.expected.weights_F - before))
            return receipt, {"about": about, "change": change, **self.told()}

    def train(self, on: bool) -> None:
        with self._lock:
            if on != self.trainee.training:
                self.keep()
                self.trainee.training = on

    def keep(self) -> None:
        """Puts the actions into the log that are not there yet."""
        with self._lock:
            unkept = self._unkept()
            if unkept.actions:
                self.store.act(self.labeller, self.id, unkept)
                self.pending.clear()

    def told(self) -> dict[str, Any]:
        """What stands beside the game."""
        return {
            "play": self.id,
            "game": self.name,
            "training": self.trainee.training,
            "next": self.steps,
            "signals": self.signals,
            "finished": self.finished[-50:],
            "games": len(self.finished),
            "weights": float(np.linalg.norm(self.trainee.expected.weights_F)),
        }

    def played_back(self, game: int) -> list[dict[str, Any]]:
        """The frames of one game, each with the signals that came while it was to be seen."""
        self.keep()
        shadow = Play(self.store, self.labeller, self.id, self.name, self.seed)
        frames: list[dict[str, Any]] = []
        for each in self.store.recorded(self.labeller, self.id).happened:
            if isinstance(each, Signal):
                about = shadow._learn(each)
                if frames and each.spans and frames[-1]["step"] == each.spans[-1].step:
                    frames[-1]["signals"].append({"value": each.value, "about": about})
                continue
            shadow.trainee.training = each.training
            frames += [drawn for drawn in map(shadow._shown, each.actions) if drawn["game"] == game]
        return frames

    # --- what follows from the log

    def _shown(self, action: int) -> dict[str, Any]:
        """Does a recorded action; its frame."""
        expected_A = self.trainee.expected.of(self.current.features_AF)
        drawn = self.kind.draws(self.current, expected_A, action)
        frame = {"step": self.steps, "game": self.game, "action": action, "signals": [], **drawn}
        return {**frame, **expectations(expected_A, action), **self._do(action)}

    def _do(self, action: int) -> dict[str, Any]:
        """One step of the game; the next game begins where this one is over."""
        if self.trainee.training:
            self._seen[self.steps] = self.current.features_AF[action]
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        self.current.step(action)
        self.steps += 1
        score = score_of(self.current)
        over = self.current.finish is not None
        if over:
            self.finished.append(score)
            self.game += 1
            self.current = self.world.episode(Key(0, self.game))
        return {**score, "over": over}

    def _learn(self, said: Signal) -> list[tuple[int, float]]:
        """The steps that the signal is about, by number, with their credits; those that were dropped get none."""
        if not said.training:
            return []
        steps = {
            each.step: Lived(self._seen[each.step], each.began, float("inf") if each.ended is None else each.ended)
            for each in said.spans
            if each.step in self._seen
        }
        numbers = {id(step): number for number, step in steps.items()}
        self.trainee.steps = list(steps.values())
        return [(numbers[id(step)], credit) for step, credit in self.trainee.hear(said.value, said.at)]

    def _unkept(self) -> Acts:
        return Acts(self.steps - len(self.pending), tuple(self.pending), self.trainee.training)


def score_of(game: Any) -> dict[str, int]:
    if isinstance(game, tetris.Game):
        return {"lines": game.lines, "placements": game.placements}
    return {"placements": game.steps}


def expectations(expected_A: np.ndarray, action: int) -> Mapping[str, Any]:
    """Ĥ of what was done, and the range of what could have been."""
    low, high = float(expected_A.min()), float(expected_A.max())
    return {"expected": float(expected_A[action]), "low": low, "high": high, "options": len(expected_A)}
