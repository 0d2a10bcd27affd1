"""Trains in this process: one optimiser step from rows and a loss, whatever the micro-batches.

The loss returns sums; they are divided once, by the weight of the whole minibatch, so cutting it differently changes
neither loss nor gradient. Rows are cut sorted by length, under a budget of tokens, since padding is the main waste.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.execution.ranks import agree_to_stop
from tutelage.models.dtypes import refuse_fp16
from tutelage.trajectory import Rows, Sums, parts_by_length


class NotFinite(FloatingPointError):
    """The loss or a gradient is NaN or infinite; the weights were not touched."""


class LocalLearner:
    """One AdamW over named groups of parameters, each with its own learning rate and gradient clipping.

    Gradients, moments and what AdamW moves are fp32. Weights below it (--dtype) get a copy in fp32, from which they are
    rounded after each update.

    groups: name -> (parameters, learning rate); policy and value are clipped apart, so that neither scales the other
    schedule: update number -> multiplier of the learning rates (formulas.schedule)
    max_grad_norm: L2 norm a group's gradient is scaled down to
    tokens_at_once: budget of a micro-batch, rows × longest row
    """

    def __init__(
        self,
        groups: Mapping[str, tuple[Iterable[nn.Parameter], float]],
        *,
        schedule: Callable[[int], float] = lambda update: 1.0,
        max_grad_norm: float = 1.0,
        tokens_at_once: int = 1024,
        adam_epsilon: float = 1e-5,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        self.parameters = {name: [p for p in each if p.requires_grad] for name, (each, _) in groups.items()}
        refuse_fp16(each for group in self.parameters.values() for each in group)
        self.masters = {name: [_master(each) for each in group] for name, group in self.parameters.items()}
        self.learning_rates = {name: rate for name, (_, rate) in groups.items()}
        self.schedule, self.max_grad_norm, self.tokens_at_once = schedule, max_grad_norm, tokens_at_once
        self.updates = 0
        self.optimiser = torch.optim.AdamW(
            [{"params": self.masters[name], "lr": rate} for name, rate in self.learning_rates.items()],
            eps=adam_epsilon,
            betas=betas,
            weight_decay=0.0,
            fused=True,
        )

    def update(self, rows: Rows, loss: Callable[[Any], Sums]) -> dict[str, float]:
        """One step on these rows; returns the mean of every sum, the gradient norms before clipping, the rate."""
        weight = rows.weight
        if weight <= 0:
            raise ValueError("these rows have no real action, so there is nothing to learn from")
        totals: dict[str, Tensor] = {}
        self.optimiser.zero_grad(set_to_none=True)
        for part in parts_by_length(rows.lengths_B, self.tokens_at_once):
            sums = loss(rows.select(part))
            (sums["loss"] / weight).backward()
            self._collect()
            for name, value in sums.items():
                totals[name] = totals.get(name, torch.zeros((), dtype=torch.float64)) + value.detach().double().cpu()
        means = {name: float(value) / weight for name, value in totals.items()}
        norms = {f"gradient_norm_{name}": self._clip(name) for name in self.parameters}
        faulty = not all(map(_finite, [means["loss"], *norms.values()]))
        if agree_to_stop(faulty) or faulty:
            raise NotFinite(
                f"update {self.updates}: loss {means['loss']}, {norms}: not finite, weights left as they were"
            )
        multiplier = self.schedule(self.updates)
        for group, rate in zip(self.optimiser.param_groups, self.learning_rates.values(), strict=True):
            group["lr"] = rate * multiplier
        self.optimiser.step()
        self._round()
        self.updates += 1
        return {**means, **norms, "learning_rate_multiplier": multiplier}

    def state(self) -> dict[str, Any]:
        """Weights, moments and the number of updates; the schedule is a function of that number."""
        return {
            "parameters": {name: [each.detach() for each in group] for name, group in self.masters.items()},
            "optimiser": self.optimiser.state_dict(),
            "updates": self.updates,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        with torch.no_grad():
            for name, group in self.masters.items():
                for mine, theirs in zip(group, state["parameters"][name], strict=True):
                    mine.copy_(theirs)
        self._round()
        self.optimiser.load_state_dict(state["optimiser"])
        for parameter, moments in self.optimiser.state.items():
            for name in ("exp_avg", "exp_avg_sq"):  # of a parameter that had no dimension in an older version
                if moments[name].dim() == 0:
                    moments[name] = moments[name].view_as(parameter)
        self.updates = state["updates"]

    def _clip(self, name: str) -> float:
        return float(nn.utils.clip_grad_norm_(self.masters[name], self.max_grad_norm))

    @property
    def _copies(self) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
        """(a weight below fp32, its copy in fp32)."""
        for name, group in self.parameters.items():
            pairs = zip(group, self.masters[name], strict=True)
            yield from ((mine, master) for mine, master in pairs if mine is not master)

    def _collect(self) -> None:
        """Adds the gradients of weights below fp32 up in fp32."""
        for mine, master in self._copies:
            if mine.grad is not None:
                gradient = mine.grad.float()
                master.grad = gradient if master.grad is None else master.grad.add_(gradient)
                mine.grad = None

    @torch.no_grad()
    def _round(self) -> None:
        for mine, master in self._copies:
            mine.copy_(master)


def _master(parameter: nn.Parameter) -> nn.Parameter:
    """What the optimizer moves: the weight itself, or a copy in fp32 where it is of a lower precision, in which small
    updates would be rounded away."""
    return parameter if parameter.element_size() >= 4 else nn.Parameter(parameter.detach().float())


def _finite(value: float) -> bool:
    return value - value == 0.0
