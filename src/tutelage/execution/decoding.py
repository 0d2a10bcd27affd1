"""Next-token logits of many running sequences: the part of sampling that asks the model.

`Slots` keeps a key-value cache with one slot a sequence, each at its own position, so that sequences can begin, end and
hear an answer at any time: the others do not wait and nothing is padded. `Rereading` asks a model that does not allow
this (state-space models, positions that a cache cannot shift) for the whole sequences again at every token.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from tutelage.data.linear import library, packed
from tutelage.data.trunk import trunk
from tutelage.policies.language import LanguagePolicy

ROUND = 16  # slots grow by so many tokens at a time
READ_AT_ONCE = 8192  # tokens of prompts in one pass
WORTH_PACKING = 2**21  # weights of a head from which its own order pays
WORTH_TRACING = 12  # single steps after which recording the model's operations pays


class Running(Protocol):
    """One sequence. tokens: all so far. read: how many of them the decoder has seen; it keeps the count."""

    tokens: list[int]
    read: int


class Decoder(Protocol):
    """rows are always the running sequences in the decoder's own order."""

    def add(self, rows: Sequence[Running]) -> None:
        """New sequences after those that run."""
        ...

    def step(self, rows: Sequence[Running]) -> Tensor:
        """[len(rows), V] logits of what comes after each sequence's last token."""
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
    print("this model does not fit a cache of slots: every reply is read anew at each token", file=sys.stderr)
    return Rereading(policy)


def window(policy: LanguagePolicy) -> float:
    """Tokens that attention looks back at most."""
    config = policy.model.config.get_text_config()
    limits = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((limit for limit in limits if limit), default=math.inf)


class Rereading:
    """Every sequence as a whole, at every step: right for any model, and slow."""

    def __init__(self, policy: LanguagePolicy) -> None:
        self.policy, self.device = policy, next(policy.parameters()).device

    def begin(self) -> None:
        pass

    def add(self, rows: Sequence[Running]) -> None:
        pass

    def keep(self, alive: Sequence[int]) -> None:
        pass

    def step(self, rows: Sequence[Running]) -> Tensor:
        tokens, last = _right_padded([row.tokens for row in rows], self.device)
        logits = self.policy.model(input_ids=tokens, use_cache=False).logits
        return logits[torch.arange(len(rows), device=self.device), last]


class Slots:
    """A key-value cache of fixed slots: row i of the running sequences is slot i."""

    def __init__(self, policy: LanguagePolicy) -> None:
        self.policy, self.device = policy, next(policy.parameters()).device
        self.model = trunk(policy.model) if policy.head_is_plain else policy.model
        self.shapes = _shapes(self.model, self.device)
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.slots = self.capacity = self.used = self.steps = 0
        self.head = Head(policy)
        self.window, self.whole = window(policy), Rereading(policy)
        self.single: Callable[..., Tensor] | None = None
        self.tried = False

    def begin(self) -> None:
        self.used = self.steps = 0
        self.head.forget()

    def add(self, rows: Sequence[Running]) -> None:
        """Reads every distinct beginning once, all but its last token, and copies it to those who share it."""
        first: dict[tuple[int, ...], int] = {}
        place = range(self.used, self.used + len(rows))
        self.used += len(rows)
        self._make_room(self.used, max(len(row.tokens) for row in rows))
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
        if longest > self.window:  # a slot forgets nothing, the model does; shorter rows catch up when these are done
            return self.whole.step(rows)
        self._make_room(len(rows), longest)
        behind = [slot for slot, row in enumerate(rows) if len(row.tokens) - row.read > 1]
        if behind:
            self._read(behind, [rows[s].tokens[rows[s].read : -1] for s in behind], [rows[s].read for s in behind])
        tokens = torch.tensor([row.tokens[-1] for row in rows], device=self.device)[:, None]
        positions = torch.tensor([len(row.tokens) - 1 for row in rows], device=self.device)[:, None]
        for row in rows:
            row.read = len(row.tokens)
        seen = min(self.capacity, -(-longest // ROUND) * ROUND)
        keys = [each[: len(rows), :, :seen] for each in self.keys]
        values = [each[: len(rows), :, :seen] for each in self.values]
        self.steps += 1
        if self.steps >= WORTH_TRACING and not self.tried:
            self.tried, self.single = True, traced(self.model, tokens, positions, keys, values)
        # The same steps of every call, whatever was sampled before: a resumed run must add up in the same order.
        quick = self.single if self.steps >= WORTH_TRACING else None
        return self.head((quick or self._advance)(tokens, positions, keys, values)[:, -1])

    def keep(self, alive: Sequence[int]) -> None:
        moved = [(source, slot) for slot, source in enumerate(alive) if source != slot]
        self._copy([source for source, _ in moved], [slot for _, slot in moved], self.capacity)
        self.used = len(alive)

    def _advance(self, tokens: Tensor, positions: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
        return advance(self.model, tokens, positions, keys, values)

    def _read(self, slots: Sequence[int], tokens: Sequence[Sequence[int]], starts: Sequence[int]) -> None:
        """Puts these tokens into these slots; what lies behind a shorter one is overwritten before it is looked at."""
        some = [place for place, each in enumerate(tokens) if each]
        if not some:
            return
        padded, _ = _right_padded([tokens[place] for place in some], self.device)
        begin = torch.tensor([starts[place] for place in some], device=self.device)
        positions = begin[:, None] + torch.arange(padded.shape[1], device=self.device)
        seen = int(positions.max()) + 1
        self._make_room(self.used, seen)
        where = torch.tensor([slots[place] for place in some], device=self.device)
        keys, values = ([each[where, :, :seen] for each in group] for group in (self.keys, self.values))
        advance(self.model, padded, positions, keys, values, logits_to_keep=1)
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
        self.slots, self.capacity = max(slots, self.slots), max(self.capacity, -(-tokens // ROUND) * ROUND + 4 * ROUND)
        for group, part in ((self.keys, 0), (self.values, 1)):
            grown = []
            for layer, (heads, width, dtype) in enumerate(self.shapes[part]):
                new = torch.zeros(self.slots, heads, self.capacity, width, dtype=dtype, device=self.device)
                if group:
                    old = group[layer]
                    new[: old.shape[0], :, : old.shape[2]] = old
                grown.append(new)
            group[:] = grown


class Head:
    """Last states -> logits; a large vocabulary's weights are kept in the order that few rows are multiplied in."""

    def __init__(self, policy: LanguagePolicy) -> None:
        self.layer = policy.model.get_output_embeddings() if policy.head_is_plain else None
        weight = self.layer.weight if self.layer is not None else None
        fits = weight is not None and weight.dtype == torch.float32 and weight.device.type == "cpu"
        self.packs = fits and library() == "onednn" and weight is not None and weight.numel() >= WORTH_PACKING
        self.packed: Tensor | None = None

    def forget(self) -> None:
        """The weights may have changed: not every optimiser leaves a trace of that (fused ones bump no version)."""
        self.packed = None

    def __call__(self, states_Bd: Tensor) -> Tensor:
        if self.layer is None:
            return states_Bd  # the model's own forward went as far as its logits
        if not self.packs:
            return self.layer(states_Bd)
        if self.packed is None:
            self.packed = packed(self.layer.weight, len(states_Bd))
        return torch.ops.mkldnn._linear_pointwise.default(states_Bd, self.packed, self.layer.bias, "none", [], "")


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
    model: Any, tokens: Tensor, positions: Tensor, keys: list[Tensor], values: list[Tensor], **options: Any
) -> Tensor:
    """[R, Q, d] last states (or logits) of Q new tokens a row, each seeing its own slot up to its own position."""
    seen = torch.arange(keys[0].shape[2], device=tokens.device) <= positions[:, :, None]
    dtype = keys[0].dtype
    mask = torch.zeros(seen.shape, dtype=dtype, device=tokens.device).masked_fill(~seen, torch.finfo(dtype).min)
    out = model(
        input_ids=tokens,
        position_ids=positions,
        attention_mask=mask[:, None],
        past_key_values=Window(keys, values, positions),
        use_cache=True,
        **(options if hasattr(model, "lm_head") else {}),
    )
    return out.logits if hasattr(out, "logits") else out.last_hidden_state


def traced(
    model: Any, tokens: Tensor, positions: Tensor, keys: list[Tensor], values: list[Tensor]
) -> Callable[..., Tensor] | None:
    """`advance` for single tokens with the interpreter taken out: a small model spends half of a step in Python.

    The parameters are inputs of the recording, so it follows the weights as they learn. Where the model cannot be
    recorded, or the recording of one batch is not the model on another, there is none and the model itself is asked.
    """
    places = [(module, name) for module in model.modules() for name, p in module._parameters.items() if p is not None]
    plain = [module._parameters[name].detach() for module, name in places]
    like = _kind_of(model, plain)
    given = _widened(tokens, positions, keys, values)
    for again in (True, False):  # a model of the same kind may have been recorded, and mostly that one serves
        recorded = RECORDINGS.get(like) if again else _recorded(model, places, given, plain)
        if recorded is not None and _same(recorded, model, given, plain):
            while len(RECORDINGS) >= MOST_RECORDINGS and like not in RECORDINGS:
                RECORDINGS.pop(next(iter(RECORDINGS)))
            RECORDINGS[like] = recorded
            return lambda tokens, positions, keys, values: recorded(tokens, positions, keys, values, plain)
    return None


RECORDINGS: dict[Any, Any] = {}
"""Kind of model -> its recording. A recorder never gives its memory back (7 MB for a small model), and a laboratory
of a hundred models of one kind needs one."""
MOST_RECORDINGS = 16
Given = tuple[Tensor, Tensor, list[Tensor], list[Tensor]]


def _widened(tokens: Tensor, positions: Tensor, keys: list[Tensor], values: list[Tensor]) -> Given:
    """At least three rows: a recording of a single one takes its shapes for constants, and breaks on the next batch."""
    if len(tokens) >= 3:
        return tokens, positions, keys, values
    rows = torch.arange(3, device=tokens.device) % len(tokens)
    return tokens[rows], positions[rows], [each[rows] for each in keys], [each[rows] for each in values]


def _kind_of(model: Any, plain: Sequence[Tensor]) -> Any:
    config = {name: str(value) for name, value in model.config.to_dict().items() if name != "_name_or_path"}
    shapes = tuple((each.shape, each.dtype, each.device) for each in plain)
    return type(model), tuple(sorted(config.items())), shapes


def _recorded(model: Any, places: Sequence[tuple[Any, str]], given: Given, plain: list[Tensor]) -> Any | None:
    """None where the recorder does not like something: the model itself still works."""

    def pure(
        tokens: Tensor, positions: Tensor, keys: list[Tensor], values: list[Tensor], given: list[Tensor]
    ) -> Tensor:
        with _standing_in(places, given):
            return advance(model, tokens, positions, keys, values)

    tokens, positions, keys, values = given
    copies = [[each.clone() for each in group] for group in (keys, values)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.jit.trace(pure, (tokens, positions, *copies, plain), check_trace=False)
    except Exception:
        return None


def _same(recorded: Any, model: Any, given: Given, plain: list[Tensor]) -> bool:
    """Whether the recording says what the model says, on half of the rows."""
    tokens, positions, keys, values = given
    half = max(1, len(tokens) // 2)
    some = [[each[:half].clone() for each in group] for group in (keys, values)]
    again = [[each.clone() for each in group] for group in some]
    try:
        found = recorded(tokens[:half], positions[:half], *some, plain)
    except Exception:
        return False
    wanted = advance(model, tokens[:half], positions[:half], *again)
    return torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))


@contextmanager
def _standing_in(places: Sequence[tuple[Any, str]], given: Sequence[Tensor]) -> Any:
    before = [module._parameters[name] for module, name in places]
    try:
        for (module, name), each in zip(places, given, strict=True):
            module._parameters[name] = each
        yield
    finally:
        for (module, name), each in zip(places, before, strict=True):
            module._parameters[name] = each


@torch.no_grad()
def _slots_fit(policy: LanguagePolicy) -> bool:
    """Whether this model, asked slot by slot, says what it says of whole sequences."""
    size = policy.model.config.get_text_config().vocab_size
    rows = [_Probe([(7 * place + row) % size for place in range(length)]) for row, length in ((1, 6), (2, 3), (1, 6))]
    try:
        slots, whole = Slots(policy), Rereading(policy)
        slots.add(rows)
        for token in (3, 5):
            found, wanted = slots.step(rows), whole.step(rows)
            tolerance = 1e-4 if wanted.dtype == torch.float32 else 3e-2
            if float((found - wanted).abs().max()) > tolerance * float(wanted.abs().max()):
                return False
            for row in rows:
                row.tokens.append(token % size)
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError, NotImplementedError):
        return False
    return True


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
