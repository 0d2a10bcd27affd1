"""Whether a run has learned anything, which several diseases ask."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.doctor.chart import Stage

FEWEST = 10  # steps before which nobody expects anything
STILL_NATS = 0.5  # KL a sequence below which the policy is where it began
STILL_GAIN = 0.5  # deviations of the score that count as a gain
NAT_COSTS = 1.0  # deviations of the score that a nat may cost before KL alone decides
ALL_EQUAL = 0.9  # share of episodes with one score: then there is nothing to learn


@dataclass(frozen=True)
class Standstill:
    """nats: KL at the end; gain: of the score; deviation: of the score at the start; price: reward a nat"""

    nats: float
    gain: float
    deviation: float
    price: float
    step: int

    @property
    def nat_costs(self) -> float:
        """Deviations of the score that a nat costs."""
        return self.price / max(self.deviation, 1e-9)


def standstill(stage: Stage) -> Standstill | None:
    """Where a run with a reward that tells replies apart stays where it began.

    Bodies have no KL to tell it by: their reference is the policy that acted.
    """
    kl, score, deviation = (stage.series(name) for name in ("kl_nats_per_sequence", "score", "score_deviation"))
    if len(kl) < FEWEST or len(score) < FEWEST or not len(deviation) or deviation.start < 1e-6 or stage.of_bodies:
        return None
    if stage.has("commonest_score_fraction") and stage.series("commonest_score_fraction").first >= ALL_EQUAL:
        return None
    price = stage.series("kl_coefficient").last if stage.has("kl_coefficient") else stage.setting("kl_coefficient", 0.1)
    found = Standstill(kl.last, score.last - score.first, deviation.start, price, int(kl.steps[0]))
    return found if abs(found.nats) < STILL_NATS and found.gain < STILL_GAIN * found.deviation else None
