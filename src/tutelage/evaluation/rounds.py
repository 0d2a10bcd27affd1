"""Policies of several rounds on the same prompts: what each is worth, and how they stand against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tutelage.formulas import intervals, ranking


def policy_rows(
    scores: Mapping[str, np.ndarray], replies: Mapping[str, Sequence[str]], kl_nats: Mapping[str, float]
) -> list[dict[str, Any]]:
    """A row a policy, the first one first. scores: name -> [P] of its reply to each prompt; Elo is by prompt, too."""
    names = list(scores)
    elo = ranking.elo(np.stack([scores[name] for name in names], axis=1))
    rows = []
    for name, rating in zip(names, elo, strict=True):
        score, points = intervals.mean_interval(scores[name]).row("score"), rating.row("elo")
        words = float(np.mean([len(text.split()) for text in replies[name]]))
        rows.append(
            {
                "name": name,
                "score_mean": score.pop("score"),
                **score,
                **points,
                "kl_nats_per_sequence": kl_nats[name],
                "words": words,
            }
        )
    return rows


def summary_of(seeds: Sequence[Sequence[Mapping[str, Any]]], asked: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """summary.json of a loop: score by round over seeds, and what asking in rounds gained over asking at the start.

    seeds: the policy rows of each seed (`policy_rows`), in the same order; asked: the summaries of the question stages
    """
    last = [rows[-1] if not rows[-1]["name"].endswith("offline") else rows[-2] for rows in seeds]
    summary: dict[str, Any] = {
        "seeds": len(seeds),
        "labels": sum(each["answered"] for each in asked.values()),
        **{name: shared(asked, name) for name in ("share_human", "share_synthetic", "share_model")},
        "score_first": float(np.mean([rows[0]["score_mean"] for rows in seeds])),
        "score_last_round": float(np.mean([row["score_mean"] for row in last])),
        "elo_last_round": float(np.mean([row["elo"] for row in last])),
        "rounds": [over_seeds([rows[place] for rows in seeds]) for place in range(len(seeds[0]))],
    }
    if seeds[0][-1]["name"].endswith("offline"):
        summary |= against_offline([row["score_mean"] for row in last], [rows[-1]["score_mean"] for rows in seeds])
    return summary


def shared(asked: Mapping[str, Mapping[str, Any]], name: str) -> float:
    """Share of all answers."""
    total = sum(each["answered"] for each in asked.values())
    return sum(each[name] * each["answered"] for each in asked.values()) / max(1, total)


def over_seeds(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of one round's policy; intervals are over seeds (Student's t), over prompts where all seeds say the same
    (one seed, or the first policy, which they share)."""
    found: dict[str, Any] = {"name": rows[0]["name"].split("-", 2)[-1]}
    found |= {name: mean_of([row[name] for row in rows]) for name in rows[0] if name != "name"}
    for name, column in (("score", "score_mean"), ("elo", "elo")):
        values = [row[column] for row in rows]
        found[f"{name}_n"] = rows[0].get(f"{name}_n")
        if len(set(values)) > 1:
            over = intervals.t_interval(values).row(name)
            found |= {f"{name}{end}": over[f"{name}{end}"] for end in ("_low", "_high", "_n")}
    return found


def mean_of(values: Sequence[float | None]) -> float | None:
    """None where one of them is open (an interval of Elo of a policy that always won)."""
    numbers = [each for each in values if each is not None]
    return float(np.mean(numbers)) if len(numbers) == len(values) else None


def against_offline(online: Sequence[float], offline: Sequence[float]) -> dict[str, Any]:
    """What the last round scored above a policy of as many labels, all asked about the first policy; paired by seed."""
    found: dict[str, Any] = {"score_offline": float(np.mean(offline))}
    if len(online) < 2:
        return {**found, "gain_over_offline": online[0] - offline[0]}
    return {**found, **intervals.paired_difference(online, offline).row("gain_over_offline")}
