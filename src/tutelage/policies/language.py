"""π(a|s) and V(s) of language: any Hugging Face causal LM, and a value head on a trunk of its own or on the policy's.

Batches are padded on the right and attention is causal, so no real position ever sees padding: there is no attention
mask to get wrong, and positions count from 0. The language-model head runs on the N positions where the policy acted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec
from tutelage.formulas import kl, likelihood, sampling
from tutelage.models.adapters import has_learned
from tutelage.models.classifiers import scores_of_states, state_width
from tutelage.models.dtypes import rounding_of
from tutelage.models.head import said
from tutelage.models.kernels import is_plain_linear, kernels
from tutelage.models.length_limits import rotary_length
from tutelage.models.trunk import Numerics, last_states, trunk
from tutelage.trajectory import Batch, Evaluation

Masking = Callable[[Sequence[Any]], Tensor | None]  # running episodes -> [rows, V] bool of what may come; None: all


class LanguagePolicy(nn.Module):
    """π(a_t|s_t) = softmax(logits(s_t) / temperature): the one temperature of sampling, old, new and reference.

    masking: what its sampler may choose from, where an algorithm restricts it (NLPO); kept as the batch's `support`
    """

    def __init__(self, model: Any, temperature: float = 1.0, numerics: Numerics = Numerics()) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}, expected more than 0 (a greedy policy has no log-probs)")
        self.model = kernels().accelerate(model)
        self.temperature, self.numerics = temperature, numerics
        self.masking: Masking | None = None
        self.rotary_length = rotary_length(model)
        self.weight_rounding = rounding_of(model)

    @property
    def rounding(self) -> float:
        """torch.finfo(dtype).eps of what is coarser below fp32, the products or the weights; 0 in fp32."""
        return max(self.numerics.rounding, self.weight_rounding)

    @cached_property
    def head_is_plain(self) -> bool:
        """Whether logits are the output embeddings applied to the trunk's last state: some families scale or cap them.

        Found by a forward pass of four tokens when it is first asked, not in the constructor: a model that is sharded
        over ranks must be wrapped first.
        """
        return _head_is_plain(self.model)

    def states(self, batch: Batch) -> Tensor:
        """[B, T+1, d] last hidden state at every observation.

        raises InputError: where the model's rotary positions depend on the length of the whole batch
        """
        longest = batch.observations.shape[1]
        if longest > self.rotary_length:
            raise InputError(
                f"a sequence of {longest} tokens: past {self.rotary_length:.0f} the rotary positions of this model "
                "(dynamic or longrope scaling) depend on the longest sequence of a batch, so an action has no one "
                "log-prob. Keep prompt and reply within that length."
            )
        return last_states(self.model, batch.observations, self.numerics)

    def action_logits(self, states_BSd: Tensor, batch: Batch) -> Tensor:
        """[N, V] logits of the real actions, before the temperature; what could not be chosen is replayed as such."""
        with self.numerics.autocast(states_BSd.device):
            if self.head_is_plain:
                logits_NV = self.model.get_output_embeddings()(states_BSd[:, :-1][batch.mask_BT])
            else:
                logits_NV = self.model(input_ids=batch.observations, use_cache=False).logits[:, :-1][batch.mask_BT]
        support = batch.extras.get("support")
        if support is None:
            return logits_NV
        return logits_NV.masked_fill(~sampling.unpack(support[batch.mask_BT], logits_NV.shape[-1]), sampling.NEVER)

    def evaluate(self, states_BSd: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """(log_probs_BT, entropy_BT), 0 where the policy did not act."""
        head = self.model.get_output_embeddings()
        if self.head_is_plain and is_plain_linear(head) and "support" not in batch.extras:
            states_Nd, actions_N = states_BSd[:, :-1][batch.mask_BT], batch.actions[batch.mask_BT]
            with self.numerics.autocast(states_Nd.device):
                log_probs_N, entropy_N = said(states_Nd, head.weight, head.bias, actions_N, self.temperature)
            return _spread(log_probs_N, batch), _spread(entropy_N, batch)
        logits_NV = self.action_logits(states_BSd, batch)
        log_probs_N = likelihood.action_log_probs(logits_NV, batch.actions[batch.mask_BT], self.temperature)
        with torch.no_grad():  # entropy is reported, not optimised
            entropy_N = likelihood.entropy(logits_NV, self.temperature)
        return _spread(log_probs_N, batch), _spread(entropy_N, batch)

    def log_probs(self, batch: Batch) -> Tensor:
        """[B, T] log π(a_t|s_t) in fp32."""
        return self.evaluate(self.states(batch), batch)[0]

    def forward(self, batch: Batch) -> Tensor:
        return self.log_probs(batch)


class ValueModel(nn.Module):
    """V(s_t) at every state, from a trunk of its own that started as the reward model (Stiennon et al. 2020)."""

    def __init__(self, sequence_classifier: Any, numerics: Numerics = Numerics()) -> None:
        super().__init__()
        self.model, self.numerics = kernels().accelerate(sequence_classifier), numerics
        bias = float(getattr(sequence_classifier.config, "score_bias", 0.0))
        self.bias = nn.Parameter(torch.tensor([bias]))  # [1], since FSDP2 does not shard parameters without dimensions

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Also reads what was saved when the bias had no dimension."""
        saved = state_dict.get(f"{prefix}bias")
        if isinstance(saved, Tensor) and saved.dim() == 0:
            state_dict[f"{prefix}bias"] = saved.view(1)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, batch: Batch) -> Tensor:
        """[B, T+1] values."""
        states_BSd = last_states(self.model, batch.observations, self.numerics)
        return scores_of_states(self.model, states_BSd).squeeze(-1) + self.bias.squeeze(0).to(states_BSd.device)


class SeparateCritic(nn.Module):
    """Policy and value as two networks: early value gradients cannot disturb the policy."""

    def __init__(self, policy: LanguagePolicy, value: nn.Module) -> None:
        super().__init__()
        self.policy, self.value = policy, value

    def forward(self, batch: Batch) -> Evaluation:
        log_probs_BT, entropy_BT = self.policy.evaluate(self.policy.states(batch), batch)
        return Evaluation(log_probs_BT, entropy_BT, self.value(batch), self.policy.rounding)


class SharedCritic(nn.Module):
    """A value head on the policy's trunk: half the memory and time. It starts at 0 (Ziegler et al. 2019), so V ≡ 0."""

    def __init__(self, policy: LanguagePolicy) -> None:
        super().__init__()
        self.policy = policy
        width = state_width(policy.model)
        self.head = nn.Linear(width, 1, device=next(policy.model.parameters()).device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch) -> Evaluation:
        states_BSd = self.policy.states(batch)
        log_probs_BT, entropy_BT = self.policy.evaluate(states_BSd, batch)
        values_BS = self.head(states_BSd.float()).squeeze(-1)
        return Evaluation(log_probs_BT, entropy_BT, values_BS, self.policy.rounding)


class Frozen:
    """The reference: log-probs of a policy as it is now, which no longer learns.

    A policy with a new LoRA adapter is its own reference with the adapter off, bitwise the base model. Any other policy
    is copied; weights that do not learn (below the adapter of a fine-tuned policy) are shared with the copy.
    """

    def __init__(self, policy: LanguagePolicy) -> None:
        self._has_adapter = hasattr(policy.model, "disable_adapter") and not has_learned(policy.model)
        self.policy = policy if self._has_adapter else frozen_copy(policy)

    def base(self) -> AbstractContextManager[Any]:
        return self.policy.model.disable_adapter() if self._has_adapter else nullcontext()

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        with self.base():
            return self.policy.log_probs(batch)


def frozen_copy(policy: LanguagePolicy) -> LanguagePolicy:
    """A copy that does not learn; parameters that do not learn in the policy either are shared with it."""
    shared = {id(each): each for each in policy.parameters() if not each.requires_grad}
    return copy.deepcopy(policy, shared).requires_grad_(False).eval()


@torch.no_grad()
def exact_kl(policy: LanguagePolicy, reference: LanguagePolicy, batch: Batch) -> Tensor:
    """[B, T] KL(π ‖ π_ref) in nats over the whole vocabulary at every state in which the policy acted, 0 elsewhere.

    Its sum over a reply of π's own estimates the same KL as Σ_t (log π − log π_ref), with less noise.
    """
    logits = (each.action_logits(each.states(batch), batch).float() / each.temperature for each in (policy, reference))
    return _spread(kl.exact(*logits), batch)


def stop_tokens(model: Any, codec: Codec) -> tuple[int, ...]:
    """Every token that ends a reply: the tokenizer's end of sequence first, then those of the generation config.

    Chat models end a turn with a token of their own (`<end_of_turn>`, `<|eot_id|>`, `<|end|>`), which stands in
    `generation_config.eos_token_id` alone. Ids that the model has no logits for are left out.
    """
    found = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    further = [] if found is None else torch.as_tensor(found).flatten().tolist()
    size = model.config.get_text_config().vocab_size
    return tuple(dict.fromkeys([*codec.stop_tokens, *(each for each in further if 0 <= each < size)]))


@torch.no_grad()
def _head_is_plain(model: Any) -> bool:
    head = model.get_output_embeddings()
    if head is None:
        return False
    device = next(model.parameters()).device
    tokens = torch.arange(4, device=device)[None] % model.config.get_text_config().vocab_size
    with torch.autocast(device.type, enabled=False):  # whoever asks first may be in a lower precision
        states = trunk(model)(input_ids=tokens, use_cache=False).last_hidden_state
        return torch.equal(head(states), model(input_ids=tokens, use_cache=False).logits)


def _spread(value_N: Tensor, batch: Batch) -> Tensor:
    """[N] values of the real actions back onto [B, T], 0 elsewhere."""
    spread_BT = torch.zeros(batch.mask_BT.shape, dtype=value_N.dtype, device=value_N.device)
    return spread_BT.masked_scatter(batch.mask_BT, value_N)
