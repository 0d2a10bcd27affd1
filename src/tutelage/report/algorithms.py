"""The comparison's part of a report: what each algorithm reached, and at what distance from the start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from tutelage.report.plots import ACCENT, GRID, INK, drawn


def section(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the template shows, or None where nothing was compared."""
    rows = summary.get("algorithms")
    if not rows or "gold_start" not in summary:
        return None
    return {"rows": rows, "start": summary["gold_start"], "seeds": summary["seeds"], "figure": figure(summary)}


def figure(summary: Mapping[str, Any]) -> Any:
    """Gold at the end over √KL, a point a row with its interval over prompts; the line is the start."""
    drawing = go.Figure()
    for row in summary["algorithms"]:
        low, high = (
            row[f"gold_{end}"] if row[f"gold_{end}"] is not None else row["gold_mean"] for end in ("low", "high")
        )
        drawing.add_scatter(
            x=[max(0.0, row["kl_nats_per_sequence_exact"]) ** 0.5],
            y=[row["gold_mean"]],
            mode="markers+text",
            text=[row["name"]],
            textposition="top center",
            marker={"size": 11, "color": ACCENT},
            error_y={
                "array": [high - row["gold_mean"]],
                "arrayminus": [row["gold_mean"] - low],
                "color": INK,
                "width": 4,
            },
            showlegend=False,
        )
    drawing.add_hline(y=summary["gold_start"], line={"color": INK, "dash": "dot"}, annotation_text="start (SFT)")
    drawing.update_xaxes(title="√KL to the start, √nats", gridcolor=GRID, zeroline=False, rangemode="tozero")
    drawing.update_yaxes(title="gold score, 95 % interval over prompts", gridcolor=GRID)
    return drawn(drawing, height=420, label="Gold over the distance from the start, by algorithm")
