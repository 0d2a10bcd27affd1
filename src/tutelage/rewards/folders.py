"""The folder of a reward model: a whole sequence classifier, or the LoRA adapter of one in peft's format."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from tutelage.data.tokens import Codec
from tutelage.models.reward_adapters import is_reward_adapter, save_reward_adapter

if TYPE_CHECKING:
    from tutelage.rewards.language import Heads

PADDING = "<|pad|>"  # added to a tokenizer that has no token to spare


def save_heads(model: Heads, folder: Path, codec: Codec) -> None:
    """What `Heads.save` does."""
    classifier = model.model
    known = len(classifier.get_input_embeddings().weight)
    tokenizer, rows = with_padding(codec.tokenizer, known)
    classifier.config.score_bias = model.bias_H.tolist() if len(model.bias_H) > 1 else float(model.bias_H)
    if is_reward_adapter(classifier):
        save_reward_adapter(classifier, folder)
        (tokenizer if rows == known else codec.tokenizer).save_pretrained(folder)
        return
    saved_with_rows(classifier, rows, int(tokenizer.pad_token_id), folder)
    tokenizer.save_pretrained(folder)


def with_padding(tokenizer: Any, rows: int) -> tuple[Any, int]:
    """(a copy of the tokenizer whose padding is not its end of sequence, the rows of an embedding that it needs).

    transformers takes the last token that is not padding for the end of a text, so padding must not be the token that
    ends replies. Where nothing else is there, as in GPT-2, a token is added for it.
    """
    padded = cast("Any", copy.deepcopy(tokenizer))
    if padded.pad_token_id not in (None, padded.eos_token_id):
        return padded, rows
    others = (padded.unk_token, padded.bos_token)
    other = next((each for each in others if each not in (None, padded.eos_token)), None)
    if other is not None:
        padded.pad_token = other
        return padded, rows
    padded.add_special_tokens({"pad_token": PADDING})
    return padded, max(rows, int(padded.convert_tokens_to_ids(PADDING)) + 1)


def saved_with_rows(model: Any, rows: int, pad_token_id: int, folder: Path) -> None:
    """Saves the model with so many rows in its embedding; new ones are the mean of the others. The model stays as it
    is: an optimizer may hold its weights."""
    embedding, config = model.get_input_embeddings().weight, model.config.get_text_config()
    missing = rows - len(embedding)
    state, before = model.state_dict(), config.vocab_size
    if missing > 0:
        whole = torch.cat([embedding, embedding.mean(dim=0, keepdim=True).expand(missing, -1)]).detach()
        state = {name: whole if each.data_ptr() == embedding.data_ptr() else each for name, each in state.items()}
        config.vocab_size = rows
    for each in (model.config, config):
        each.pad_token_id = pad_token_id
    try:
        model.save_pretrained(folder, state_dict=state)
    finally:
        config.vocab_size = before
