"""The price of KL as it moves: the adaptive controller of Ziegler et al. 2019, which a resumed run continues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutelage.formulas import kl


class KLController:
    """coefficient: reward a nat, now. Without a target it stays.

    target_nats: KL a sequence that it aims at; horizon_episodes: its time constant
    """

    def __init__(self, coefficient: float, target_nats: float | None, horizon_episodes: float) -> None:
        self.coefficient, self.target_nats, self.horizon_episodes = coefficient, target_nats, horizon_episodes

    def saw(self, kl_nats: float, episodes: int) -> None:
        """After a batch, whose rewards were charged with the coefficient from before."""
        if self.target_nats is not None:
            self.coefficient = kl.adapted(self.coefficient, kl_nats, self.target_nats, episodes, self.horizon_episodes)

    def state(self) -> dict[str, Any]:
        return {"coefficient": self.coefficient}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.coefficient = state["coefficient"]
