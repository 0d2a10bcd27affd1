"""How far a policy went and what that brought: reward over KL, step by step, and gold against proxy over √KL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tutelage.data.errors import InputError
from tutelage.report.sanitise import plain
from tutelage.runs.files import read_json
from tutelage.studio.look.curves import Shelf
from tutelage.studio.look.lines import number
from tutelage.studio.look.runs import Folder, Stage, said_of
from tutelage.studio.look.series import short

KL = ("kl_nats_per_sequence", "kl_nats_to_first")
JUDGES = ("gold_score", "held_out_score", "score", "win_rate_by_reward_model")
POINTS = 200
STAGES, CURVES = 24, 24  # of one run that are drawn
LINES = ("gold", "gold_low", "gold_high", "proxy", "proxy_low", "proxy_high")


def frontier(shelf: Shelf, folder: Folder) -> dict[str, Any]:
    """What a run has of all this; lists are empty where it has none."""
    trouble, summary = "", {}
    if "summary.json" in folder.stages[0].files:
        try:
            summary = read_json(folder.path / "summary.json")
        except InputError as error:
            trouble = said_of(folder, error)
    walks = [walk for stage in folder.stages if (walk := _walk(shelf, stage)) is not None]
    return {
        "run": folder.id,
        "trouble": trouble,
        "walks": walks[:STAGES],
        "optimal": _points(summary.get("frontier"), ("kl_nats", "gold_mean")),
        "best_of": _points(summary.get("methods"), ("kl_nats", "gold_mean")),
        "curves": _curves(summary.get("curves")),
        "objectives": _objectives(summary),
    }


def _walk(shelf: Shelf, stage: Stage) -> dict[str, Any] | None:
    """Where each step of a stage lies, for every judge of it; None where it has no KL or nobody judged."""
    if "events.jsonl" not in stage.files:
        return None
    events = shelf.events(stage.path / "events.jsonl")
    with events.lock:
        events.refresh()
        columns = {name: np.array(events.columns[name]) for name in (*KL, *JUDGES, "step") if name in events.columns}
        rows = events.rows
    kl = next((columns[name] for name in KL if name in columns), None)
    judges = [name for name in JUDGES if name in columns]
    if kl is None or not judges:
        return None
    known = np.flatnonzero(np.isfinite(kl))
    if not len(known):
        return None
    places = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), POINTS)).astype(int))]
    steps = columns.get("step", np.arange(rows, dtype=float))
    return {
        "stage": stage.name,
        "step": [int(step) if np.isfinite(step) else 0 for step in steps[places]],
        "kl": short(kl[places]),
        "judges": {name: _known(columns[name][places]) for name in judges},
    }


AXES = ("pleased_mean", "pleased_low", "pleased_high", "broken_fraction", "broken_low", "broken_high", "kl_nats")


def _objectives(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """A sweep of objectives (`tutelage frontier`): what each led to, which of them no other beats, which to take."""
    found: list[dict[str, Any]] = []
    rows = summary.get("objectives")
    for row in rows if isinstance(rows, list) else []:
        numbers = (
            {name: number(row.get(name)) for name in (*AXES, "weight", "budget", "prompts")}
            if isinstance(row, dict)
            else {}
        )
        if all(numbers.get(name) is not None for name in AXES):
            about = {name: plain(str(row.get(name, "")), 80) for name in ("name", "kind")}
            found.append({**about, **numbers, "pareto_optimal": row.get("pareto_optimal") is True})
    best = plain(str(summary.get("best_name", "")), 80)
    limit = number(summary.get("keep_breaks_under"))
    return {"rows": found[:POINTS], "limit": limit, "best": best} if found else None


def _known(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values.tolist()]


def _points(rows: Any, names: tuple[str, str]) -> list[dict[str, Any]]:
    """Rows of a summary that hold both numbers."""
    found: list[dict[str, Any]] = []
    for row in rows if isinstance(rows, list) else []:
        pair = [number(row.get(name)) for name in names] if isinstance(row, dict) else [None]
        if None not in pair:
            found.append({"name": plain(str(row.get("name", "")), 60), "x": pair[0], "y": pair[1]})
    return found[:POINTS]


def _curves(rows: Any) -> list[dict[str, Any]]:
    """Overoptimisation curves (evaluation/overoptimisation.py, drawn) that are whole."""
    found: list[dict[str, Any]] = []
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict):
            continue
        lines = {name: _numbers(row.get(name)) for name in ("sqrt_kl", *LINES)}
        if lines["sqrt_kl"] and all(len(each) == len(lines["sqrt_kl"]) for each in lines.values()):
            found.append({"title": _title(row), **lines})
    return found[:CURVES]


def _title(row: Mapping[str, Any]) -> str:
    return plain(f"{row.get('method')}, {row.get('labels')} labels, proxy {row.get('width')} wide", 100)


def _numbers(values: Any) -> list[float]:
    numbers: Sequence[float | None] = [number(value) for value in values] if isinstance(values, list) else []
    return [float(f"{value:.5g}") for value in numbers if value is not None]
