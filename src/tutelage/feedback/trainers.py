"""Scripted trainers for TAMER: they see the action just made and nothing else, speak of some, late, and err.

A rehearsal in which the truth is known. No trainer looks ahead, searches, or knows the game's score.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import median
from typing import Any

import numpy as np

from tutelage.environments.tetris import HEIGHT, WIDTH, Board, Placement

STANDING = 0.003  # a car slower than that, a step, looks as if it stood

Delay = Callable[[np.random.Generator], float]
"""Draws how long somebody takes from noticing to pressing a key, seconds."""


def gamma_delay(chance: np.random.Generator) -> float:
    """Gamma(2.0, 0.28): 0.56 s on average (K-CAP 2009)."""
    return float(chance.gamma(2.0, 0.28))


def uniform_delay(chance: np.random.Generator) -> float:
    """Between 0.2 and 0.6 s (K-CAP 2009, Mountain Car)."""
    return float(chance.uniform(0.2, 0.6))


def no_delay(chance: np.random.Generator) -> float:
    return 0.0


@dataclass
class Trainer:
    """Somebody who watches and now and then says +1 or −1.

    thinks: of what was just done, better or worse than should be expected: its sign is said
    speaks, errs: share of the actions that are spoken about, and of the signals with the wrong sign
    """

    thinks: Callable[[Any], float]
    chance: np.random.Generator
    delay: Delay = gamma_delay
    speaks: float = 0.5
    errs: float = 0.15
    signals: int = 0

    def say(self, game: Any, began: float, until: float) -> list[tuple[float, float]]:
        """[(value, at)] or nothing. It notices the action at some moment of its step, and speaks a delay later."""
        said, wrong, noticed = self.chance.random(3)
        late = self.delay(self.chance)
        opinion = self.thinks(game) if said < self.speaks else 0.0
        if opinion == 0.0:
            return []
        self.signals += 1
        value = (1.0 if opinion > 0.0 else -1.0) * (-1.0 if wrong < self.errs else 1.0)
        return [(value, began + noticed * (until - began) + late)]


EL_TETRIS = {
    "landing": -4.500158825082766,
    "lines": 3.4181268101392694,
    "rows": -3.2178882868487753,
    "columns": -9.348695305445199,
    "holes": -7.899265427351652,
    "wells": -3.3855972247263626,
}
"""Weights of El-Tetris (El-Ashi 2011, after Dellacherie's hand-made player)."""


def tidier(game: Any) -> float:
    """What the last placement made of the board, by El-Tetris: rows completed, what it changed in transitions, holes
    and wells, and how far above the mean of the columns it came to rest. Above 0 a look at the board says "good", below
    "bad"; it is compared with nothing else that could have been done."""
    placement: Placement = game.last
    changes = [now - then for now, then in zip(roughness(placement.after), roughness(placement.before))]
    weighted = zip(("rows", "columns", "holes", "wells"), changes)
    above = placement.floor + placement.tall / 2 - float(placement.before.heights_W.mean())
    found = EL_TETRIS["lines"] * placement.lines + EL_TETRIS["landing"] * above
    return found + sum(EL_TETRIS[name] * change for name, change in weighted)


@lru_cache(maxsize=64)
def roughness(board: Board) -> tuple[int, int, int, int]:
    """Transitions between filled and empty along rows (walls filled), along columns (floor filled), holes, and wells:
    for every empty cell between two filled ones, the empty cells from it down."""
    cells_HW = board.cells_HW
    walled = np.ones((HEIGHT, WIDTH + 2), dtype=bool)
    walled[:, 1:-1] = cells_HW
    rows = int((walled[:, 1:] != walled[:, :-1]).sum())
    columns = int((cells_HW[1:] != cells_HW[:-1]).sum() + (~cells_HW[0]).sum())
    up_H = np.arange(1, HEIGHT + 1)[:, None]
    deep_HW = up_H - np.maximum.accumulate(np.where(cells_HW, up_H, 0))  # empty cells from here down to a filled one
    wells = int(deep_HW[~cells_HW & walled[:, :-2] & walled[:, 2:]].sum())
    return rows, columns, board.holes, wells


@dataclass
class Usual:
    """Better or worse than usual: who has come to expect more praises less (MacGlashan et al. 2017). What is usual is
    the median of what was seen.

    worth: of a game's last action     seen: what they remember
    """

    worth: Callable[[Any], float]
    seen: deque[float] = field(default_factory=lambda: deque[float](maxlen=100))

    def __call__(self, game: Any) -> float:
        found = self.worth(game)
        before = median(self.seen) if self.seen else 0.0
        self.seen.append(found)
        return found - before


def pumps(drive: Any) -> float:
    """Of a car between two hills: whether it was driven the way that it was rolling, or at all where it stood."""
    way, velocity = drive.last.action - 1, drive.last.velocity
    good = way != 0 if abs(velocity) < STANDING else way * velocity > 0.0
    return 1.0 if good else -1.0
