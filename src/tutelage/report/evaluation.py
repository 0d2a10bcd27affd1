"""An evaluation's part of a report: cross table, reliability, gaps, subsets, learning curve, judges side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from tutelage.formulas.intervals import FEWEST
from tutelage.report.estimates import TOO_FEW, bars, between, interval, is_few, sized
from tutelage.report.plots import ACCENT, GRID, INK, SECOND, drawn

Row = Mapping[str, Any]


def section(summary: Row) -> dict[str, Any] | None:
    """What the template shows, or None where nothing was evaluated."""
    measured: Sequence[Row] = summary.get("reward_models", [])
    judges: Sequence[Row] = summary.get("judges", [])
    curve: Row | None = summary.get("learning_curve")
    if not measured and not judges and not curve:
        return None
    return {
        "table": [line(row) for row in measured],
        "cross": cross(measured),
        "details": [detail(row) for row in measured],
        "judges": [{**row, "judge": short(row["judge"])} for row in judges],
        "rates": rates(judges) if judges else None,
        "agreements": [{**row, "judges": [*map(short, row["judges"])]} for row in summary.get("agreements", [])],
        "curve": learning(curve) if curve else None,
        "curve_says": curve_says(curve) if curve else "",
    }


def verdict(summary: Row) -> list[tuple[str, str, str]]:
    """(figure, what it is, detail) of what the next labels would bring."""
    if summary.get("expected_gain") is None:
        return []
    tested = {"pairs_n": summary.get("held_out")}
    size = sized(tested, "pairs", "held-out pairs")
    about = f"95 % interval {interval(summary, 'expected_gain', '{:+.1%}') or TOO_FEW}, {size}"
    gain, more = f"{summary['expected_gain']:+.1%}", summary["learning_curve"]["more"]
    what = f"accuracy from the next {more} labels"
    return [(TOO_FEW, what, f"{gain}, {about}") if is_few(tested, "pairs") else (gain, what, about)]


def line(row: Row) -> dict[str, str]:
    """One model on one data set: its statistic beside length and chance."""
    name, found = statistic(row)
    return {
        "model": row["model"],
        "data": row["data"],
        "what": name.replace("_", " "),
        "value": between(found, name),
        "length": between(found, {"accuracy": "length_rule_accuracy"}.get(name, f"length_{name}")),
        "chance": f"{found[f'random_{name}']:.2f}" if f"random_{name}" in found else "",
        "count": f"{found['pairs']} pairs, {found['ties']} ties" if "pairs" in found else f"{found['ratings']} ratings",
        "calibration": f"{row['calibration']['calibration_error']:.3f}" if "calibration" in row else "",
        "temperature": between(row.get("calibration", {}), "temperature"),
    }


def statistic(row: Row) -> tuple[str, Row]:
    """Accuracy where pairs were judged, else what the first axis of ratings has."""
    if "accuracy" in row or not row.get("ratings"):
        return "accuracy", row.get("accuracy", {})
    found = next(iter(row["ratings"].values()))
    return ("area_under_curve" if "area_under_curve" in found else "rank_correlation"), found


def cross(measured: Sequence[Row]) -> dict[str, Any] | None:
    """Models over data sets, where there are several; a cell below chance is marked."""
    names = list(dict.fromkeys(row["data"] for row in measured))
    models = list(dict.fromkeys(row["model"] for row in measured))
    if len(names) < 2 or not models:
        return None
    rows = [(model, [cell(row) for row in measured if row["model"] == model]) for model in models]
    return {"data": names, "rows": rows}


def cell(row: Row) -> dict[str, Any]:
    name, found = statistic(row)
    return {"text": between(found, name), "below": found.get("below_chance", False)}


def detail(row: Row) -> dict[str, Any]:
    """The figures and tables of one model on one data set."""
    calibration = row.get("calibration")
    return {
        "title": f"{row['model']} on {row['data']}",
        "reliability": reliability(calibration) if calibration else None,
        "by_gap": by_gap(calibration["by_gap"]) if calibration else None,
        "people": people(row["people"]) if "people" in row else None,
        "by": row.get("by"),
        "subsets": subsets(row["by"]) if "by" in row else None,
    }


def reliability(calibration: Row) -> Any:
    """What people did over what the scores claim; on the dotted line both are the same."""
    figure = go.Figure()
    figure.add_scatter(x=[0.5, 1], y=[0.5, 1], mode="lines", line={"color": INK, "dash": "dot"}, name="calibrated")
    shown = {"reliability": ("as it is", ACCENT), "reliability_repaired": ("repaired", SECOND)}
    for key, (name, colour) in shown.items():
        if key in calibration:
            figure.add_trace(_points(calibration[key], "mean", name, colour))
    figure.update_xaxes(title="P(the higher score is preferred), claimed", range=[0.48, 1.02], gridcolor=GRID)
    figure.update_yaxes(title="observed", gridcolor=GRID, zeroline=False)
    figure.update_layout(legend={"orientation": "h", "y": 1.14, "x": 0})
    return drawn(figure, height=330, label="reliability")


def by_gap(rows: Sequence[Row]) -> Any:
    figure = go.Figure()
    figure.add_trace(_points(rows, "mean", "observed", ACCENT))
    gaps, claimed = [row["mean"] for row in rows], [row["claimed"] for row in rows]
    dotted = {"color": INK, "dash": "dot"}
    figure.add_scatter(x=gaps, y=claimed, mode="lines", line=dotted, name="claimed, σ(gap)")
    figure.update_xaxes(title="score gap (fifths of the pairs)", gridcolor=GRID, rangemode="tozero")
    figure.update_yaxes(title="prefer the higher score", gridcolor=GRID, zeroline=False)
    figure.update_layout(legend={"orientation": "h", "y": 1.14, "x": 0})
    return drawn(figure, height=330, label="accuracy by gap")


def people(found: Row) -> Any:
    """One person, the model: both with the majority of the others."""
    rows = [("one person", "human_ceiling", INK), ("the model", "model_with_people", ACCENT)]
    names = [(name, found, key, colour) for name, key, colour in rows]
    return _dots(names, "with the majority of the others, 95 %", chance=None)


def subsets(by: Row) -> Any:
    told = [(row["subset"], row, "accuracy", INK) for row in by["subsets"] if "accuracy" in row]
    means = [(f"{name} mean", by[name], "accuracy", ACCENT) for name in ("weighted", "unweighted")]
    return _dots([*told, *means], f"accuracy by {by['column']}, 95 % interval", chance=0.5)


def rates(judges: Sequence[Row]) -> Any:
    """Win rate of every judge, and as if both replies were equally long."""
    rows: list[tuple[str, Row, str, str]] = []
    for row in judges:
        rows.append((short(row["judge"]), row, "win_rate", ACCENT))
        if "length_controlled" in row:
            rows.append((f"{short(row['judge'])}, equally long", row, "length_controlled", SECOND))
    return _dots(rows, "win rate of the candidate, 95 % interval", chance=0.5)


def short(judge: str) -> str:
    """Of module:function the function."""
    return judge.rpartition(":")[2]


def learning(curve: Row) -> Any:
    """Each model, the mean at each count, the curve through those above chance."""
    figure = go.Figure()
    points = curve["points"]
    x, y = [each["labels"] for each in points], [each["accuracy"] for each in points]
    figure.add_scatter(x=x, y=y, mode="markers", marker={"color": INK, "size": 6, "opacity": 0.5}, name="one model")
    figure.add_trace(_points(curve["means"], "labels", "mean of the seeds", ACCENT, "accuracy"))
    if "curve" in curve:
        x, y = zip(*curve["curve"], strict=True)
        figure.add_scatter(x=x, y=y, mode="lines", line={"color": SECOND}, name=f"fit, and {curve['more']} labels on")
    figure.add_hline(y=0.5, line={"color": INK, "dash": "dot", "width": 1})
    counts = [row["labels"] for row in curve["means"]]
    figure.update_xaxes(title="labels", type="log", gridcolor=GRID, tickvals=counts, ticktext=list(map(str, counts)))
    figure.update_yaxes(title="accuracy on the same held-out pairs", gridcolor=GRID, zeroline=False)
    figure.update_layout(legend={"orientation": "h", "y": 1.12, "x": 0})
    return drawn(figure, height=380, label="learning curve")


def curve_says(curve: Row) -> str:
    if "not_fitted" in curve:
        return f"No curve was fitted: {curve['not_fitted']}."
    gain = {f"gain{end}": scaled(curve.get(f"expected_gain{end}")) for end in ("", "_low", "_high")}
    within = interval(gain, "gain", "{:+.2f}") or TOO_FEW
    return (
        f"The next {curve['more']} labels bring {gain['gain']:+.2f} points of accuracy (95 % interval {within}, from "
        f"{len(curve['points'])} models). Open points: fewer than {FEWEST} prompts, {TOO_FEW}."
    )


def scaled(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _points(rows: Sequence[Row], x: str, name: str, colour: str, y: str = "rate") -> go.Scatter:
    """Values with their intervals; open where there are too few to tell."""
    few = [is_few(row, y) for row in rows]
    sizes = [f"{sized(row, y)}{f', {TOO_FEW}' if each else ''}" for row, each in zip(rows, few, strict=True)]
    return go.Scatter(
        x=[row[x] for row in rows],
        y=[row[y] for row in rows],
        name=name,
        mode="markers",
        marker={"color": colour, "size": 9, "symbol": ["circle-open" if each else "circle" for each in few]},
        error_y=bars(rows, y, y, color=colour, thickness=1.5, width=3),
        text=sizes,
        hovertemplate="%{x:.3f}: %{y:.3f} %{text}<extra></extra>",
    )


def _dots(rows: Sequence[tuple[str, Row, str, str]], title: str, chance: float | None) -> Any:
    """(name, where its numbers are, under which key, colour), one below the other."""
    figure = go.Figure()
    for name, found, key, colour in rows:
        value, few = found.get(key), is_few(found, key)
        if value is None:
            continue
        figure.add_scatter(
            x=[value],
            y=[name],
            mode="markers+text",
            text=[f"{value:.2f}, {sized(found, key)}{f': {TOO_FEW}' if few else ''}"],
            textposition="top center",
            marker={"size": 12, "color": colour, "symbol": "circle-open" if few else "circle"},
            error_x=bars([found], key, key, color=INK, thickness=2),
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    if chance is not None:
        figure.add_vline(x=chance, line={"color": INK, "dash": "dot", "width": 1})
    figure.update_xaxes(title=title, gridcolor=GRID, zeroline=False)
    figure.update_yaxes(range=[len(rows) - 0.4, -0.8], gridcolor=GRID, automargin=True)  # room for the topmost number
    figure.update_layout(showlegend=False)
    return drawn(figure, height=90 + 44 * len(rows), label=title)
