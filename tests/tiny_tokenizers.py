"""Small tokenizers of the kinds that models have: byte-level BPE, unigram and BPE with a mark for blanks."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

TEXTS = ["where is my order the kettle arrived broken please send a refund </s> <|im_start|> 0123456789"] * 5
CONTROLS = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }} {{ m['content'] }}<|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)


def byte_level():
    """Every letter outside ASCII is two tokens or more."""
    built = Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    built.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=330, special_tokens=CONTROLS, initial_alphabet=alphabet)
    )
    return _finished(built)


def unigram(scheme: str = "always"):
    """As SentencePiece writes them; the control tokens are pieces of the vocabulary, too."""
    built = Tokenizer(models.Unigram())
    built.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    built.decoder = decoders.Metaspace(prepend_scheme=scheme)
    special = ["<unk>", *CONTROLS]
    built.train_from_iterator(
        TEXTS, trainers.UnigramTrainer(vocab_size=90, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    return _finished(built, unk_token="<unk>")


def beginning(tokenizer):
    """The same, which begins every text with <s> and ends it with </s>."""
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(name, tokenizer.convert_tokens_to_ids(name)) for name in ("<s>", "</s>")]
    )
    return tokenizer


def _finished(built: Tokenizer, **special: str):
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=built,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        **special,
    )
    tokenizer.chat_template = CHATML
    return tokenizer
