"""Rewards, advantages or gradients that have outgrown what the settings were made for."""

from __future__ import annotations

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign

DEVIATION = 10.0  # of scores: log-odds of a preference lie within ±10
UNLEARNABLE = 30.0  # of scores: then the first batches decide, whatever they say
GROWTH = 5.0  # times the advantages' deviation at the start
NORMS = 10.0  # times max_grad_norm (docs/metrics.md)
LASTS = 5


def examine(stage: Stage, run: Chart) -> Sign | None:
    signs = [*scale(stage), *growth(stage), *gradients(stage)]
    if not signs:
        return None
    unlearnable = stage.series("score_deviation").onset(lambda values: values > UNLEARNABLE) is not None
    return Sign(
        severity="stop" if unlearnable and not stage.of_bodies else "warning",
        step=min(step for step, _, _ in signs),
        evidence=tuple(said for _, said, _ in signs),
        remedy="Scale the reward to deviation 1 on replies of the first policy (--normalise-deviation of the reward "
        "model); a score beyond ±10 is no log-odds of anything.",
        changes={"--normalise-deviation": 1.0},
        metrics=("score_deviation", "advantage_deviation", "return_deviation", "gradient_norm_value"),
        weight=max(weight for _, _, weight in signs),
    )


def scale(stage: Stage) -> list[tuple[int, str, float]]:
    series = stage.series("score_deviation")
    onset = series.onset(lambda values: values > DEVIATION)
    if onset is None or stage.of_bodies:
        return []
    most = float(series.values.max())
    return [
        (onset, f"Scores deviate by up to {most:.3g}, more than {DEVIATION:g} from step {onset}.", most / DEVIATION)
    ]


def growth(stage: Stage) -> list[tuple[int, str, float]]:
    series = stage.series("advantage_deviation")
    if len(series) < LASTS + 2 or series.start <= 0 or series.start < 1e-3:
        return []
    onset = series.onset(lambda values: values > GROWTH * series.start, LASTS)
    if onset is None:
        return []
    times = float(series.values.max()) / series.start
    return [(onset, f"Advantages deviate {times:.1f} times as much as at the start.", times / GROWTH)]


def gradients(stage: Stage) -> list[tuple[int, str, float]]:
    limit = NORMS * stage.setting("max_grad_norm", 1.0)
    found: list[tuple[int, str, float]] = []
    for name in ("gradient_norm_policy", "gradient_norm_value"):
        series = stage.series(name)
        onset = series.onset(lambda values: values > limit, LASTS)
        if onset is not None and not pays(stage):
            most = float(series.values.max())
            found.append((onset, f"{name} is above {limit:g} from step {onset}, {most:.3g} at most.", most / limit))
    return found


def pays(stage: Stage) -> bool:
    """What is paid in every step, by the environment itself or for a body's motion, has a scale of its own."""
    series = stage.series("environment_reward")
    return stage.of_bodies or (len(series) > 0 and float(abs(series.values).max()) > 0)


DISEASE = Disease(
    name="reward scale blow-up",
    kind="ppo",
    needs=("score_deviation",),
    look="Scores that deviate by more than 10, advantages five times as wide as at the start, or gradients ten "
    "times beyond "
    "max_grad_norm, for steps on end.",
    causes=(
        "A reward that is not normalised, or a sum over tokens.",
        "A reward model without bounds where the policy has gone.",
        "A critic that diverges, which widens advantages.",
    ),
    confirm="With scores scaled to deviation 1 gradient norms come down tenfold and the run learns the same or better.",
    look_alike="Gradients of the critic that are large for the first steps; environments that pay in points of "
    "their own.",
    examine=examine,
)
