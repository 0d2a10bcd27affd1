"""Tetris by hand: pieces, holes, wells, rows, and that the fast way says what playing a placement out says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.environments.tetris import FEATURES, HEIGHT, NAMES, WIDTH, Board, Tetris, drops, options, placed
from tutelage.trajectory import Finish, Key

UNEVEN = """
    #.........
    #.#.......
    #.#....##.
    #.#.#..##.
    #####.###.
"""
# heights 5 1 4 1 2 0 1 3 3 0: no holes. Wells: column 1 (5|4) 3 deep, 3 (4|2) 1, 5 (2|1) 1, 9 (3|wall) 3.


def cells(board: Board) -> int:
    return int(board.cells_HW.sum())


def test_numbers_of_an_uneven_board_by_hand():
    board = Board.drawn_as(UNEVEN)
    found = board.features_F
    assert len(found) == FEATURES == 46
    assert found[:10].tolist() == [5, 1, 4, 1, 2, 0, 1, 3, 3, 0]
    assert found[10] == 5
    assert found[11:20].tolist() == [4, 3, 3, 1, 2, 1, 2, 0, 3]
    assert (found[20], found[21], found[22]) == (0, 3, 8)
    assert found[23:] == pytest.approx(found[:23] ** 2 / 10)


@pytest.mark.parametrize(
    ("picture", "holes", "deepest", "wells"),
    [
        ("..........", 0, 0, 0),
        ("##########", 0, 0, 0),
        ("#.........\n..........", 1, 0, 0),
        ("###.......\n#.........\n..........", 5, 0, 0),  # under the first column 1, under the next two 2 each
        (".#########\n.#########\n.#########", 0, 3, 3),  # a wall counts as a neighbour
        ("#########.\n#########.", 0, 2, 2),
        ("#.########\n#.########\n####.#####", 1, 2, 2),  # a covered hole is no well
        (".#.#######", 0, 1, 2),
    ],
)
def test_holes_and_wells_by_hand(picture, holes, deepest, wells):
    found = Board.drawn_as(picture).features_F
    assert found[20:23].tolist() == [holes, deepest, wells]


def test_pieces_have_four_cells_and_as_many_placements_as_there_are():
    assert {name: len(drops(name)) for name in NAMES} == {"I": 17, "O": 9, "T": 34, "S": 17, "Z": 17, "J": 34, "L": 34}
    for name in NAMES:
        for action in range(len(drops(name))):
            after = options(Board.empty(), name).after(action)
            assert cells(after) == 4
            assert len(set(placed(options(Board.empty(), name), action).cells)) == 4


def test_complete_rows_are_taken_out_and_what_is_above_comes_down():
    board = Board.drawn_as("##.#######\n##########\n.#########")
    assert cells(board) == 9 + 10 + 9
    board = Board.drawn_as("#.........\n.#########\n.#########\n##########".replace("##########", ".#########"))
    found = options(board, "I")
    standing = [a for a in range(len(found)) if found.lines_A[a]]
    assert standing == []  # the cell above covers the first column
    board = Board.drawn_as(".#........\n.#########\n.#########\n.#########")
    found = options(board, "I")
    [action] = [a for a in range(len(found)) if found.lines_A[a] == 3]
    assert found.after(action).drawn().split()[-1] == "##........"
    assert cells(found.after(action)) == 2


def dropped(board: Board, piece: str, action: int) -> tuple[Board, int]:
    """One placement the slow way: the piece comes down row by row until something is under it."""
    found = options(board, piece)
    shape = [(row - int(found.floor_A[action]), column) for row, column in placed(found, action).cells]
    height = HEIGHT
    while height > 0 and not any(
        row + height - 1 < HEIGHT and board.cells_HW[row + height - 1, column] for row, column in shape
    ):
        height -= 1
    filled = board.cells_HW.copy()
    for row, column in shape:
        filled[row + height, column] = True
    rows = [row for row in filled if not row.all()]
    lines = HEIGHT - len(rows)
    return Board(np.array(rows + [np.zeros(WIDTH, dtype=bool)] * lines)), lines


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(NAMES))
def test_all_placements_at_once_are_each_of_them_played_out(seed, piece):
    game, chance = Tetris(seed).episode(Key(0, 0)), np.random.default_rng(seed)
    for _ in range(int(chance.integers(0, 18))):
        if len(game.options) and game.finish is None:
            game.step(int(chance.integers(len(game.options))))
    found = options(game.board, piece)
    for action in range(len(found)):
        after, lines = dropped(game.board, piece, action)
        assert np.array_equal(found.after(action).cells_HW, after.cells_HW)
        assert found.lines_A[action] == lines
        assert found.features_AF[action] == pytest.approx(after.features_F - game.board.features_F)


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_a_board_in_the_mirror_has_the_same_holes_and_wells(seed):
    cells_HW = np.zeros((HEIGHT, WIDTH), dtype=bool)
    cells_HW[:12] = np.random.default_rng(seed).random((12, WIDTH)) < 0.6
    one, other = Board(cells_HW).features_F, Board(cells_HW[:, ::-1].copy()).features_F
    assert one[:10].tolist() == other[:10][::-1].tolist()
    assert one[11:20].tolist() == other[11:20][::-1].tolist()
    assert one[[10, 20, 21, 22]].tolist() == other[[10, 20, 21, 22]].tolist()


def test_what_sticks_out_above_the_twentieth_row_is_no_placement():
    tower = np.zeros((HEIGHT, WIDTH), dtype=bool)
    tower[: HEIGHT - 1, :9] = True
    found = options(Board(tower), "I")
    lying = [placed(found, a) for a in range(len(found))]
    assert all(max(row for row, _ in each.cells) < HEIGHT for each in lying)
    assert {each.tall for each in lying} == {1, 4}  # lying on top, or standing in the last column
    tower[: HEIGHT - 1, 9] = True
    tower[HEIGHT - 1] = False
    assert len(options(Board(tower), "O")) == 0


def test_a_game_ends_when_nothing_fits_or_when_it_is_stopped():
    game = Tetris(0).episode(Key(0, 0))
    while game.finish is None:
        game.step(0)  # always in the same corner
    assert game.finish is Finish.TERMINATED and game.placements < 30
    with pytest.raises(ValueError, match="over"):
        game.step(0)
    short = Tetris(0, most=3).episode(Key(0, 0))
    finishes = [short.step(0).finish for _ in range(3)]
    assert finishes == [None, None, Finish.TRUNCATED]


def test_a_board_is_never_changed_and_is_drawn_as_it_was_read():
    board = Board.drawn_as(UNEVEN)
    before = board.cells_HW.copy()
    options(board, "T").after(3)
    assert np.array_equal(board.cells_HW, before)
    assert Board.drawn_as(board.drawn()).drawn() == board.drawn()
    assert board.drawn().split()[-1] == "#####.###."


def test_pieces_are_drawn_evenly():
    game = Tetris(3, most=10**6).episode(Key(0, 0))
    drawn = [game._next() for _ in range(7000)]
    assert all(880 < drawn.count(name) < 1120 for name in NAMES)
