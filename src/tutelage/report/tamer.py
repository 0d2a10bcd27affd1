"""TAMER's part of a report: lines by game beside Sarsa's, what each condition costs, Mountain Car, boards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from tutelage.report.plots import ACCENT, GRID, INK, SECOND, drawn

CELL = 9
ELSEWHERE = (
    ("TAMER, nine people (Knox & Stone 2008)", "65.9", "3"),
    ("relational RL with kernels (Ramon & Driessens 2004)", "5", "50 after 120 games"),
)


def section(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the template shows, or None where the run was none of TAMER."""
    if "lines_game_3_median" not in summary:
        return None
    return {
        "summary": {
            **summary,
            "sarsa_third": median(summary["sarsa_lines_by_game"][min(3, summary["sarsa_games"]) - 1]),
        },
        "games": games(summary["lines_by_game"], summary["sarsa_lines_by_game"]),
        "conditions": summary["conditions"],
        "spread": spread(summary["conditions"]),
        "car": car(summary["mountain_car"]),
        "boards": [board(each) for each in summary["boards"]],
        "elsewhere": ELSEWHERE,
    }


def verdict(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    if "lines_game_3_median" not in summary:
        return []
    lowest, highest = summary["lines_game_3_lowest"], summary["lines_game_3_highest"]
    detail = f"median of {summary['seeds']} trainers, {lowest:.0f} to {highest:.0f}; people in 2008: 65.9 on average"
    match = summary["sarsa_games_to_match"]
    sarsa = str(match) if match is not None else f"more than {summary['sarsa_games']}"
    return [
        (f"{summary['lines_game_3_median']:.0f}", "lines in the third game", detail),
        (sarsa, "games until Sarsa(λ) has as many", "same features, the game's own reward"),
        (
            f"{summary['mountain_car_third_attempt_median']:.0f} steps",
            "Mountain Car, third attempt",
            f"median; at most {summary['mountain_car_third_attempt_highest']}. Sarsa(λ): as good after "
            f"{summary['mountain_car_sarsa_attempts_to_match'] or 'more'} attempts",
        ),
    ]


def games(tamer_GS: Sequence[Sequence[int]], sarsa_GS: Sequence[Sequence[int]]) -> Markup:
    """Lines over games, on scales that show both: a point a seed, lines through the medians."""
    figure = go.Figure()
    for name, by_game, colour in (("TAMER", tamer_GS, ACCENT), ("Sarsa(λ)", sarsa_GS, SECOND)):
        points = [(game + 1, lines) for game, row in enumerate(by_game) for lines in row]
        figure.add_scatter(
            x=[game for game, _ in points],
            y=[lines + 1 for _, lines in points],
            mode="markers",
            marker={"color": colour, "size": 5, "opacity": 0.35},
            hovertemplate="game %{x}: %{customdata} lines<extra></extra>",
            customdata=[lines for _, lines in points],
            showlegend=False,
        )
        medians = [median(row) for row in by_game]
        figure.add_scatter(
            x=[game + 1 for game in range(len(medians))],
            y=[each + 1 for each in medians],
            name=f"{name}, median",
            mode="lines",
            line={"color": colour, "width": 2.5},
            hovertemplate="game %{x}: median %{customdata}<extra></extra>",
            customdata=medians,
        )
    ticks = [0, 1, 3, 10, 30, 100, 300, 1000]
    figure.update_xaxes(title="game", type="log", tickvals=[1, 2, 3, 5, 10, 20, 50, 100, 200], gridcolor=GRID)
    figure.update_yaxes(
        title="lines", type="log", tickvals=[each + 1 for each in ticks], ticktext=ticks, gridcolor=GRID
    )
    figure.update_layout(legend={"orientation": "h", "y": 1.1, "x": 0})
    return drawn(figure, height=360, label="Lines by game")


def spread(conditions: Sequence[Mapping[str, Any]]) -> Markup:
    """The third game of every seed in every condition."""
    figure = go.Figure()
    for each in conditions:
        main = each["condition"] == conditions[0]["condition"]
        figure.add_box(
            x=[lines + 1 for lines in each["lines_game_3"]],
            customdata=each["lines_game_3"],
            name=each["condition"],
            boxpoints="all",
            jitter=0.4,
            pointpos=0,
            marker={"color": ACCENT if main else INK, "size": 5},
            line={"width": 1.5},
            hovertemplate="%{customdata} lines<extra></extra>",
            showlegend=False,
        )
    ticks = [0, 1, 3, 10, 30, 100, 300, 1000]
    figure.update_xaxes(title="lines in the third game", type="log", tickvals=[each + 1 for each in ticks])
    figure.update_xaxes(ticktext=ticks, gridcolor=GRID)
    figure.update_yaxes(autorange="reversed", automargin=True)
    return drawn(figure, height=60 + 38 * len(conditions), label="Lines in the third game by condition")


def car(found: Mapping[str, Mapping[str, Any]]) -> Markup:
    figure = go.Figure()
    for (name, each), colour in zip(found.items(), (ACCENT, INK, SECOND), strict=True):
        medians = each["test_steps_by_attempt_median"]
        figure.add_scatter(
            x=list(range(1, len(medians) + 1)),
            y=medians,
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 5},
        )
    figure.update_xaxes(title="attempts so far", gridcolor=GRID, zeroline=False)
    figure.update_yaxes(title="steps to the hill", gridcolor=GRID, rangemode="tozero")
    figure.update_layout(legend={"orientation": "h", "y": 1.12, "x": 0})
    return drawn(figure, height=300, label="Mountain Car: steps of the policy so far")


def board(picture: str) -> Markup:
    """A board of `#` and `.` as a small picture."""
    rows = picture.split()
    cells = [
        f'<rect x="{x * CELL + 1}" y="{y * CELL + 1}" width="{CELL - 2}" height="{CELL - 2}" rx="1.5"/>'
        for y, row in enumerate(rows)
        for x, cell in enumerate(row)
        if cell == "#"
    ]
    wide, tall = CELL * len(rows[0]), CELL * len(rows)
    size = f'width="{wide}" height="{tall}" viewBox="0 0 {wide} {tall}"'
    paper = "background: var(--card); border: 1px solid var(--line)"
    shapes = f'<g fill="var(--accent)">{"".join(cells)}</g>'
    return Markup(f'<svg {size} role="img" aria-label="a board" style="{paper}">{shapes}</svg>')
