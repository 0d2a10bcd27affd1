"""The sampler is not the learner: old weights, another precision, another mask."""

from __future__ import annotations

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.finding import Disease, Sign
from tutelage.doctor.series import Series

GAP_NATS = 0.01  # on one action, in fp32: rounding gives up to 3e-5
ROUNDED_MEAN_NATS = 0.0625  # in bf16, in the mean over actions: its limit in formulas.parity
ROUNDED_NATS = 0.1  # in bf16, on one action, of runs that recorded no mean
MISMATCH = "SamplerMismatchError"


def examine(stage: Stage, run: Chart) -> Sign | None:
    gap, limit = watched_gap(stage)
    onset = gap.onset(lambda values: values > limit, lasts=2)
    refused = stage.unhappy_end == MISMATCH
    if (onset is None and not refused) or adapter_not_there(stage):
        return None
    said = [f"The gap was up to {gap.values.max():.3g} nats an action; rounding alone gives less than {limit:g}."]
    ended = ["The run was stopped because the learner did not recognise the sampler's log-probs."]
    return Sign(
        severity="stop",
        step=onset if onset is not None else last_step(stage),
        evidence=(*(said if onset is not None else []), *(ended if refused else [])),
        remedy="Publish the weights after every update, keep the tolerance of parity tight, and do not skip the "
        "preflight "
        "(`new weights arrive`); --sampler native samples with the learner's own weights.",
        changes={"--sampler": "native", stage.flag("parity_tolerance_nats"): 1e-3},
        metrics=("sampler_gap_nats", "kl_nats_per_sequence"),
        weight=float(gap.values.max()) / limit if len(gap) else 1.0,
    )


def watched_gap(stage: Stage) -> tuple[Series, float]:
    """(the gap that is judged, what rounding alone stays below): in bf16 the mean, since outliers are rounding."""
    numerics = stage.job.get("numerics")
    if not (isinstance(numerics, dict) and numerics.get("precision") == "bf16"):
        return stage.series("sampler_gap_nats"), GAP_NATS
    mean = stage.series("sampler_gap_mean_nats")
    return (mean, ROUNDED_MEAN_NATS) if len(mean) else (stage.series("sampler_gap_nats"), ROUNDED_NATS)


def rank(stage: Stage) -> int:
    value = stage.job.get("lora_rank", 0)
    return value if isinstance(value, int) else 0


def adapter_not_there(stage: Stage) -> bool:
    """A gap that was none before the first update, and an adapter: it is not delivered."""
    gap, limit = watched_gap(stage)
    return rank(stage) > 0 and len(gap) > 1 and gap.values[0] < min(GAP_NATS, limit) and gap.values[-1] > limit


def last_step(stage: Stage) -> int:
    return int(stage.events[-1]["step"]) + 1 if stage.events else 0


DISEASE = Disease(
    name="stale sampler",
    kind="ppo",
    needs=(),
    look="Log-probs of sampler and learner differ by more than 0.01 nats on an action (in bf16: 0.0625 in the mean), "
    "or the run was stopped for it.",
    causes=(
        "The sampler has weights of an earlier step: nothing was published, or it did not arrive.",
        "Another temperature, mask or precision on one side.",
        "A tolerance so wide that the check passes (parity_tolerance_nats).",
    ),
    confirm="The gap is 0 before the first update and not after it.",
    look_alike="Rounding: up to 3e-5 in fp32; in bf16 0.01 to 0.04 in the mean, 0.6 on one action of thousands.",
    examine=examine,
)
