"""Gold against proxy over √KL: what became of gold while a proxy was optimised (Gao, Schulman & Hilton 2022).

All rewards are gains over the initial policy. The peak is chosen on every other evaluation prompt and the fall from it
is measured on those between, so that a peak picked from noise does not count as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.formulas import best_of_n, intervals, overoptimisation
from tutelage.formulas.intervals import Estimate

GRID = 30  # points of a drawn curve


@dataclass(frozen=True)
class Checked:
    """One look at a policy: what its reply to each of P prompts got, and the KL of that reply."""

    gold: Sequence[float]
    proxy: Sequence[float]
    kl_nats: Sequence[float]

    def rows(self, prompts: Sequence[str], replies: Sequence[str]) -> list[dict[str, Any]]:
        """One sample a prompt, as samples.jsonl keeps it."""
        columns = zip(prompts, replies, self.gold, self.proxy, self.kl_nats, strict=True)
        return [{"prompt": p, "response": r, "gold": g, "proxy": x, "kl_nats": k} for p, r, g, x, k in columns]


@dataclass(frozen=True)
class Optimised:
    """A policy at C checkpoints, the first of them the initial policy, on P prompts; steps: of training, in all."""

    gold_CP: np.ndarray
    proxy_CP: np.ndarray
    kl_CP: np.ndarray
    steps: int

    @staticmethod
    def of(rows: Sequence[Mapping[str, Any]], steps: int) -> Optimised:
        """From samples.jsonl, whose rows of one step stand in the order of the prompts."""
        at: dict[int, list[Mapping[str, Any]]] = {}
        for row in rows:
            at.setdefault(row["step"], []).append(row)
        by_name = {name: np.array([[row[name] for row in at[step]] for step in sorted(at)]) for name in KEPT}
        return Optimised(by_name["gold"], by_name["proxy"], by_name["kl_nats"], steps)

    def row(self) -> dict[str, Any]:
        """Gains over the initial policy by checkpoint, the peak, and the fall behind it."""
        first, second = self.gold_CP[:, ::2], self.gold_CP[:, 1::2]
        drop = overoptimisation.held_out_drop(first, second)
        gold_C, held_C, proxy_C = (each.mean(axis=1) for each in (self.gold_CP, second, self.proxy_CP))
        distance_C = np.sqrt(np.maximum(self.kl_CP.mean(axis=1), 0.0))
        peak = drop.checkpoint
        return {
            "steps": self.steps,
            "sqrt_kl": distance_C.tolist(),
            "gold": (gold_C - gold_C[0]).tolist(),
            "proxy": (proxy_C - proxy_C[0]).tolist(),
            "sqrt_kl_at_peak": float(distance_C[peak]),
            "gold_peak": float(held_C[peak] - held_C[0]),
            "gold_at_end": float(held_C[-1] - held_C[0]),
            **Estimate(drop.drop, drop.low, drop.high, drop.n).row("gold_drop"),
            "proxy_at_peak": float(proxy_C[peak] - proxy_C[0]),
            "proxy_at_end": float(proxy_C[-1] - proxy_C[0]),
        }


KEPT = ("gold", "proxy", "kl_nats")


def best_of_n_points(proxy_PN: np.ndarray, gold_PN: np.ndarray) -> dict[str, list[float]]:
    """What the best of n by this proxy is worth, n = 1, 2, 4, … and all; unbiased, means over prompts."""
    count = proxy_PN.shape[1]
    ns = [*(2**power for power in range(count.bit_length()) if 2**power < count), count]
    gold_M, proxy_M = (best_of_n.curve(proxy_PN, each, ns).mean(axis=0) for each in (gold_PN, proxy_PN))
    return {
        "n": [float(n) for n in ns],
        "sqrt_kl": [float(np.sqrt(max(best_of_n.kl_nats(n), 0.0))) for n in ns],
        "gold": (gold_M - gold_M[0]).tolist(),
        "proxy": (proxy_M - proxy_M[0]).tolist(),
    }


Summaries = Mapping[str, Mapping[str, Any]]
"""Stage -> its summary. Stages are named by what they are, their setting and their seed."""


def found_in(
    summaries: Summaries, settings: Sequence[Mapping[str, int]], held_out_labels: Sequence[int]
) -> dict[str, Any]:
    """summary.json of the laboratory: a row a setting, ensembles against single proxies, stopping at the peak."""
    rows, curves = [], []
    for setting in settings:
        of = Runs(summaries, setting)
        rows.append(setting_row(of))
        curves += [drawn(of, "PPO", of.all("ppo")), drawn(of, "best of n", of.best_of_n)]
    fewest = Runs(summaries, settings[0])
    smallest = rows[0]
    return {
        "seeds": len(fewest.all("ppo")),
        "seconds_total": round(sum(each["seconds"] for each in summaries.values()), 1),
        "fall_of_gold": "shown" if (smallest["gold_drop_low"] or 0.0) > 0 else "not shown",
        **{f"gold_drop_at_fewest_labels{end}": smallest[f"gold_drop{end}"] for end in ("", "_low", "_high", "_n")},
        "settings": rows,
        "ensembles": [against_single(fewest, name) for name in ENSEMBLES if fewest.all(f"ppo-{name}")],
        "stop_at_peak": [stopped_row(fewest, labels) for labels in held_out_labels],
        "curves": curves,
    }


ENSEMBLES = ("minimum", "uwo")


@dataclass(frozen=True)
class Runs:
    """The stages of one setting, seed by seed."""

    summaries: Summaries
    setting: Mapping[str, int]

    def all(self, what: str) -> list[Mapping[str, Any]]:
        """Summaries of the seeds that there are, from 0 on."""
        where = f"{what}-{self.setting['labels']}-labels-width-{self.setting['width']}-seed-"
        names = [f"{where}{seed}" for seed in range(len(self.summaries))]
        return [self.summaries[name] for name in names if name in self.summaries]

    @property
    def best_of_n(self) -> list[Mapping[str, Any]]:
        return [each["best_of_n"] for each in self.all("proxy") if "best_of_n" in each]


def setting_row(of: Runs) -> dict[str, Any]:
    """Fits over all seeds' points, a seed a cluster; everything else as means over seeds, intervals by Student's t."""
    runs, proxies = of.all("ppo"), of.all("proxy")
    drop = over_seeds([run["gold_drop"] for run in runs])
    rise = over_seeds([run["proxy_at_end"] - run["proxy_at_peak"] for run in runs])
    means = ("gold_peak", "gold_at_end", "proxy_at_end", "sqrt_kl_at_peak")
    row: dict[str, Any] = {
        "labels": of.setting["labels"],
        "width": of.setting["width"],
        "seeds": len(runs),
        "proxy_parameters": proxies[0]["proxy_parameters"],
        **over_seeds([each["accuracy"] for each in proxies]).row("accuracy"),
        **{name: float(np.mean([run[name] for run in runs])) for name in means},
        **drop.row("gold_drop"),
        **rise.row("proxy_rise_after_peak"),
    }
    row |= fit_row("bon", of.best_of_n, fit_curve(of.best_of_n, overoptimisation.fit_best_of_n))
    row |= fit_row("rl", runs, fit_curve(runs, overoptimisation.fit_reinforcement))
    return row


FITTED = ("alpha", "alpha_low", "alpha_high", "beta", "beta_low", "beta_high")


def fit_row(name: str, points: Sequence[Mapping[str, Any]], fit: overoptimisation.Fit | None) -> dict[str, Any]:
    """The columns of a fit in summary.json; None in each where no fit could be made."""
    row: dict[str, Any] = {f"{each}_{name}": fit and finite(getattr(fit, each)) for each in FITTED}
    row |= {f"runs_{name}": fit.n if fit else len(points), f"r2_{name}": fit and finite(fit.r_squared)}
    return row | {f"sqrt_kl_of_fitted_peak_{name}": fit and fit.peak and fit.peak.distance}


def fit_curve(points: Sequence[Mapping[str, Any]], fit: Any) -> overoptimisation.Fit | None:
    """The form through every seed's points beyond the initial policy; the points of a seed are one cluster.

    None where there are fewer than three such points, or fewer than two distances.
    """
    distances, gold = (np.concatenate([each[name] for each in points]) for name in ("sqrt_kl", "gold"))
    seeds = np.repeat(np.arange(len(points)), [len(each["gold"]) for each in points])
    beyond = distances > 1e-3
    if not overoptimisation.can_fit(distances[beyond]):
        return None
    return fit(distances[beyond], gold[beyond], runs_N=seeds[beyond])


def finite(value: float) -> float | None:
    """None for a number that is not known, such as an end of an interval: JSON has no word for NaN."""
    return float(value) if np.isfinite(value) else None


def against_single(of: Runs, name: str) -> dict[str, Any]:
    """An ensemble's runs beside the single proxy's, paired by seed."""
    ours, theirs = of.all(f"ppo-{name}"), of.all("ppo")
    row: dict[str, Any] = {"name": name}
    for what in ("gold_peak", "gold_at_end"):
        mine, single = ([float(run[what]) for run in each] for each in (ours, theirs))
        row |= {what: float(np.mean(mine)), f"{what}_single": float(np.mean(single))}
        row |= paired(mine, single).row(f"{what}_gain")
    return row


def over_seeds(values: Sequence[float]) -> Estimate:
    """The mean with Student's t; no interval of one seed."""
    return intervals.t_interval(values) if len(values) > 1 else intervals.mean_interval(values)


def paired(mine: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """The mean difference, seed by seed."""
    return over_seeds([one - other for one, other in zip(mine, theirs, strict=True)])


def stopped_row(of: Runs, held_out_labels: int) -> dict[str, Any]:
    """What stopping at the held-out score's peak saved against running on, paired by seed."""
    stopped, on = of.all(f"ppo-stopped-{held_out_labels}"), of.all("ppo")
    held_out = of.all(f"held-out-{held_out_labels}")
    ended, ran_on = ([float(run["gold_at_end"]) for run in each] for each in (stopped, on))
    saved = paired(ended, ran_on)
    return {
        "held_out_labels": held_out_labels,
        **over_seeds([each["accuracy"] for each in held_out]).row("held_out_accuracy"),
        "gold_stopped": float(np.mean(ended)),
        "gold_running_on": float(np.mean(ran_on)),
        "gold_at_best": float(np.mean([run["gold_peak"] for run in on])),
        **saved.row("saved"),
        "steps_stopped": float(np.mean([run["steps"] for run in stopped])),
        "steps_running_on": float(np.mean([run["steps"] for run in on])),
    }


def drawn(of: Runs, method: str, points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Gold and proxy over √KL as far as every seed went: mean over seeds and its lowest and highest."""
    reach = min(max(each["sqrt_kl"]) for each in points)
    grid = np.linspace(0.0, reach, GRID)
    row: dict[str, Any] = {"method": method, **of.setting, "sqrt_kl": grid.tolist()}
    for name in ("gold", "proxy"):
        lines = np.array([_along(grid, each["sqrt_kl"], each[name]) for each in points])
        row |= {name: lines.mean(axis=0).tolist(), f"{name}_low": lines.min(axis=0).tolist()}
        row[f"{name}_high"] = lines.max(axis=0).tolist()
    return row


def _along(grid: np.ndarray, distances: Sequence[float], values: Sequence[float]) -> np.ndarray:
    order = np.argsort(distances, kind="stable")
    return np.interp(grid, np.asarray(distances)[order], np.asarray(values)[order])
