"""TAMER (Knox & Stone 2008, 2009): a person says in real time how good each action was; predict that, and act on it.

Ĥ(s, a) is learned by supervised learning from the person's signals and the agent takes the action of which it expects
the highest one. There is no discount and no environment's reward: whoever judges an action has looked ahead already.

    step:    a = argmax Ĥ(s, ·); remember φ(s, a) and when the step began
    signal:  credit_t = share of the signal that step t gets, by how late people are (formulas/credit.py)
             w += α · credit_t · (h − w·φ_t) · φ_t

Deviations: a step of the weights never goes past its label (α‖φ‖² is held to 1), and equal expectations are drawn from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tutelage.formulas.credit import Credit, by_gamma

Array = np.ndarray
FORGOTTEN_SECONDS = 5.0  # no signal is about a step that ended longer ago; of Gamma(2, 0.28) 3e-7 is beyond


@dataclass
class Expected:
    """Ĥ(s, a) = w·φ(s, a), what the agent expects the person to say. weights_F: [F]; learning_rate: α."""

    weights_F: Array
    learning_rate: float

    @staticmethod
    def nothing(features: int, learning_rate: float) -> Expected:
        """Ĥ = 0 everywhere."""
        return Expected(np.zeros(features), learning_rate)

    def of(self, features: Array) -> Array:
        """[..., F] -> [...]"""
        return features @ self.weights_F

    def learn(self, features_F: Array, label: float, weight: float) -> None:
        """One step of gradient descent on ½ · weight · (label − Ĥ)², cut where it would go past the label."""
        squared = float(features_F @ features_F)
        if squared == 0.0 or weight == 0.0:
            return
        rate = min(self.learning_rate * weight, 1.0 / squared)
        self.weights_F = self.weights_F + rate * (label - float(features_F @ self.weights_F)) * features_F


@dataclass
class Lived:
    """A step that signals may still be about. started, ended: seconds, `ended` infinite while it is going on.

    label, used: Σ h·c and Σ c of the signals so far, where labels are aggregated
    """

    features_F: Array
    started: float
    ended: float = float("inf")
    label: float = 0.0
    used: float = 0.0


@dataclass(frozen=True)
class Labels:
    """How signals become labels. heard(expected, step, value, credit): at once; closed(expected, step): when no more
    signals can come about this step."""

    heard: Callable[[Expected, Lived, float, float], None]
    closed: Callable[[Expected, Lived], None]


def _at_once(expected: Expected, step: Lived, value: float, credit: float) -> None:
    expected.learn(step.features_F, value, credit)


def _never(expected: Expected, step: Lived) -> None:
    return None


def _add(expected: Expected, step: Lived, value: float, credit: float) -> None:
    step.label += credit * value
    step.used += credit


def _whole(expected: Expected, step: Lived) -> None:
    if step.used > 0.0:
        expected.learn(step.features_F, step.label, 1.0)


def _extrapolated(expected: Expected, step: Lived) -> None:
    """A step that got most of a signal had what it was about: its label is that of a whole signal."""
    if step.used > 0.0:
        expected.learn(step.features_F, step.label / step.used if step.used > 0.5 else step.label, 1.0)


def _silence_too(expected: Expected, step: Lived) -> None:
    expected.learn(step.features_F, step.label, 1.0)


INDIVIDUAL = Labels(_at_once, _never)
"""Every signal is a sample of every step that it may be about, weighted by the credit (K-CAP 2009)."""
AGGREGATE = Labels(_add, _whole)
"""One sample a step, Σ h·c over its signals; steps without any are no sample (Knox's code, one of its options)."""
EXTRAPOLATED = Labels(_add, _extrapolated)
"""The same, divided by the credit where that is above a half (an option of the code)."""
SILENCE_COUNTS = Labels(_add, _silence_too)
"""One sample a step, and silence is a label of 0."""


@dataclass
class Trainee:
    """The agent. credit: which steps a signal is about; labels: how it becomes samples; chance: draws among equals.

    training: whether signals teach and steps are remembered; the steps of the time in between are dropped.
    """

    expected: Expected
    chance: np.random.Generator
    credit: Credit = by_gamma
    labels: Labels = INDIVIDUAL
    training: bool = True
    steps: list[Lived] = field(default_factory=list[Lived])

    def choose(self, features_AF: Array) -> int:
        """The action with the highest expectation; among equals, one at random."""
        expected_A = self.expected.of(features_AF)
        best = np.flatnonzero(expected_A >= expected_A.max() - 1e-12)
        return int(best[0] if len(best) == 1 else self.chance.choice(best))

    def began(self, features_F: Array, at: float) -> None:
        """A step begins, and with it the one before ends."""
        self.ended(at)
        if self.training:
            self.steps.append(Lived(features_F, at))
        self.forget(at)

    def ended(self, at: float) -> None:
        """The present step ends: another begins, or the game is over."""
        if self.steps:
            self.steps[-1].ended = min(self.steps[-1].ended, at)

    def hear(self, value: float, at: float) -> list[tuple[Lived, float]]:
        """A signal; the steps that it is about, with their credits. Nothing is learned while training is off."""
        if not self.training or not self.steps:
            return []
        credit_T = self.credit(([each.started for each in self.steps], [each.ended for each in self.steps]), at)
        about = [(step, float(credit)) for step, credit in zip(self.steps, credit_T) if credit > 0.0]
        for step, credit in about:
            self.labels.heard(self.expected, step, value, credit)
        return about

    def forget(self, at: float) -> None:
        """Closes the steps that no signal can be about any more."""
        while self.steps and self.steps[0].ended < at - FORGOTTEN_SECONDS:
            self.labels.closed(self.expected, self.steps.pop(0))

    def train(self, on: bool) -> None:
        """Training on or off; the steps so far are closed."""
        if on != self.training:
            for step in self.steps:
                self.labels.closed(self.expected, step)
            self.steps.clear()
        self.training = on


Says = Callable[[Any, float, float], Sequence[tuple[float, float]]]
"""(the game after an action, when its step began, when it ends) -> [(how good, at what time)], perhaps later."""


@dataclass
class Lesson:
    """A trainee and a trainer on one clock, over as many games as one likes.

    says: the trainer     seconds: how long the next step lasts     now: seconds
    waiting: (value, at) of what was said and has not come yet
    """

    trainee: Trainee
    says: Says
    seconds: Callable[[], float]
    now: float = 0.0
    waiting: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def play(self, game: Any) -> None:
        """One game to its end. game: with `features_AF`, `step(action)` and `finish`."""
        while game.finish is None:
            features_AF = game.features_AF
            action = self.trainee.choose(features_AF)
            self.trainee.began(features_AF[action], self.now)
            game.step(action)
            until = self.now + self.seconds()
            self.waiting += self.says(game, self.now, until)
            self.deliver(until)
            self.now = until
        self.trainee.ended(self.now)

    def deliver(self, until: float) -> None:
        """What comes before `until`, in order of its time."""
        due = sorted((each for each in self.waiting if each[1] < until), key=lambda each: each[1])
        self.waiting = [each for each in self.waiting if each[1] >= until]
        for value, at in due:
            self.trainee.hear(value, at)
