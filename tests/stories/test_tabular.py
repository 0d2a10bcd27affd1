"""PPO ends where theory says: at π* ∝ ρ e^{r/β}. The numbers are fact 15's, not our formula's."""

from __future__ import annotations

import pytest
import torch
from tests.stories.tabular import learned, measured

OPTIMA = {  # coefficient: π*, objective β log Z
    1.0: ((0.179000, 0.291944, 0.529056), 1.027222),
    0.5: ((0.036667, 0.162559, 0.800774), 1.306369),
    2.0: ((0.325040, 0.321540, 0.353420), 0.861320),
}
WITHIN = 0.005  # of a probability; over the seeds 0-3 the largest gap was below 0.003
SEEDS = [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]


def check(coefficient: float, probabilities_V: torch.Tensor) -> None:
    optimum, objective = OPTIMA[coefficient]
    mean_score, kl_nats = measured(probabilities_V)
    reached = mean_score - coefficient * kl_nats
    assert objective - 1e-4 < reached <= objective + 1e-6  # nothing can be above the optimum
    assert torch.allclose(probabilities_V, torch.tensor(optimum), atol=WITHIN)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("coefficient", OPTIMA)
def test_ppo_converges_to_the_optimal_policy(coefficient, seed):
    probabilities = learned(coefficient, seed)
    check(coefficient, probabilities)
    if coefficient == 1.0:
        mean_score, kl_nats = measured(probabilities)
        assert mean_score == pytest.approx(1.350056, abs=0.01)
        assert kl_nats == pytest.approx(0.322834, abs=0.01)
