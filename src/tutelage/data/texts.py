"""Text as it stands, for a language-model loss: files of plain text, or rows with a text column."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.data.errors import InputError
from tutelage.data.files import TEXT, ReadReport, Row
from tutelage.data.sources import match_shape, read_all, read_string
from tutelage.data.tokens import Codec, written
from tutelage.trajectory import Trajectory

HELD_OUT = 10  # one piece of so many, the last ones
MOST_HELD_OUT = 64


def read_texts(source: str, codec: Codec) -> tuple[list[str], ReadReport]:
    """The texts of a file, a folder or a hub id; InputError where rows have no text column."""

    def understand(row: Row, report: ReadReport) -> str | None:
        match_shape(row, ((TEXT,),), "text, or a file of plain text (.txt)")
        text = read_string(row.fields, TEXT, row)
        return text if text.strip() else report.drop(row, "with an empty text")

    return read_all(source, codec, understand)


def in_pieces(codec: Codec, texts: Sequence[str], longest: int) -> list[Trajectory]:
    """Pieces of at most `longest` tokens, in their order; every token but the first of a piece is an action."""
    if longest < 2:
        raise InputError(f"a piece of text of {longest} tokens has none to predict: expected 2 or more.")
    pieces = []
    for text in texts:
        tokens = codec.prompt(text)
        cut = [tokens[start : start + longest] for start in range(0, len(tokens), longest)]
        pieces += [written(piece[:1], piece[1:], ended=False) for piece in cut if len(piece) > 1]
    return pieces


def split_held_out(pieces: Sequence[Trajectory], source: str) -> tuple[list[Trajectory], list[Trajectory]]:
    """(to learn from, held out): the last tenth of the pieces is held out, one at least and 64 at most."""
    if len(pieces) < 2:
        raise InputError(
            f"{source}: {len(pieces)} pieces of two tokens or more; expected two at least, one to learn from and one "
            "that is held out."
        )
    count = min(MOST_HELD_OUT, max(1, len(pieces) // HELD_OUT))
    return list(pieces[:-count]), list(pieces[-count:])
