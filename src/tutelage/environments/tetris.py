"""Tetris as TAMER plays it (Knox & Stone 2008, 2009): ten columns, twenty rows, an action is where a piece goes.

A piece is turned, moved and dropped straight down in one action; what cannot be reached by dropping is no action, and
neither is a placement that sticks out above the twentieth row. A game is over when the next piece has no placement.
Boards are never changed; what a placement makes of one is worked out for all placements at once.

Legend: A placements of one piece, W = 10 columns, H = 20 rows (row 0 is the floor), F = 46 features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from tutelage.trajectory import Finish, Key, Step

WIDTH, HEIGHT = 10, 20
FEATURES = 46
SQUARES = 10.0  # squares are divided by it, so that a height of 10 counts as much squared as plain
DOMAIN = 0x7E  # keeps the pieces apart from other random streams of the same seed
PIECES = {
    "I": ("1111",),
    "O": ("11", "11"),
    "T": ("010", "111"),
    "S": ("011", "110"),
    "Z": ("110", "011"),
    "J": ("100", "111"),
    "L": ("001", "111"),
}
NAMES = tuple(PIECES)


@dataclass(frozen=True)
class Drops:
    """The placements of one piece on any board: rotations, each in every column.

    rotation_A, column_A: [A] turns to the right, and the leftmost column
    tall_A: [A] rows that the turned piece spans     wide_A: [A] columns
    bottom_AW, top_AW: [A, W] of the columns it fills, its lowest cell and one above its highest, from its own floor
    under_AW: [A, W] bool, the columns that it fills
    cells_A4: [A, 4] how many cells it has in each of its rows
    row_A4, column_A4: [A, 4] where its four cells are: row above its own floor, column of the board
    """

    rotation_A: np.ndarray
    column_A: np.ndarray
    tall_A: np.ndarray
    wide_A: np.ndarray
    bottom_AW: np.ndarray
    top_AW: np.ndarray
    under_AW: np.ndarray
    cells_A4: np.ndarray
    row_A4: np.ndarray
    column_A4: np.ndarray

    def __len__(self) -> int:
        return len(self.rotation_A)


@cache
def drops(piece: str) -> Drops:
    """The placements of a piece: 17 of I, S and Z, 9 of O, 34 of T, J and L."""
    shape = np.array([[int(cell) for cell in row] for row in PIECES[piece]], dtype=bool)[::-1]
    turned: list[np.ndarray] = []
    for _ in range(4):
        if not any(np.array_equal(shape, each) for each in turned):
            turned.append(shape)
        shape = np.rot90(shape, 1)  # row 0 is the floor, so this turns to the right as it is seen
    rows = [
        (rotation, column, *_profile(each, column))
        for rotation, each in enumerate(turned)
        for column in range(WIDTH - each.shape[1] + 1)
    ]
    tall = [turned[row[0]].shape[0] for row in rows]
    wide = [turned[row[0]].shape[1] for row in rows]
    columns = [np.array(each) for each in zip(*rows)]
    return Drops(columns[0], columns[1], np.array(tall), np.array(wide), *columns[2:])


def _profile(shape: np.ndarray, column: int) -> tuple[np.ndarray, ...]:
    """bottom, top, under [W], cells [4], row, column [4] of a turned piece with its left edge in `column`."""
    tall, wide = shape.shape
    bottom, top, under = np.zeros(WIDTH, dtype=int), np.zeros(WIDTH, dtype=int), np.zeros(WIDTH, dtype=bool)
    bottom[column : column + wide] = shape.argmax(axis=0)
    top[column : column + wide] = tall - shape[::-1].argmax(axis=0)
    under[column : column + wide] = True
    cells = np.zeros(4, dtype=int)
    cells[:tall] = shape.sum(axis=1)
    row, across = np.nonzero(shape)
    return bottom, top, under, cells, row, across + column


@dataclass(frozen=True, eq=False)
class Board:
    """What has been placed. cells_HW: [H, W] bool, row 0 the floor; never changed."""

    cells_HW: np.ndarray

    @staticmethod
    def empty() -> Board:
        return Board(np.zeros((HEIGHT, WIDTH), dtype=bool))

    @staticmethod
    def drawn_as(picture: str) -> Board:
        """A board from lines of `#` and `.`, the highest row first; missing rows above are empty."""
        rows = [[cell == "#" for cell in line.strip()] for line in picture.split()]
        cells_HW = np.zeros((HEIGHT, WIDTH), dtype=bool)
        cells_HW[: len(rows)] = rows[::-1]
        return Board(cells_HW)

    @cached_property
    def heights_W(self) -> np.ndarray:
        return (self.cells_HW * np.arange(1, HEIGHT + 1)[:, None]).max(axis=0)

    @cached_property
    def cells_H(self) -> np.ndarray:
        return self.cells_HW.sum(axis=1)

    @cached_property
    def holes(self) -> int:
        """Empty cells with a filled one somewhere above them."""
        return int(self.heights_W.sum() - self.cells_H.sum())

    @cached_property
    def features_F(self) -> np.ndarray:
        return features(self.heights_W[None], np.array([self.holes]))[0]

    def drawn(self) -> str:
        """The board as lines of `#` and `.`, the highest row first."""
        return "\n".join("".join("#" if cell else "." for cell in row) for row in self.cells_HW[::-1])


def features(heights_AW: np.ndarray, holes_A: np.ndarray) -> np.ndarray:
    """[A, 46]: ten column heights, the highest, nine |differences| of neighbours, holes, deepest well, sum of wells;
    then the squares of these 23, divided by 10.

    A well is a column lower than both its neighbours, walls counting as endless; its depth is the way up to the
    lower one.
    """
    walls_AX = np.full((len(heights_AW), WIDTH + 2), HEIGHT)
    walls_AX[:, 1:-1] = heights_AW
    wells_AW = np.maximum(np.minimum(walls_AX[:, :-2], walls_AX[:, 2:]) - heights_AW, 0)
    found = np.empty((len(heights_AW), FEATURES))
    found[:, :10] = heights_AW
    found[:, 10] = heights_AW.max(axis=1)
    found[:, 11:20] = np.abs(np.diff(heights_AW, axis=1))
    found[:, 20] = holes_A
    found[:, 21] = wells_AW.max(axis=1)
    found[:, 22] = wells_AW.sum(axis=1)
    np.multiply(found[:, :23], found[:, :23] / SQUARES, out=found[:, 23:])
    return found


@dataclass(frozen=True)
class Options:
    """What can be done with a piece on a board; a row is an action.

    drop_A: [A] place in `drops(piece)`     floor_A: [A] row of the board where the piece comes to rest
    lines_A: [A] rows that it completes     features_AF: [A, 46] of the board afterwards, less those of the board now
    """

    board: Board
    piece: str
    drop_A: np.ndarray
    floor_A: np.ndarray
    lines_A: np.ndarray
    features_AF: np.ndarray

    def __len__(self) -> int:
        return len(self.drop_A)

    def after(self, action: int) -> Board:
        """The board after an action, complete rows taken out."""
        return Board(self._filled(action)[0])

    def _filled(self, action: int) -> tuple[np.ndarray, int]:
        piece, drop = drops(self.piece), self.drop_A[action]
        cells_HW = self.board.cells_HW.copy()
        cells_HW[piece.row_A4[drop] + self.floor_A[action], piece.column_A4[drop]] = True
        kept = cells_HW[~cells_HW.all(axis=1)]
        if len(kept) < HEIGHT:
            cells_HW = np.concatenate([kept, np.zeros((HEIGHT - len(kept), WIDTH), dtype=bool)])
        return cells_HW, HEIGHT - len(kept)


def options(board: Board, piece: str) -> Options:
    """All placements of a piece and what they would make of the board, worked out from heights; only those that
    complete a row are played out."""
    found, heights_W = drops(piece), board.heights_W
    floor_A = np.where(found.under_AW, heights_W - found.bottom_AW, 0).max(axis=1)
    drop_A = np.flatnonzero(floor_A + found.tall_A <= HEIGHT)
    floor_A, under_AW = floor_A[drop_A], found.under_AW[drop_A]
    heights_AW = np.where(under_AW, floor_A[:, None] + found.top_AW[drop_A], heights_W)
    gaps_A = np.where(under_AW, floor_A[:, None] + found.bottom_AW[drop_A] - heights_W, 0).sum(axis=1)
    holes_A = board.holes + gaps_A
    cells_H = np.concatenate([board.cells_H, np.zeros(4, dtype=int)])
    rows_A4 = cells_H[floor_A[:, None] + np.arange(4)] + found.cells_A4[drop_A]
    lines_A = (rows_A4 == WIDTH).sum(axis=1)
    options = Options(board, piece, drop_A, floor_A, lines_A, np.empty((len(drop_A), FEATURES)))
    for action in np.flatnonzero(lines_A):
        after = options.after(int(action))
        heights_AW[action], holes_A[action] = after.heights_W, after.holes
    np.subtract(features(heights_AW, holes_A), board.features_F, out=options.features_AF)
    return options


@dataclass(frozen=True)
class Placement:
    """What a person sees of one action: the piece where it came to rest, the board before and after, rows completed.

    cells: its four (row, column) before rows were taken out; floor: the row that it rests on; tall: rows that it spans
    """

    piece: str
    before: Board
    after: Board
    lines: int
    cells: tuple[tuple[int, int], ...]
    floor: int
    tall: int


class Game:
    """One game: a board, a piece that waits, and a bag of chance that knows the next ones.

    most: placements after which it is stopped (Finish.TRUNCATED): good play need not end
    """

    def __init__(self, chance: np.random.Generator, most: int) -> None:
        self.board, self.chance, self.most = Board.empty(), chance, most
        self.piece = self._next()
        self.first = reading(self.board, self.piece)
        self.options = options(self.board, self.piece)
        self.last: Placement | None = None
        self.placements = self.lines = 0
        self.finish: Finish | None = None

    @property
    def features_AF(self) -> np.ndarray:
        """[A, 46] of the placements that there are now."""
        return self.options.features_AF

    def step(self, action: int) -> Step:
        """Places the piece as the row `action` of `options` says; pays a point a completed row."""
        if self.finish is not None:
            raise ValueError("this game is over: it takes no further placement")
        self.last = placed(self.options, int(action))
        self.board, self.piece = self.last.after, self._next()
        self.options = options(self.board, self.piece)
        self.placements += 1
        self.lines += self.last.lines
        if not len(self.options):
            self.finish = Finish.TERMINATED
        elif self.placements >= self.most:
            self.finish = Finish.TRUNCATED
        return Step(reading(self.board, self.piece), float(self.last.lines), self.finish)

    def _next(self) -> str:
        return NAMES[int(self.chance.integers(len(NAMES)))]


def placed(options: Options, action: int) -> Placement:
    piece, drop = drops(options.piece), options.drop_A[action]
    floor = int(options.floor_A[action])
    cells = tuple((int(row) + floor, int(column)) for row, column in zip(piece.row_A4[drop], piece.column_A4[drop]))
    lines, after = int(options.lines_A[action]), options.after(action)
    return Placement(options.piece, options.board, after, lines, cells, floor, int(piece.tall_A[drop]))


def reading(board: Board, piece: str) -> np.ndarray:
    """[207] float32: the cells, then which of the seven pieces waits."""
    waiting = np.array([name == piece for name in NAMES])
    return np.concatenate([board.cells_HW.ravel(), waiting]).astype(np.float32)


@dataclass(frozen=True)
class Tetris:
    """Games of Tetris; a key draws the same pieces each time. most: placements of a game, after which it is stopped."""

    seed: int = 0
    most: int = 2500

    def episode(self, key: Key) -> Game:
        chance = np.random.default_rng([DOMAIN, self.seed, key.step, key.prompt, key.sample])
        return Game(chance, self.most)
