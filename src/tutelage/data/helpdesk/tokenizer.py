"""One token a word, one a sign of an order number; text comes back as it was: a space belongs to the word after it."""

from __future__ import annotations

import re

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tutelage.data.helpdesk import demonstrations, world

PIECE = r" ?[A-Za-z]+|\d| ?#|[^A-Za-z\d#]"
"""A word or # with the space before it, a digit, or any other single character."""


def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer of every piece that the templates of the world can give; the same on every machine.

    No special token is added to a text. Of texts of this world, decode(encode(text)) == text and none is unknown.
    """
    texts = [*world.every_text(), *demonstrations.every_text(), " ", "#"]
    pieces = sorted({piece for text in texts for piece in re.findall(PIECE, text)})
    vocabulary = ["<pad>", "<eos>", "<unk>", *pieces]
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
