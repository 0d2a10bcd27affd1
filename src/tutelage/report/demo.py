"""The demo's part of a report: its story in a few sentences, and cards that name the policy of every number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.report.estimates import TOO_FEW, card, interval, is_few, sized

Row = Mapping[str, Any]
SAID = {
    "SFT": "the supervised policy",
    "SFT, best quarter": "supervised training on the best quarter of the demonstrations by gold",
    "PPO on gold": "PPO on the gold score itself, which labelers would have to give without end or error,",
}
WHO = {"synthetic": "simulated labelers", "human": "people", "model": "a model as the judge"}


def is_demo(summary: Row) -> bool:
    return "win_rate_ppo_over_sft" in summary and bool(summary.get("methods"))


def story(summary: Row) -> str:
    """What was trained, on what, judged by whom, with what interval; and what does better still."""
    if not is_demo(summary):
        return ""
    rows = {row["name"]: row for row in summary["methods"]}
    if not {"PPO", "SFT"} <= set(rows):
        return ""
    return " ".join([trained(summary), judged(summary), *scores(rows), better(summary["methods"])])


def trained(summary: Row) -> str:
    size = f" of {summary['parameters'] / 1e6:.1f} million weights" if summary.get("parameters") else ""
    shown = f" learned {summary['demonstrations']:,} demonstrations, then" if summary.get("demonstrations") else ""
    who = [said for kind, said in WHO.items() if summary.get(f"share_{kind}")] or ["labelers"]
    return (
        f"A language model{size}{shown} was trained by PPO against a reward model that had learned from "
        f"{summary['labels']:,} choices of {' and '.join(who)}."
    )


def judged(summary: Row) -> str:
    within, rate = interval(summary, "win_rate", "{:.0%}"), summary["win_rate_ppo_over_sft"]
    found = {**summary, "win_rate_n": summary.get("win_rate_n", summary["methods"][0].get("gold_n"))}
    told = f"{rate:.0%} ({within}, 95 %) of the replies to {sized(found, 'win_rate', 'unseen prompts')}"
    few = f", which is {TOO_FEW}" if is_few(found, "win_rate") else ""
    return (
        f"The auditor of the desk (the gold score, which PPO never saw) prefers {told} to those of the supervised "
        f"policy that it started from{few}."
    )


def scores(rows: Mapping[str, Row]) -> list[str]:
    return [f"Its gold score is {scored(rows['PPO'])}, the supervised policy's {scored(rows['SFT'])}."]


def scored(row: Row) -> str:
    within = interval(row, "gold")
    return f"{row['gold_mean']:.2f}{f' [{within}]' if within else ''}"


def better(methods: Sequence[Row]) -> str:
    """The references that score higher, the highest first."""
    ppo = next(row for row in methods if row["name"] == "PPO")
    above = sorted((row for row in methods if row["gold_mean"] > ppo["gold_mean"]), key=lambda row: -row["gold_mean"])
    if not above:
        return "None of the references below does better."
    said = "; ".join(f"{called(row['name'])} reaches {scored(row)}" for row in above)
    return f"Better still: {said}."


def called(name: str) -> str:
    return SAID.get(name, f"the {name} replies of the supervised policy by the reward model")


def verdict(summary: Row) -> list[tuple[str, str, str]]:
    """Cards of the demo. Every number names its policy."""
    if not is_demo(summary):
        return []
    rows = {row["name"]: row for row in summary["methods"]}
    prompts = rows["PPO"].get("gold_n") if "PPO" in rows else None
    found = {**summary, "win_rate_n": summary.get("win_rate_n", prompts)}
    preferred = "of PPO's replies preferred to SFT's, by gold"
    rate = card(
        {**found, "win_rate": summary["win_rate_ppo_over_sft"]}, "win_rate", preferred, "unseen prompts",
        detail="Ties count half",
    )  # fmt: skip
    return [rate, *(change(rows) if {"SFT", "PPO"} <= set(rows) else [])]


def change(rows: Mapping[str, Row]) -> list[tuple[str, str, str]]:
    sft, ppo = rows["SFT"], rows["PPO"]
    size = sized({"prompts": None, **ppo}, "gold", "unseen prompts")
    gold = f"SFT [{interval(sft, 'gold')}], PPO [{interval(ppo, 'gold')}], 95 %, {size}"
    broken = " and ".join(
        f"{name} {interval(row, 'policy_breaks', '{:.1%}')}" for name, row in rows.items() if row in (sft, ppo)
    )
    few = is_few({"gold_n": ppo.get("gold_n")}, "gold")
    rules = f"{sft['policy_breaks_fraction']:.0%} → {ppo['policy_breaks_fraction']:.1%}"
    return [
        (f"{sft['gold_mean']:.2f} → {ppo['gold_mean']:.2f}", "gold score, SFT → PPO", gold),
        (
            TOO_FEW if few else rules,
            "of replies break the desk's policy, SFT → PPO",
            f"{f'{rules}, ' if few else ''}95 %: {broken}, {size}",
        ),
    ]
