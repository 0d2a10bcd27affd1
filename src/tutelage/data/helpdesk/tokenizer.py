"""One token a word, one a digit, and text comes back exactly as it was: a space belongs to the word after it."""

from __future__ import annotations

import re

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tutelage.data.helpdesk.demonstrations import every_text

PIECE = r" ?[A-Za-z]+|\d| ?#|[^A-Za-z\d#]"


def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer over every word of the world; the same on every machine."""
    pieces = dict.fromkeys(piece for text in every_text() for piece in re.findall(PIECE, text))
    words = {piece.strip(" ") for piece in pieces if piece[-1].isalpha()}
    marks = sorted({"#", " #", ".", ",", ":", "\n", " ", "?", "!"} | {p for p in pieces if not p[-1].isalpha()})
    vocabulary = ["<pad>", "<eos>", "<unk>", *marks, *sorted(f"{space}{word}" for word in words for space in ("", " "))]
    built = Tokenizer(models.WordLevel({piece: index for index, piece in enumerate(vocabulary)}, unk_token="<unk>"))
    built.pre_tokenizer = pre_tokenizers.Split(Regex(PIECE), behavior="isolated")
    built.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=built,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )
