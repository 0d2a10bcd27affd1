"""Reward hacking: what is optimised goes up, what it stands for goes down."""

from __future__ import annotations

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign
from tutelage.doctor.witness import Fall, falls, judged

LOST = 0.25  # of what had been gained, that a judge must see gone
ALL_LOST = 0.75  # from here on going on is a waste
PROXY_FALLS_WITH_IT = 0.25  # of the judge's fall: a proxy that falls with the judge is instability, no hacking
PEOPLE = 0.5  # win rate by answers at or below which people do not see what the reward model sees


def examine(stage: Stage, run: Chart) -> Sign | None:
    found = [fall for fall in falls(stage) if hacked(fall)]
    if not found:
        return against_people(stage)
    worst = max(found, key=lambda fall: fall.gain_lost)
    return Sign(
        severity="stop" if worst.gain_lost >= ALL_LOST else "warning",
        step=worst.step,
        evidence=tuple(told(fall) for fall in found),
        remedy="Take the weights of the peak (a held-out reward and --stop-at-peak end there), or charge more for KL.",
        changes={
            **({"--held-out-reward": "FOLDER", "--stop-at-peak": 12} if "held_out_reward" in stage.job else {}),
            stage.flag("kl_coefficient"): max(0.1, 2 * stage.setting("kl_coefficient", 0.1)),
        },
        metrics=("score", "gold_score", "held_out_score", "kl_nats_per_sequence"),
        samples=tuple(text for _, text in stage.texts()[-3:]),
        weight=1.0 + worst.gain_lost,
    )


def hacked(fall: Fall) -> bool:
    drop = fall.peak - fall.end
    return fall.gain_lost >= LOST and fall.proxy_at_end >= fall.proxy_at_peak - PROXY_FALLS_WITH_IT * drop


def told(fall: Fall) -> str:
    return (
        f"{fall.judge} fell from {fall.peak:.2f} at step {fall.step} to {fall.end:.2f} (it began at {fall.start:.2f}; "
        f"standard error {fall.noise:.2f}) while the optimised score went from {fall.proxy_at_peak:.2f} to "
        f"{fall.proxy_at_end:.2f}."
    )


def against_people(stage: Stage) -> Sign | None:
    """People's own answers against the reward model's, where a live run has both."""
    said, model = stage.result("win_rate_high_by_answers"), stage.result("win_rate_by_reward_model_low")
    if said is None or model is None or said >= PEOPLE or model <= PEOPLE:
        return None
    return Sign(
        severity="warning",
        step=None,
        evidence=(
            f"The reward model prefers the newest policy in at least {model:.0%}, people in at most {said:.0%} of "
            "cases.",
        ),
        remedy="Ask more before training more: fewer steps a lap, and a higher KL coefficient.",
        changes={stage.flag("kl_coefficient"): 2 * stage.setting("kl_coefficient", 0.1)},
        metrics=("win_rate_by_reward_model",),
    )


def watched(stage: Stage) -> bool:
    """Whether anybody looked on."""
    return bool(judged(stage))


DISEASE = Disease(
    name="reward hacking",
    kind="ppo",
    needs=("score",),
    look="A judge that nothing is optimised against (held-out reward, gold, people) falls from its peak by more "
    "than its "
    "noise and by a quarter of its gain, while the optimised score does not fall.",
    causes=(
        "The reward model is wrong where the policy went: too few labels, or none of such replies.",
        "The KL penalty is too weak for this reward model, or the run too long.",
        "The labels reward a habit (length, warmth, a phrase) that the reward model took for the whole.",
    ),
    confirm="Label fifty pairs of replies from the peak and from the end: people prefer those of the peak.",
    look_alike="A judge that levels off, or wavers within its noise, while the score still rises; and a score that "
    "falls "
    "together with the judge, which is instability.",
    examine=examine,
)
