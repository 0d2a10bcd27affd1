"""The loop's part of a report: what every round's policy is worth, and who answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from tutelage.report.estimates import bars, card, interval
from tutelage.report.plots import ACCENT, GRID, INK, drawn

KINDS = ("human", "synthetic", "model")


def section(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the template shows, or None where the run was no loop in rounds."""
    rows = summary.get("rounds")
    if not rows:
        return None
    return {
        "rows": rows,
        "figure": figure(rows),
        "seeds": summary["seeds"],
        "labels": summary["labels"],
        "who": ", ".join(f"{summary[f'share_{kind}']:.0%} {kind}" for kind in KINDS if summary[f"share_{kind}"]),
        "gain": gain(summary),
    }


def verdict(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(figure, what it is, detail) of rounds, and of what people said while a policy learned."""
    found: list[tuple[str, str, str]] = []
    if summary.get("rounds"):
        change = f"{summary['score_first']:.2f} → {summary['score_last_round']:.2f}"
        found.append((change, "score, first policy and last round", f"Elo {summary['elo_last_round']:+.0f}"))
        if gain(summary):
            found.append((f"{summary['gain_over_offline']:+.2f}", "over as many labels at the start", gain(summary)))
    if "seconds_from_answer_median" in summary:
        waited = f"{summary['seconds_from_answer_median']:.0f} s"
        found.append(
            (waited, "from an answer to a policy that learned from it", f"median, {summary['labels']} answers")
        )
    if "win_rate_by_answers" in summary:
        answers = {f"win_rate{end}": summary.get(f"win_rate{end}_by_answers") for end in ("", "_low", "_high", "_n")}
        found.append(card(answers, "win_rate", "over the first policy, by the answers", "questions"))
    return found


def gain(summary: Mapping[str, Any]) -> str:
    """In words, where the comparison was made."""
    if "gain_over_offline" not in summary:
        return ""
    within = interval(summary, "gain_over_offline")
    return f"95 % interval {within}, {summary['seeds']} paired seeds" if within else "one seed: no interval"


def figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Score of every policy with its interval; the one of all labels at the start apart."""
    drawing = go.Figure()
    for colour, offline in ((ACCENT, False), (INK, True)):
        mine = [row for row in rows if (row["name"] == "offline") == offline]
        if mine:
            drawing.add_scatter(
                x=[row["name"] for row in mine],
                y=[row["score_mean"] for row in mine],
                mode="lines+markers",
                marker={"size": 10, "color": colour},
                line={"color": colour},
                error_y=bars(mine, "score_mean", "score", color=INK),
                showlegend=False,
            )
    drawing.update_yaxes(title="score, 95 % interval", gridcolor=GRID, zeroline=False)
    drawing.update_xaxes(gridcolor=GRID)
    return drawn(drawing, height=300, label="score by round")
