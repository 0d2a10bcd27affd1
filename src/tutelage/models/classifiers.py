"""The class of a reward model in every causal family: a linear `score` on the last hidden state.

transformers has such a class for about half of the families. For the others (Cohere, Granite, CodeGen, LFM2, XGLM,
RWKV, Mamba, ...) one is made here from the family's own language model. Its folder holds the trunk's weights under the
names of the language model, `score.weight` [labels, width], and an architecture that ends in WithScoreHead; it is
loaded by `tutelage.models.pretrained.load_sequence_classifier`.
"""

from __future__ import annotations

import copy
import functools
import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutputWithPast

from tutelage.data.errors import InputError
from tutelage.models.trunk import trunk_name

OURS = "WithScoreHead"


def score_class(config: Any, name: str) -> Any:
    """The class whose `score` is linear on the last hidden state of the family's causal trunk.

    transformers' own where it is of that form, else the one made here. InputError for a family without a causal
    language model.
    """
    ours = any(each.endswith(OURS) for each in config.architectures or ())
    native = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(config), None)
    if native is not None and not ours and has_linear_score(native, config):
        return native
    causal = causal_class(config)
    if causal is None:
        raise InputError(
            f"{name}: transformers has no causal language model of type {config.model_type!r}, so no reward model can "
            "be made from it. Give a causal (decoder-only) language model."
        )
    return with_score_head(causal)


def scores_of_states(model: Any, states: Tensor) -> Tensor:
    """[..., labels] scores of last hidden states [..., d], in fp32 whatever the dtype of the weights."""
    head = model.score
    if head.weight.dtype == torch.float32:
        return head(states.float()).float()
    bias = None if head.bias is None else head.bias.float()
    return nn.functional.linear(states.float(), head.weight.float(), bias)


def causal_class(config: Any) -> Any | None:
    """The family's causal language model, or None."""
    found = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    return found[0] if isinstance(found, tuple) else found


def has_linear_score(native: Any, config: Any) -> bool:
    """Whether a model of this class is a trunk below a linear layer `score`, and the trunk that of the causal model."""
    causal = causal_class(config)
    if isinstance(native, tuple) or causal is None:
        return False
    try:
        with torch.device("meta"):
            model, language_model = native(copy.deepcopy(config)), causal(copy.deepcopy(config))
    except Exception:  # whatever the family's code raises, its class is not of that form
        return False
    same = type(model.base_model) is type(getattr(language_model, trunk_name(language_model)))
    return isinstance(getattr(model, "score", None), nn.Linear) and model.base_model is not model and same


@functools.cache
def with_score_head(causal: Any) -> Any:
    """A class of reward models for the family of this causal language model."""
    family = next(
        each
        for each in causal.__mro__
        if issubclass(each, PreTrainedModel)
        and each.__name__.endswith("PreTrainedModel")
        and each is not PreTrainedModel
    )
    name = causal.__name__.removesuffix("ForCausalLM").removesuffix("LMHeadModel")
    attributes = {
        "__module__": causal.__module__,  # other modules' classes count as custom code, whose buffers stay as they lie
        "__doc__": f"A linear score on the last hidden state of {causal.__name__}.",
        "base_model_prefix": causal.base_model_prefix,
        "causal_class": causal,
        "get_input_embeddings": causal.get_input_embeddings,
        "_tied_weights_keys": None,
        "_keys_to_ignore_on_load_missing": None,
    }
    return type(f"{name}{OURS}", (ScoreHead, family), attributes)


class ScoreHead:
    """What the made classes share; beside a family's PreTrainedModel it is a model of transformers like any other."""

    causal_class: Any
    base_model_prefix: str

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config)  # pyright: ignore[reportCallIssue]
        model: Any = self
        language_model = self.causal_class(config)
        self.base_model_prefix = trunk_name(language_model)
        setattr(self, self.base_model_prefix, getattr(language_model, self.base_model_prefix))
        model.score = nn.Linear(state_width(language_model), int(config.num_labels or 1), bias=False)
        model.post_init()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, **kwargs: Any
    ) -> SequenceClassifierOutputWithPast:
        """[B, labels] scores at the last token of each row that is not padding, as transformers' classes give them."""
        model: Any = self
        trunk = getattr(self, self.base_model_prefix)
        known = inspect.signature(trunk.forward).parameters
        kwargs = {name: value for name, value in kwargs.items() if name in known and value is not None}
        if attention_mask is not None and "attention_mask" in known:
            kwargs["attention_mask"] = attention_mask
        states_BSd = trunk(input_ids=input_ids, use_cache=False, **kwargs).last_hidden_state
        pad = model.config.get_text_config().pad_token_id
        if pad is None and len(input_ids) > 1:
            raise ValueError("Cannot handle batch sizes > 1 if no padding token is defined.")
        places_S = torch.arange(input_ids.shape[1], device=input_ids.device)
        last_B = (places_S * (input_ids != pad)).argmax(-1) if pad is not None else places_S[-1:]
        logits = model.score(states_BSd[torch.arange(len(input_ids), device=input_ids.device), last_B])
        loss = None
        if labels is not None:
            loss = nn.functional.mse_loss(logits.squeeze(-1), labels.to(logits.dtype))
        return SequenceClassifierOutputWithPast(loss=loss, logits=logits)  # pyright: ignore[reportArgumentType]


def state_width(model: Any) -> int:
    """Width of the last hidden state below a language model's head."""
    head = model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    if isinstance(weight, Tensor) and weight.dim() == 2:
        return int(weight.shape[1])
    return int(model.config.get_text_config().hidden_size)
