"""Which steps a person's signal is about: people speak late (Knox & Stone 2009, "Interactively shaping agents").

A signal at time t_h is about whatever happened x seconds before it, where x has the density f. A step that lasted from
t_s to t_e gets c = ∫_{t_h − t_e}^{t_h − t_s} f(x) dx of it; the credits of one signal over contiguous steps that cover
the support of f sum to 1. Times are seconds on one clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import gammainc  # pyright: ignore[reportMissingTypeStubs]

Array = np.ndarray
Spans = tuple[Sequence[float] | Array, Sequence[float] | Array]
"""([T] t_s, [T] t_e) of the last steps, the oldest first; of the present one, which has not ended, t_e is infinite."""

Credit = Callable[[Spans, float], Array]
"""(steps, t_h) -> [T] how much of the signal each step gets, each within [0, 1]."""


def gamma_cdf(seconds: Sequence[float] | Array, shape: float = 2.0, scale: float = 0.28) -> Array:
    """P(delay ≤ x) of Gamma(shape, scale): mean 0.56 s, mode 0.28 s, as in K-CAP 2009 for Tetris."""
    return np.asarray(gammainc(shape, np.maximum(seconds, 0.0) / scale))


def uniform_cdf(seconds: Sequence[float] | Array, start: float = 0.2, end: float = 0.6) -> Array:
    """P(delay ≤ x) of a delay between `start` and `end`: 0.2 to 0.6 s in Mountain Car (K-CAP 2009)."""
    return np.clip((np.asarray(seconds, dtype=np.float64) - start) / (end - start), 0.0, 1.0)


def delayed(steps: Spans, at: float, cdf: Callable[[Array], Array]) -> Array:
    """[T] F(t_h − t_s) − F(t_h − t_e): what a density of the delay gives each step. cdf: F, 0 for x ≤ 0."""
    start_T, end_T = (np.asarray(each, dtype=np.float64) for each in steps)
    return cdf(at - start_T) - cdf(np.maximum(at - end_T, 0.0))


def by_gamma(steps: Spans, at: float) -> Array:
    """Tetris in K-CAP 2009: Gamma(2.0, 0.28)."""
    return delayed(steps, at, gamma_cdf)


def by_uniform(steps: Spans, at: float) -> Array:
    """Mountain Car in K-CAP 2009: Uniform(0.2, 0.6)."""
    return delayed(steps, at, uniform_cdf)


def present_step(steps: Spans, at: float) -> Array:
    """All credit to the step in which the signal comes: as if nobody were late."""
    return _all_to(steps, at, 0)


def previous_step(steps: Spans, at: float) -> Array:
    """All credit to the step before the one in which the signal comes: for steps about as long as people are late
    (Knox's code for Tetris, where a placement can be judged once the next piece falls). The first step has none."""
    return _all_to(steps, at, 1)


def _all_to(steps: Spans, at: float, back: int) -> Array:
    start_T = np.asarray(steps[0], dtype=np.float64)
    credit_T = np.zeros(len(start_T))
    place = int(np.searchsorted(start_T, at, side="right")) - 1 - back
    if 0 <= place < len(credit_T):
        credit_T[place] = 1.0
    return credit_T
