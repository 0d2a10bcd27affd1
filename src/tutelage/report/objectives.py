"""The sweep of objectives in a report: who pleases, who breaks rules, how far each has gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from tutelage.report import estimates
from tutelage.report.estimates import TOO_FEW, interval, is_few, sized
from tutelage.report.plots import GRID, INK, drawn

SYMBOLS = {"first policy": "x", "fixed weight": "circle", "multiplier": "diamond"}


def section(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the template shows, or None where the run was no such sweep."""
    rows = summary.get("objectives")
    if not rows:
        return None
    return {"rows": rows, "figure": figure(rows, summary["keep_breaks_under"]), "limit": summary["keep_breaks_under"]}


def verdict(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(figure, what it is, detail) of the objective to take."""
    if "best_name" not in summary:
        return []
    prompts = {**summary, "best_broken_n": summary.get("best_broken_n", summary.get("best_prompts"))}
    size = sized(prompts, "best_broken", "prompts")
    breaks = f"95 % interval {interval(summary, 'best_broken', '{:.1%}')}, {size}"
    share = TOO_FEW if is_few(prompts, "best_broken") else f"{summary['best_broken_fraction']:.1%}"
    limit = f"the most of those that break the rule in at most {summary['keep_breaks_under']:.0%}"
    return [
        (f"{summary['best_pleased_mean']:.2f}", f"pleased, by {summary['best_name']}", limit),
        (share, "of its replies break the rule", f"{summary['best_broken_fraction']:.1%}, {breaks}"),
        (f"{summary['best_kl_nats']:.1f}", "nats of KL a sequence", "from where it started"),
    ]


def figure(rows: Sequence[Mapping[str, Any]], limit: float) -> Any:
    """How much a policy pleases over how often it breaks the rule; colour: its KL; a ring: no other beats it."""
    drawing = go.Figure()
    furthest = max(row["kl_nats"] for row in rows)
    for kind, symbol in SYMBOLS.items():
        mine = [row for row in rows if row["kind"] == kind]
        drawing.add_scatter(
            x=[row["broken_fraction"] for row in mine],
            y=[row["pleased_mean"] for row in mine],
            error_y=bars(mine, "pleased", "pleased_mean"),
            error_x=bars(mine, "broken", "broken_fraction"),
            name=kind,
            mode="markers",
            text=[f"{row['name']}: KL {row['kl_nats']:.1f} nats, λ {row['weight']:.2g}" for row in mine],
            hovertemplate="%{text}<br>%{x:.1%} broken, %{y:.2f} pleased<extra></extra>",
            marker={
                "symbol": symbol,
                "size": 12,
                "color": [row["kl_nats"] for row in mine],
                "colorscale": "Viridis",
                "cmin": 0.0,
                "cmax": furthest,
                "showscale": kind == "fixed weight",
                "colorbar": {"title": "KL, nats"},
                "line": {"width": [2.5 if row["pareto_optimal"] else 0 for row in mine], "color": INK},
            },
        )
    if limit:
        drawing.add_vline(x=limit, line={"dash": "dot", "color": INK})
    drawing.update_xaxes(title="replies that break the rule", tickformat=".0%", gridcolor=GRID, zeroline=False)
    drawing.update_yaxes(title="customers pleased", gridcolor=GRID, zeroline=False)
    drawing.update_layout(legend={"orientation": "h", "y": 1.12, "x": 0})
    return drawn(drawing, height=420, label="Pleased customers over broken rules")


def bars(rows: Sequence[Mapping[str, Any]], axis: str, mean: str) -> dict[str, Any]:
    """95 % intervals."""
    return estimates.bars(rows, mean, axis, thickness=1, width=3, color=INK)
