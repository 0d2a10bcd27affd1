"""Numbers over steps: means of stretches, where something begins, how much is noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

WINDOW = 5  # steps that a mean is taken over: one batch says little


@dataclass(frozen=True)
class Series:
    """steps: [N] where it was recorded; values: [N], finite."""

    steps: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def first(self) -> float:
        """Mean of the first steps."""
        return float(self.values[: self.window].mean())

    @property
    def last(self) -> float:
        """Mean of the last steps."""
        return float(self.values[-self.window :].mean())

    @property
    def window(self) -> int:
        """WINDOW, or less where there are few steps: first and last stay apart."""
        return max(1, min(WINDOW, len(self) // 3))

    @property
    def start(self) -> float:
        """Mean of the first two steps: where it began, before it has gone far."""
        return float(self.values[:2].mean())

    def means(self) -> Series:
        """Of every stretch of `window` steps, at the last one of them."""
        kernel = np.full(self.window, 1.0 / self.window)
        return Series(self.steps[self.window - 1 :], np.convolve(self.values, kernel, mode="valid"))

    def later_half(self) -> np.ndarray:
        return self.values[len(self) // 2 :]

    @property
    def noise(self) -> float:
        """Standard error of a mean over `window` steps, from how far neighbours lie apart."""
        if len(self) < 3:
            return 0.0
        return float(np.diff(self.values).std() / np.sqrt(2.0 * self.window))

    def onset(self, test: Callable[[np.ndarray], np.ndarray], lasts: int = 3) -> int | None:
        """The step at which the first stretch of `lasts` steps begins of which each passes the test."""
        passed = np.asarray(test(self.values), dtype=bool)
        for start in range(len(passed) - lasts + 1):
            if passed[start : start + lasts].all():
                return int(self.steps[start])
        return None
