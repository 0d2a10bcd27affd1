"""The lower layers of a transformer alone: what a reward model reads need not be the state of the last layer."""

from __future__ import annotations

from typing import Any

from torch import nn

from tutelage.data.errors import InputError
from tutelage.models.trunk import trunk


def depth_of(model: Any) -> int:
    """How many layers the transformer has."""
    return int(model.config.get_text_config().num_hidden_layers)


def keep_lower_layers(model: Any, layers: int) -> None:
    """Cuts the transformer to its first `layers` layers, in place; the norm behind the last one stays where it is.

    The config says so, too, so that the model is saved and loaded at this depth.

    raises InputError: where the model has fewer, or keeps its layers in another form than one list
    """
    depth, config = depth_of(model), model.config.get_text_config()
    if not 1 <= layers <= depth:
        raise InputError(f"a depth of {layers} layers: the model has {depth}. Give 1 to {depth}.")
    if layers == depth:
        return
    body = trunk(model)
    lists = [(name, each) for name, each in body.named_children() if isinstance(each, nn.ModuleList)]
    found = [(name, each) for name, each in lists if len(each) == depth]
    if len(found) != 1:
        raise InputError(
            f"a depth of {layers} layers: {type(body).__name__} does not hold its {depth} layers in one list, so it "
            f"cannot be cut. Give {depth}, all of them."
        )
    name, every = found[0]
    setattr(body, name, every[:layers])
    config.num_hidden_layers = layers
    for name, value in list(vars(config).items()):
        if isinstance(value, list) and len(value) == depth:  # layer_types and its like: a value for each layer
            setattr(config, name, value[:layers])
