"""The first layers of a transformer, frozen: they keep their bits, and their gradients cost nothing."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from tutelage.data.errors import InputError
from tutelage.models.trunk import trunk


def freeze_first_layers(model: Any, share: float) -> int:
    """Freezes the first floor(share · layers) layers, and the embeddings below them where the head does not share them;
    returns how many layers. An adapter's weights within those layers are frozen, too.

    raises InputError: where the model's layers are not found, or nothing is left that learns
    """
    if share <= 0:
        return 0
    layers = layers_of(model)
    frozen = math.floor(round(share * len(layers), 9))
    below: list[nn.Module] = list(layers[:frozen])
    if frozen:
        below.append(model.get_input_embeddings())
    head = model.get_output_embeddings()
    shared = {id(each) for each in head.parameters()} if head is not None else set[int]()
    for module in below:
        for parameter in module.parameters():
            if id(parameter) not in shared:
                parameter.requires_grad_(False)
    if not any(each.requires_grad for each in model.parameters()):
        raise InputError(f"{frozen} of {len(layers)} layers are frozen, and nothing is left that learns: freeze fewer.")
    return frozen


def layers_of(model: Any) -> nn.ModuleList:
    """The transformer's layers, in the order in which they are run: its longest list of modules."""
    lists = [each for each in trunk(model).children() if isinstance(each, nn.ModuleList)]
    if not lists:
        raise InputError(f"the layers of {type(model).__name__} were not found, so none can be frozen.")
    return max(lists, key=len)
