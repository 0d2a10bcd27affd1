"""Figures of a run, drawn by plotly; its script is put into the page once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from tutelage.formulas.intervals import FEWEST
from tutelage.report.estimates import TOO_FEW, bars, sized
from tutelage.runs.files import read_json

INK, ACCENT, SECOND, GRID = "#6b7280", "#2563eb", "#d97706", "rgba(128,128,128,0.18)"


def script() -> Markup:
    """plotly.js itself, so that the page works without a network."""
    return Markup(f"<script>{get_plotlyjs()}</script>")


def methods(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """Gold score of every method with its 95 % interval, the last of the list at the bottom."""
    names = [row["name"] for row in rows]
    means = [row["gold_mean"] for row in rows]
    colours = [ACCENT if name == "PPO" else INK for name in names]
    figure = go.Figure(
        go.Scatter(
            x=means,
            y=names,
            mode="markers+text",
            text=[f"{mean:.2f}" for mean in means],
            textposition="top center",
            marker={"size": 13, "color": colours},
            error_x=bars(rows, "gold_mean", "gold", thickness=2, width=5, color=INK),
            customdata=[sized(row, "gold", "prompts") for row in rows],
            hovertemplate="%{y}: %{x:.3f}, %{customdata}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", gridcolor=GRID, automargin=True)
    size = sized(rows[0], "gold", "prompts") if rows else ""
    figure.update_xaxes(title=f"gold score, 95 % interval, {size}", gridcolor=GRID, zeroline=False)
    return drawn(figure, height=70 + 52 * len(rows))


def curves(events: Sequence[Mapping[str, Any]], names: Sequence[str], title: str) -> Markup:
    """Columns of events.jsonl over steps, on one axis."""
    figure = go.Figure()
    for name, colour in zip(names, (ACCENT, SECOND, INK), strict=False):
        rows = [event for event in events if name in event]
        if rows and all(f"{name}_low" in row and f"{name}_high" in row for row in rows):
            figure.add_scatter(**band(rows, name, colour))
        figure.add_scatter(
            x=[row["step"] for row in rows],
            y=[row[name] for row in rows],
            name=name.replace("_", " "),
            mode="lines",
            line={"color": colour, "width": 2},
        )
    figure.update_xaxes(title="step", gridcolor=GRID, zeroline=False)
    figure.update_yaxes(gridcolor=GRID, zeroline=False)
    figure.update_layout(showlegend=len(names) > 1, legend={"orientation": "h", "y": 1.12, "x": 0}, title=None)
    return drawn(figure, height=240, label=title)


def sizes(folder: Path, events: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """What the shares of a curve rest on, for its title: how many a point is of, and whether those are too few."""
    if list(names) == ["accuracy"]:
        config = read_json(folder / "config.json") if (folder / "config.json").exists() else {}
        size = batch_size(config.get("settings", {}))
        return f" (of what it learns from, {f'n = {size}' if size else 'a few'} a point: {TOO_FEW})"
    counts = [int(event[f"{name}_n"]) for name in names for event in events if f"{name}_n" in event]
    if not counts:
        return ""
    least, most = min(counts), max(counts)
    size = f"n = {least}" if least == most else f"n = {least} to {most}"
    return f" (95 %, {size}{f': {TOO_FEW}' if least < FEWEST else ''})"


def batch_size(settings: Any) -> int | None:
    """Of the settings of a run, wherever in them it stands."""
    if not isinstance(settings, Mapping):
        return None
    here = settings.get("batch_size")
    inside = (batch_size(each) for each in settings.values())
    return here if isinstance(here, int) else next((each for each in inside if each), None)


def band(rows: Sequence[Mapping[str, Any]], name: str, colour: str) -> dict[str, Any]:
    """The 95 % interval along a curve."""
    steps = [row["step"] for row in rows]
    return {
        "x": [*steps, *reversed(steps)],
        "y": [*(row[f"{name}_high"] for row in rows), *(row[f"{name}_low"] for row in reversed(rows))],
        "fill": "toself",
        "fillcolor": colour,
        "opacity": 0.15,
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
        "mode": "lines",
    }


def frontier(points: Sequence[Mapping[str, float]], events: Sequence[Mapping[str, Any]]) -> Markup:
    """Gold over KL: the optimal policy's frontier beside the steps of PPO."""
    figure = go.Figure()
    figure.add_scatter(
        x=[point["kl_nats"] for point in points],
        y=[point["gold_mean"] for point in points],
        name="π* (at least 100 effective samples)",
        mode="lines+markers",
        line={"color": INK},
    )
    rows = [event for event in events if "gold_score" in event]
    figure.add_scatter(
        x=[row["kl_nats_per_sequence"] for row in rows],
        y=[row["gold_score"] for row in rows],
        name="PPO, a point a step",
        mode="markers",
        marker={"color": ACCENT, "size": 7},
    )
    figure.update_xaxes(title="KL, nats a sequence", gridcolor=GRID, zeroline=False)
    figure.update_yaxes(title="gold score", gridcolor=GRID, zeroline=False)
    figure.update_layout(legend={"orientation": "h", "y": 1.12, "x": 0})
    return drawn(figure, height=380)


def drawn(figure: go.Figure, height: int, label: str = "") -> Markup:
    """A figure as it stands in the page."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "color": INK, "size": 13},
        hoverlabel={"font": {"family": "system-ui, sans-serif"}},
    )
    plot = figure.to_html(full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True})
    return Markup(f'<figure aria-label="{Markup.escape(label)}">{plot}</figure>')
