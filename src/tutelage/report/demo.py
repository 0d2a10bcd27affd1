"""The demo's part of a report: its story in one sentence, and cards that name the policy of every number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutelage.report.estimates import TOO_FEW, card, interval, is_few, sized

Row = Mapping[str, Any]
SAID = {
    "SFT, best quarter": "supervised training on the best quarter of the demonstrations by gold",
    "PPO on gold": "PPO on gold itself",
}
WHO = {"synthetic": "simulated labelers", "human": "people", "model": "a model as the judge"}


def is_demo(summary: Row) -> bool:
    return "win_rate_ppo_over_sft" in summary and bool(summary.get("methods"))


def story(summary: Row) -> str:
    """What was trained, on what, judged by whom, with what interval; and what does better still: one sentence."""
    if not is_demo(summary):
        return ""
    rows = {row["name"]: row for row in summary["methods"]}
    if not {"PPO", "SFT"} <= set(rows):
        return ""
    return f"{trained(summary)} {judged(summary)}; {better(rows)}. Every method stands below with its interval."


def trained(summary: Row) -> str:
    size = f" of {summary['parameters'] / 1e6:.1f} million weights" if summary.get("parameters") else ""
    who = [said for kind, said in WHO.items() if summary.get(f"share_{kind}")] or ["labelers"]
    return (
        f"A language model{size}, trained by PPO on a reward model of {summary['labels']:,} choices by "
        f"{' and '.join(who)},"
    )


def judged(summary: Row) -> str:
    found = {**summary, "win_rate_n": summary.get("win_rate_n", summary["methods"][0].get("gold_n"))}
    within = interval(summary, "win_rate", "{:.0%}")
    few = f", {TOO_FEW}" if is_few(found, "win_rate") else ""
    told = f"(95 %: {within}, {sized(found, 'win_rate', 'unseen prompts')}{few})"
    return (
        f"is preferred to the supervised policy that it started from in {summary['win_rate_ppo_over_sft']:.0%} {told} "
        "by gold, a score that training never saw"
    )


def better(rows: Mapping[str, Row]) -> str:
    """The references that score higher; a best-of-n only where its interval lies above PPO's."""
    ppo = rows["PPO"]
    top = ppo.get("gold_high") or ppo["gold_mean"]
    above = [
        row
        for name, row in rows.items()
        if row["gold_mean"] > ppo["gold_mean"] and (name in SAID or (row.get("gold_low") or row["gold_mean"]) > top)
    ]
    above.sort(key=lambda row: -row["gold_mean"])
    if not above:
        return f"no reference does better than its {scored(ppo)} of gold"
    said = ", ".join(f"{called(row['name'])} reaches {scored(row)}" for row in above)
    return f"better still: {said}, where PPO reaches {scored(ppo)}"


def scored(row: Row) -> str:
    within = interval(row, "gold")
    return f"{row['gold_mean']:.2f}{f' [{within}]' if within else ''}"


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
