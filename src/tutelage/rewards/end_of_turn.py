"""Replies as a reward model was taught to read them: closed by the end of the turn, also where a limit cut them off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tutelage.data.tokens import written
from tutelage.trajectory import Batch, parts_by_length


def append_end(batch: Batch, end_token: int) -> Batch:
    """The episodes without log-probs and rewards, `end_token` behind each one that does not end with it."""
    rows = []
    for index in range(len(batch)):
        tokens = batch.observations[index, : int(batch.lengths_B[index]) + 1].tolist()
        first = int(batch.mask_BT[index].int().argmax()) + 1
        end = [] if tokens[-1] == end_token else [end_token]
        rows.append(written(tokens[:first], [*tokens[first:], *end], batch.keys[index]))
    return Batch.of(rows).to(batch.lengths_B.device)


@dataclass(frozen=True)
class EndOfTurnScore:
    """A reward model (episodes -> [B] scores) that reads every reply as if it had ended where it stops, as a Score.

    A model that reads the state behind the end of a turn knows nothing of states in the middle of a sentence.
    """

    model: Callable[[Batch], Tensor]
    end_token: int
    tokens_at_once: int = 4096

    def __call__(self, batch: Batch) -> Tensor:
        return batch.at_last_action(self.scores(batch))

    @torch.no_grad()
    def scores(self, batch: Batch) -> Tensor:
        """[B]."""
        whole = append_end(batch, self.end_token)
        scores_B = torch.zeros(len(whole), device=whole.lengths_B.device)
        for rows in parts_by_length(whole.lengths_B, self.tokens_at_once):
            scores_B[rows] = self.model(whole.select(rows)).float()
        return scores_B
