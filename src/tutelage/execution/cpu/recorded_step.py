"""A decoding step recorded by torch.jit: a small model spends half of a step in Python.

The parameters and buffers are inputs of the recording, so it follows the weights as they learn. A recording is compared
with the model before it is used, and there is none where they differ.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.models.kernels import Advance, DecodingStep

WORTH_TRACING = 12  # single steps after which recording the model's operations pays
LONGER = 16  # tokens by which the cache is longer when a recording is compared with its model
RECORDINGS: dict[Any, Any] = {}
"""Kind of model -> its recording. A recorder never gives its memory back (7 MB for a small model), and a laboratory
of a hundred models of one kind needs one."""
MOST_RECORDINGS = 16
SMALL = 2**20  # elements of a weight up to which a recording is tried with other values of it
Given = tuple[Tensor, Tensor, list[Tensor], list[Tensor]]
Places = list[tuple[Any, str, Tensor]]  # (module, name, parameter or buffer)


class RecordedStep(DecodingStep):
    """The first steps of every call are the model's own, the others its recording.

    recording: (tokens, positions, keys, values) -> what `advance` returns; None before the first long enough call, and
        where the model cannot be recorded
    """

    def __init__(self, model: Any, advance: Advance, warn: Callable[[str], None]) -> None:
        super().__init__(model, advance)
        self.warn, self.steps, self.tried = warn, 0, False
        self.recording: Callable[..., Tensor] | None = None
        self.state: Any = None

    def begin(self) -> None:
        self.steps = 0
        state = _state_of(self.model)
        if state != self.state:  # an adapter was switched, scaled or merged, or a weight is another tensor now
            self.recording, self.tried, self.state = None, False, state

    def __call__(self, tokens: Tensor, positions: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
        self.steps += 1
        if self.steps >= WORTH_TRACING and not self.tried:
            self.tried, self.recording = True, traced(self.model, self.advance, (tokens, positions, keys, values))
            if self.recording is None:
                self.warn("its decoding step cannot be recorded, so it is sampled by the plain path, which is slower")
        # The same steps of every call, whatever was sampled before: a resumed run must add up in the same order.
        quick = self.recording if self.steps >= WORTH_TRACING else None
        return quick(tokens, positions, keys, values) if quick else super().__call__(tokens, positions, keys, values)


def traced(model: Any, advance: Advance, example: Given) -> Callable[..., Tensor] | None:
    """`advance` for single tokens with the interpreter taken out.

    Where the model cannot be recorded, or the recording is not this model (other rows, longer slots and other weights
    are tried), there is none and the model itself is asked.
    """
    places = _places(model)
    plain = [each.detach() for _, _, each in places]
    like = _kind_of(model, plain, advance)
    given = _widened(*example)
    for again in (True, False):  # a model of the same kind may have been recorded, and mostly that one serves
        recorded = RECORDINGS.get(like) if again else _recorded(model, advance, places, given, plain)
        if recorded is not None and _same(recorded, model, advance, places, given):
            while len(RECORDINGS) >= MOST_RECORDINGS and like not in RECORDINGS:
                RECORDINGS.pop(next(iter(RECORDINGS)))
            RECORDINGS[like] = recorded
            return lambda tokens, positions, keys, values: recorded(tokens, positions, keys, values, plain)
    return None


def _places(model: Any) -> Places:
    tables = ((module, table) for module in model.modules() for table in (module._parameters, module._buffers))
    return [(module, name, each) for module, table in tables for name, each in table.items() if each is not None]


def _widened(tokens: Tensor, positions: Tensor, keys: list[Tensor], values: list[Tensor]) -> Given:
    """At least three rows: a recording of a single one takes its shapes for constants, and breaks on the next batch."""
    if len(tokens) >= 3:
        return tokens, positions, keys, values
    rows = torch.arange(3, device=tokens.device) % len(tokens)
    return tokens[rows], positions[rows], [each[rows] for each in keys], [each[rows] for each in values]


def _kind_of(model: Any, plain: Sequence[Tensor], advance: Advance) -> Any:
    config = {name: str(value) for name, value in model.config.to_dict().items() if name != "_name_or_path"}
    shapes = tuple((each.shape, each.dtype, each.device) for each in plain)
    return advance, type(model), tuple(sorted(config.items())), shapes, _adapters(model)


def _adapters(model: Any) -> str:
    """What peft's layers multiply adapters with and which of them are on: numbers that a recording holds fixed."""
    names = ("active_adapters", "disable_adapters", "merged", "scaling")
    layers = [each for each in model.modules() if hasattr(each, "active_adapters")]
    return str([[type(each).__name__, *(getattr(each, name, None) for name in names)] for each in layers])


def _state_of(model: Any) -> Any:
    """Equal as long as a recording of the model stays right: the same adapters and tensors, whatever their values."""
    return _adapters(model), [each.data_ptr() for _, _, each in _places(model)]


def _recorded(model: Any, advance: Advance, places: Places, given: Given, plain: list[Tensor]) -> Any | None:
    """None where the recorder does not like something: the model itself still works."""

    def pure(
        tokens: Tensor, positions: Tensor, keys: list[Tensor], values: list[Tensor], given: list[Tensor]
    ) -> Tensor:
        with _standing_in(model, places, given):
            return advance(model, tokens, positions, keys, values)

    tokens, positions, keys, values = given
    copies = [[each.clone() for each in group] for group in (keys, values)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.jit.trace(pure, (tokens, positions, *copies, plain), check_trace=False)
    except Exception:
        return None


def _same(recorded: Any, model: Any, advance: Advance, places: Places, given: Given) -> bool:
    """Whether the recording says what the model says: on half of the rows as they are, and on the rest, turned round,
    with other tokens, longer slots and other weights (a fresh LoRA adapter is 0, and so would be every error in it)."""
    tokens, positions, keys, values = given
    half = max(1, len(tokens) // 2)
    first = (tokens[:half], positions[:half], [each[:half] for each in keys], [each[:half] for each in values])
    others = (tokens.flip(0)[:half] + 1) % model.get_input_embeddings().weight.shape[0]
    longer = [[nn.functional.pad(each.flip(0)[:half], (0, 0, 0, LONGER)) for each in group] for group in (keys, values)]
    second = (others, positions.flip(0)[:half], longer[0], longer[1])
    weights = [each.detach() for _, _, each in places]
    try:
        return all(
            _same_on(recorded, model, advance, places, some, each)
            for some, each in ((first, weights), (second, _moved(weights)))
        )
    except Exception:
        return False


def _same_on(recorded: Any, model: Any, advance: Advance, places: Places, given: Given, weights: list[Tensor]) -> bool:
    (keys, values), again = ([[each.clone() for each in group] for group in given[2:]] for _ in range(2))
    found = recorded(*given[:2], keys, values, weights)
    with _standing_in(model, places, weights):
        wanted = advance(model, given[0], given[1], again[0], again[1])
    return torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))


def _moved(weights: Sequence[Tensor]) -> list[Tensor]:
    """Other values for the small ones; to copy the large ones would take the model's memory a second time."""
    generator = torch.Generator().manual_seed(0)
    return [
        each + 0.05 * torch.randn(each.shape, generator=generator).to(each.device, each.dtype)
        if each.is_floating_point() and each.numel() <= SMALL
        else each
        for each in weights
    ]


@contextmanager
def _standing_in(model: Any, places: Places, given: Sequence[Tensor]) -> Iterator[None]:
    """The model with other tensors for its own; afterwards it is as it was, whatever a failed pass left in it.

    peft puts its adapters of experts on as parametrizations for the length of a pass, and one that fails in between
    leaves them behind.
    """
    before = [
        (each, type(each), dict(vars(each)), [dict(table) for table in _tables(each)]) for each in model.modules()
    ]
    try:
        for (module, name, _), each in zip(places, given, strict=True):
            (module._parameters if name in module._parameters else module._buffers)[name] = each
        yield
    finally:
        for module, kind, attributes, tables in before:
            module.__class__ = kind
            vars(module).clear()
            vars(module).update(attributes)
            for table, entries in zip(_tables(module), tables, strict=True):
                table.clear()
                table.update(entries)


def _tables(module: Any) -> tuple[dict[str, Any], ...]:
    return module._parameters, module._buffers, module._modules
