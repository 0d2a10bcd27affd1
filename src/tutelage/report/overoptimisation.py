"""The laboratory's part of a report: gold and proxy over √KL, what was fitted, what helps against the fall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from tutelage.report.estimates import of_mean
from tutelage.report.plots import ACCENT, GRID, SECOND, drawn

FITS_FROM = 0.8  # R² below which α and β of a fit say nothing
STYLE = {"gold": (ACCENT, "rgba(37,99,235,0.15)"), "proxy": (SECOND, "rgba(217,119,6,0.15)")}


def section(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the template shows, or None where the run was no laboratory."""
    if not summary.get("curves") or not summary.get("settings"):
        return None
    return {
        "figures": [(title(curve), figure(curve)) for curve in summary["curves"]],
        "settings": summary["settings"],
        "ensembles": summary["ensembles"],
        "stopped": summary["stop_at_peak"],
        "seeds": summary["seeds"],
        "says": fall_of_gold(summary["settings"][0], summary["seeds"]),
        "fits_from": FITS_FROM,
    }


def fall_of_gold(row: Mapping[str, Any], seeds: int) -> str:
    """One sentence: is it shown that gold falls behind its peak, where the proxy learned from the fewest labels?"""
    measured = f"{row['gold_drop']:.2f} [{of_mean(row, 'gold_drop').replace(' to ', ', ')}] over {seeds} seeds"
    if (row["gold_drop_low"] or 0.0) > 0:
        return f"Shown: behind its peak gold falls by {measured} (95 %), while the proxy goes on rising."
    return f"Not shown: the fall of gold behind its peak is {measured} (95 %), which holds 0."


def verdict(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(figure, what it is, detail) of the smallest proxy's fall and of what stopping saves."""
    if "gold_drop_at_fewest_labels" not in summary:
        return []
    first = summary["settings"][0]
    fall = f"95 % interval {of_mean(first, 'gold_drop')}, {summary['seeds']} seeds"
    shown = f"{first['gold_drop']:.2f}" if (first["gold_drop_low"] or 0.0) > 0 else "not shown"
    found = [
        (shown, f"gold lost behind the peak, {first['labels']} labels", fall),
        (f"{first['proxy_rise_after_peak']:+.2f}", "what the proxy says meanwhile", ""),
    ]
    for stopped in summary["stop_at_peak"][-1:]:
        saved = f"95 % interval {of_mean(stopped, 'saved')}, {summary['seeds']} seeds"
        found.append((f"{stopped['saved']:.2f}", "gold saved by stopping at the held-out peak", saved))
    return found


def title(curve: Mapping[str, Any]) -> str:
    return f"{curve['method']}, {curve['labels']} labels, proxy {curve['width']} wide"


def figure(curve: Mapping[str, Any]) -> Any:
    """Mean over seeds, and from the lowest to the highest of them."""
    drawing = go.Figure()
    for name, (colour, shade) in STYLE.items():
        drawing.add_scatter(
            x=[*curve["sqrt_kl"], *reversed(curve["sqrt_kl"])],
            y=[*curve[f"{name}_high"], *reversed(curve[f"{name}_low"])],
            fill="toself",
            fillcolor=shade,
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )
        drawing.add_scatter(x=curve["sqrt_kl"], y=curve[name], name=name, mode="lines", line={"color": colour})
    drawing.update_xaxes(title="√KL to the initial policy, √nats", gridcolor=GRID, zeroline=False, rangemode="tozero")
    drawing.update_yaxes(title="gain", gridcolor=GRID)
    drawing.update_layout(legend={"orientation": "h", "y": 1.12, "x": 0})
    return drawn(drawing, height=300, label=title(curve))
