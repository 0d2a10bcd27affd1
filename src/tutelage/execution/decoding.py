"""Next-token logits of many running sequences: the part of sampling that asks the model.

`Slots` keeps a key-value cache with one slot a sequence, each at its own position, so that sequences can begin, end and
hear an answer at any time: the others do not wait and nothing is padded. `Rereading` asks a model that does not allow
this (state-space models, positions that a cache cannot shift) for the whole sequences again at every token.
"""

from __future__ import annotations

import functools
import math
import sys
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from tutelage.models.kernels import DecodingStep, kernels
from tutelage.models.length_limits import cached_length
from tutelage.models.trunk import trunk
from tutelage.policies.language import LanguagePolicy
from tutelage.trajectory import Batch

ROUND = 16  # slots grow by so many tokens at a time
READ_AT_ONCE = 8192  # tokens of prompts in one pass
LOGITS_AT_ONCE = 2**27  # of whole sequences, where the head cannot be run on their last states alone
ROUNDING_NATS = 1e-3  # more than rounding in fp32; between sampler and learner 3e-5 has been seen
COARSE_DIVERGENCE_NATS = 0.05  # between distributions, in a lower precision
COARSE_ROUNDING_NATS = 0.1  # the same for a mean over actions, in a lower precision


class Running(Protocol):
    """One sequence. tokens: all so far. read: how many of them the decoder has seen; it keeps the count."""

    tokens: list[int]
    read: int


class Decoder(Protocol):
    """rows are the sequences in the decoder's own order; the last of them may wait, and are then not asked for."""

    def add(self, rows: Sequence[Running]) -> None:
        """New sequences after those that run."""
        ...

    def step(self, rows: Sequence[Running]) -> Tensor:
        """[len(rows), V] logits of what comes after each sequence's last token. rows: all, or the first of them."""
        ...

    def keep(self, alive: Sequence[int]) -> None:
        """The rows that stay, in their new order."""
        ...

    def begin(self) -> None:
        """No rows yet, and the weights as they are now."""
        ...


def decoder_of(policy: LanguagePolicy) -> Decoder:
    """The fastest decoder that gives this model's own logits."""
    if _slots_fit(policy):
        return Slots(policy)
    say_once(policy, "does not fit a cache of slots: every reply is read anew at each token, which is slow")
    return Rereading(policy)


@torch.no_grad()
def agrees(policy: LanguagePolicy, batch: Batch) -> bool:
    """Whether a pass over whole sequences gives the log-probs that the longest and the shortest were drawn with.

    This finds what the probe of a few tokens and the config do not show, such as a window under a name of its own.
    """
    order = batch.lengths_B.argsort()
    some = batch.select(sorted({int(order[0]), int(order[-1])}))
    gaps_N = (policy.log_probs(some) - some.behaviour_log_probs_BT)[some.mask_BT].abs()
    return bool(gaps_N.max() <= ROUNDING_NATS if not policy.rounding else gaps_N.mean() <= COARSE_ROUNDING_NATS)


class Rereading:
    """Every sequence as a whole, at every step: right for any model, and slow."""

    def __init__(self, policy: LanguagePolicy) -> None:
        self.policy, self.device = policy, next(policy.parameters()).device
        self.vocabulary = policy.model.config.get_text_config().vocab_size
        self.rotary = policy.rotary_length

    def begin(self) -> None:
        pass

    def add(self, rows: Sequence[Running]) -> None:
        pass

    def keep(self, alive: Sequence[int]) -> None:
        pass

    def step(self, rows: Sequence[Running]) -> Tensor:
        whole: list[Tensor | None] = [None] * len(rows)
        for part in self._parts([len(row.tokens) for row in rows]):
            for place, logits in zip(part, self._last_logits([rows[place].tokens for place in part]), strict=True):
                whole[place] = logits
        return torch.stack(cast("list[Tensor]", whole))

    def _parts(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Rows that are read together: as many as memory holds, and of one length where the positions depend on it."""
        longest = max(lengths)
        if longest > self.rotary:
            for length in sorted(set(lengths)):
                yield [place for place, each in enumerate(lengths) if each == length]
            return
        tokens = READ_AT_ONCE if self.policy.head_is_plain else min(READ_AT_ONCE, LOGITS_AT_ONCE // self.vocabulary)
        size = max(1, tokens // longest)
        yield from (list(range(start, min(start + size, len(lengths)))) for start in range(0, len(lengths), size))

    def _last_logits(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        padded, last = _right_padded(tokens, self.device)
        rows = torch.arange(len(tokens), device=self.device)
        model = self.policy.model
        if padded.shape[1] > self.rotary:  # dynamic positions remember a longer sequence until a short one comes
            model(input_ids=padded[:1, :1], use_cache=False)
        if not self.policy.head_is_plain:
            return model(input_ids=padded, use_cache=False).logits[rows, last]
        states = trunk(model)(input_ids=padded, use_cache=False).last_hidden_state
        return model.get_output_embeddings()(states[rows, last])


class Slots:
    """A key-value cache of fixed slots: row i of the running sequences is slot i."""

    def __init__(self, policy: LanguagePolicy) -> None:
        self.policy, self.device = policy, next(policy.parameters()).device
        self.model = trunk(policy.model) if policy.head_is_plain else policy.model
        self.shapes = _shapes(self.model, self.device)
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.slots = self.capacity = self.used = 0
        self.limit, self.whole = cached_length(policy.model), Rereading(policy)
        self.head = kernels().head(policy.model.get_output_embeddings() if policy.head_is_plain else None)
        self.single = DecodingStep(self.model, advance)
        if math.isinf(self.whole.rotary):  # what a forward pass rewrites cannot be an input of a recording
            self.single = kernels().decoding_step(self.model, advance, functools.partial(say_once, policy))

    def begin(self) -> None:
        self.used = 0
        self.head.forget()
        self.single.begin()

    def add(self, rows: Sequence[Running]) -> None:
        """Reads every distinct beginning once, all but its last token, and copies it to those who share it."""
        first: dict[tuple[int, ...], int] = {}
        everyone, place = rows, range(self.used, self.used + len(rows))
        self.used += len(rows)
        place = [slot for slot, row in zip(place, everyone, strict=True) if self._holds(len(row.tokens))]
        rows = [row for row in everyone if self._holds(len(row.tokens))]
        self._make_room(self.used, max((len(row.tokens) for row in rows), default=1))
        if not rows:
            return
        for slot, row in zip(place, rows, strict=True):
            first.setdefault(tuple(row.tokens[:-1]), slot)
        leaders = [slot for slot, row in zip(place, rows, strict=True) if first[tuple(row.tokens[:-1])] == slot]
        by_slot = dict(zip(place, rows, strict=True))
        longest = max(len(row.tokens) for row in rows)
        size = max(1, READ_AT_ONCE // longest)
        for start in range(0, len(leaders), size):
            some = leaders[start : start + size]
            self._read(some, [by_slot[slot].tokens[:-1] for slot in some], [0] * len(some))
        followers = [slot for slot in place if slot not in set(leaders)]
        sources = [first[tuple(by_slot[slot].tokens[:-1])] for slot in followers]
        self._copy(sources, followers, longest)
        for row in rows:
            row.read = len(row.tokens) - 1

    def step(self, rows: Sequence[Running]) -> Tensor:
        longest = max(len(row.tokens) for row in rows)
        if not self._holds(longest):  # slots forget nothing; shorter rows catch up when these are done
            say_once(
                self.policy,
                f"past {self.limit:.0f} tokens its attention or its positions depend on the "
                "length, so every reply is read anew at each token, which is slow",
            )
            return self.whole.step(rows)
        self._make_room(len(rows), longest)
        behind = [slot for slot, row in enumerate(rows) if len(row.tokens) - row.read > 1]
        size = max(1, READ_AT_ONCE // max((len(rows[s].tokens) - rows[s].read for s in behind), default=1))
        for some in (behind[start : start + size] for start in range(0, len(behind), size)):
            self._read(some, [rows[s].tokens[rows[s].read : -1] for s in some], [rows[s].read for s in some])
        tokens = torch.tensor([row.tokens[-1] for row in rows], device=self.device)[:, None]
        positions = torch.tensor([len(row.tokens) - 1 for row in rows], device=self.device)[:, None]
        for row in rows:
            row.read = len(row.tokens)
        seen = min(self.capacity, _rounded_up(longest))
        keys = [each[: len(rows), :, :seen] for each in self.keys]
        values = [each[: len(rows), :, :seen] for each in self.values]
        return self.head(self.single(tokens, positions, keys, values)[:, -1])

    def keep(self, alive: Sequence[int]) -> None:
        moved = [(source, slot) for slot, source in enumerate(alive) if source != slot]
        self._copy([source for source, _ in moved], [slot for _, slot in moved], self.capacity)
        self.used = len(alive)

    def _holds(self, tokens: int) -> bool:
        """Whether slots give the model's logits for sequences so long; some layers look at the length of the cache."""
        return _rounded_up(tokens) <= self.limit

    def _read(self, slots: Sequence[int], tokens: Sequence[Sequence[int]], starts: Sequence[int]) -> None:
        """Puts these tokens into these slots; what lies behind a shorter one is overwritten before it is looked at."""
        some = [place for place, each in enumerate(tokens) if each]
        if not some:
            return
        padded, last = _right_padded([tokens[place] for place in some], self.device)
        begin = torch.tensor([starts[place] for place in some], device=self.device)
        positions = begin[:, None] + torch.arange(padded.shape[1], device=self.device)
        seen = int(positions.max()) + 1
        self._make_room(self.used, seen)
        where = torch.tensor([slots[place] for place in some], device=self.device)
        keys, values = ([each[where, :, :seen] for each in group] for group in (self.keys, self.values))
        advance(self.model, padded, positions, keys, values, last=begin + last, logits_to_keep=1)
        for whole, part in zip((*self.keys, *self.values), (*keys, *values), strict=True):
            whole[where, :, :seen] = part

    def _copy(self, sources: Sequence[int], slots: Sequence[int], tokens: int) -> None:
        if slots:
            before, after = (torch.tensor(list(each), device=self.device) for each in (sources, slots))
            for each in (*self.keys, *self.values):
                each[after, :, :tokens] = each[before, :, :tokens]

    def _make_room(self, slots: int, tokens: int) -> None:
        """At least so many slots of so many tokens; what they hold stays."""
        if slots <= self.slots and tokens <= self.capacity:
            return
        self.slots, self.capacity = max(slots, self.slots), max(self.capacity, _rounded_up(tokens) + 4 * ROUND)
        for group, part in ((self.keys, 0), (self.values, 1)):
            grown = []
            for layer, (heads, width, dtype) in enumerate(self.shapes[part]):
                new = torch.zeros(self.slots, heads, self.capacity, width, dtype=dtype, device=self.device)
                if group:
                    old = group[layer]
                    new[: old.shape[0], :, : old.shape[2]] = old
                grown.append(new)
            group[:] = grown


class Window(Cache):
    """What attention asks of a cache, over the slots of one pass: writes at each row's own positions."""

    def __init__(self, keys: list[Tensor], values: list[Tensor], positions: Tensor) -> None:
        self.layers = []
        self.kept, self.positions = (keys, values), positions
        self.rows = torch.arange(positions.shape[0], device=positions.device)[:, None]

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> Any:
        keys, values = self.kept[0][layer_idx], self.kept[1][layer_idx]
        keys[self.rows, :, self.positions] = key_states.transpose(1, 2)
        values[self.rows, :, self.positions] = value_states.transpose(1, 2)
        return keys, values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0


def advance(
    model: Any,
    tokens: Tensor,
    positions: Tensor,
    keys: list[Tensor],
    values: list[Tensor],
    last: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """[R, Q, d] last states (or logits) of Q new tokens a row, each seeing its own slot up to its own position.

    last: [R] positions of the rows' last real tokens, where rows are padded: the padding is told the same position,
        since one behind the longest row may lie outside of what the model knows
    """
    seen = torch.arange(keys[0].shape[2], device=tokens.device) <= positions[:, :, None]
    dtype = keys[0].dtype
    mask = torch.zeros(seen.shape, dtype=dtype, device=tokens.device).masked_fill(~seen, torch.finfo(dtype).min)
    out = model(
        input_ids=tokens,
        position_ids=positions if last is None else torch.minimum(positions, last[:, None]),
        attention_mask=mask[:, None],
        past_key_values=Window(keys, values, positions),
        use_cache=True,
        **(options if hasattr(model, "lm_head") else {}),
    )
    return out.logits if hasattr(out, "logits") else out.last_hidden_state


SAID: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()


def say_once(policy: LanguagePolicy, message: str) -> None:
    """On the error stream, the first time that it is said of this model; its class stands in front."""
    said = SAID.setdefault(policy.model, set())
    if message not in said:
        said.add(message)
        adapted = hasattr(policy.model, "get_base_model")
        model = policy.model.get_base_model() if adapted else policy.model
        name = f"{type(model).__name__}{' with an adapter' if adapted else ''}"
        print(f"{name}: {message}", file=sys.stderr)


@torch.no_grad()
def _slots_fit(policy: LanguagePolicy) -> bool:
    """Whether this model, asked slot by slot, says what it says of whole sequences.

    Rows of several lengths, two of them with one beginning, and turns in which some hear more than others.
    """
    size = policy.model.config.get_text_config().vocab_size
    lengths = ((1, 6), (2, 3), (1, 6), (3, 1))
    rows = [_Probe([(7 * place + row) % size for place in range(length)]) for row, length in lengths]
    heard = ((1, 1, 1, 1), (5, 1, 2, 1), (1, 1, 1, 1))  # tokens that come to each row after a step
    try:
        slots, whole = Slots(policy), Rereading(policy)
        slots.add(rows)
        for step, further in enumerate(heard):
            found, wanted = slots.step(rows), whole.step(rows)
            if not _same_logits(found, wanted):
                return False
            for row, tokens in zip(rows, further, strict=True):
                row.tokens += [(3 + 2 * step + place) % size for place in range(tokens)]
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError, NotImplementedError):
        return False
    return True


def _same_logits(found_RV: Tensor, wanted_RV: Tensor) -> bool:
    """Whether two ways to the same logits differ by rounding alone: in fp32 each of them, in a lower precision the
    divergence of the distributions they give, in the mean over rows (SmolLM2-135M in bf16: 0.01 nats at most; with its
    cache shifted by one position: 0.3 at least)."""
    if wanted_RV.dtype == torch.float32:
        return bool((found_RV - wanted_RV).abs().max() <= 1e-4 * wanted_RV.abs().max())
    found, wanted = found_RV.float().log_softmax(-1), wanted_RV.float().log_softmax(-1)
    return bool((wanted.exp() * (wanted - found)).sum(-1).mean() <= COARSE_DIVERGENCE_NATS)


class _Probe:
    def __init__(self, tokens: list[int]) -> None:
        self.tokens, self.read = tokens, 0


@torch.no_grad()
def _shapes(model: Any, device: torch.device) -> tuple[list[Any], list[Any]]:
    """(heads, width, dtype) of keys and of values, layer by layer, as the model itself makes them."""
    cache = DynamicCache()
    model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=device), past_key_values=cache, use_cache=True)
    layers = cast("list[Any]", cache.layers)
    return (
        [(each.keys.shape[1], each.keys.shape[3], each.keys.dtype) for each in layers],
        [(each.values.shape[1], each.values.shape[3], each.values.dtype) for each in layers],
    )


def _right_padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """([n, longest] tokens, [n] index of each row's last)."""
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True).to(device)
    return tokens, torch.tensor([len(row) - 1 for row in rows], device=device)


def _rounded_up(tokens: int) -> int:
    return -(-tokens // ROUND) * ROUND
