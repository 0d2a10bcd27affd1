"""What each objective of a sweep led to, which of them no other one beats, and the one to take under a limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tutelage.formulas import intervals
from tutelage.formulas.constrained import undominated


def points(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each run: means over prompts with their 95 % intervals.

    found: name -> kind, weight, budget, and numbers a prompt: pleased and gold (higher is better), broken (0 or 1),
    kl_nats. pareto_optimal: no other run pleases as much, breaks as few rules and is as near, and is better in one
    """
    rows = [row(name, each) for name, each in found.items()]
    axes = np.array([[each["pleased_mean"], -each["broken_fraction"], -each["kl_nats"]] for each in rows])
    for each, best in zip(rows, undominated(axes), strict=True):
        each["pareto_optimal"] = bool(best)
    return rows


def row(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {key: found[key] for key in ("kind", "weight", "budget")}
    for axis in ("pleased", "gold"):
        told |= named(intervals.mean_interval(found[axis]), axis, f"{axis}_mean")
    told |= named(intervals.share(found["broken"]), "broken", "broken_fraction")
    return {"name": name, **told, "kl_nats": float(np.mean(found["kl_nats"])), "prompts": len(found["broken"])}


def named(found: intervals.Estimate, axis: str, value: str) -> dict[str, Any]:
    """The value under its own name, its interval under that of the axis."""
    row = found.row(axis)
    return {value: row.pop(axis), **row}


def chosen(rows: Sequence[Mapping[str, Any]], limit: float) -> Mapping[str, Any] | None:
    """The run that pleases most of those that break the rule no more often than the limit; None where all do."""
    within = [each for each in rows if each["broken_fraction"] <= limit]
    return max(within, key=lambda each: each["pleased_mean"], default=None)
