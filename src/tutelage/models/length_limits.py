"""How long a sequence may be before a model's attention or its rotary positions begin to depend on its length.

Up to these lengths a key-value cache that holds every token gives the model's own logits. Beyond them only a pass over
the whole sequence does. The limits are read from the model's config and from the attributes of its layers, since
finding them by experiment would take sequences of thousands of tokens.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

LOCAL = re.compile(r"window|chunk|local_att|keep_window|block_size")  # names of what bounds how far attention looks
OTHER = re.compile(r"^floor_scale$|^index_topk$")  # scales by position (Llama 4), keys that are chosen (DeepSeek 3.2)
UNRELATED = re.compile(r"feed_forward|expert|pattern|layers|theta|freq|hidden|intermediate|heads|^num_|prob|conv")
KINDS = ("sliding", "local", "chunk", "window")  # of layers that do not see everything


def cached_length(model: Any) -> float:
    """Tokens up to which attention sees the whole sequence and nothing else in the model changes with its length.

    model: the causal language model, or what stands below its head
    returns: infinity where nothing is known that would change
    """
    config = model.config.get_text_config()
    found = [_limit(name, value) for name, value in _entries(config.to_dict()) if _is_active(name, config)]
    for module in model.modules():
        found += [_limit(name, value) for name, value in vars(module).items() if not name.startswith("_")]
    return min([*found, rotary_length(model)])


def rotary_length(model: Any) -> float:
    """Tokens up to which rotary frequencies are fixed; dynamic NTK and longrope choose others for longer sequences.

    Beyond it a token's logits depend on how long the whole sequence (and batch) is, so there is no one log-prob. The
    limit itself is left out: after a longer sequence, dynamic NTK goes back only for shorter ones than the limit.
    """
    config = model.config.get_text_config()
    limits = [math.inf]
    for name in ("rope_parameters", "rope_scaling"):
        for ropes in _with_inner(getattr(config, name, None)):
            kind = str(ropes.get("rope_type", ropes.get("type", "")))
            if "dynamic" in kind or kind in ("longrope", "su"):
                places = (ropes.get("original_max_position_embeddings"), *_positions_of(config))
                limits.append(min((each for each in places if each), default=math.inf))
    return min(limits) - 1


def _positions_of(config: Any) -> tuple[Any, Any]:
    names = ("original_max_position_embeddings", "max_position_embeddings")
    return getattr(config, names[0], None), getattr(config, names[1], None)


def _with_inner(ropes: Any) -> Iterator[Mapping[str, Any]]:
    """The rotary parameters, and those of each kind of layer where they differ."""
    if isinstance(ropes, Mapping):
        yield ropes
        yield from (each for each in ropes.values() if isinstance(each, Mapping))


def _entries(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _entries(value)
        elif isinstance(name, str):
            yield name, value


def _is_active(name: str, config: Any) -> bool:
    """Whether any layer uses what this entry bounds: configs keep a window that all of their layers ignore."""
    if name == "floor_scale":
        return bool(getattr(config, "attn_temperature_tuning", True))
    if not LOCAL.search(name):
        return True
    if name == "sliding_window" and getattr(config, "use_sliding_window", True) is False:
        return False
    kinds = [str(each) for each in getattr(config, "layer_types", None) or getattr(config, "attention_layers", ())]
    return not kinds or any(word in kind for kind in kinds for word in KINDS)


def _limit(name: str, value: Any) -> float:
    """The limit that this entry of a config or attribute of a layer sets, if any."""
    if UNRELATED.search(name) or not (LOCAL.search(name) or OTHER.search(name)):
        return math.inf
    values = value if isinstance(value, list | tuple) else [value]
    limits = [each for each in values if isinstance(each, int) and not isinstance(each, bool) and each > 1]
    limit = min(limits, default=math.inf)
    return limit - 1 if name == "floor_scale" else limit
