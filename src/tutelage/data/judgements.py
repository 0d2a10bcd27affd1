"""What people said of N questions as tensors, beside the candidates that it was said of.

Questions are ragged: each has its own K candidates, every candidate is one row of the batch and is read once, however
many pairs it stands in. Labels are padded to the widest question, and each kind of padding says that it is none.

Legend: N questions, K candidates of the widest one, M candidates in all, A axes of ratings, H heads of a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from tutelage.data.questions import Question
from tutelage.data.tokens import Codec, written
from tutelage.data.truncate import fit
from tutelage.trajectory import Batch

OF_CANDIDATES = ("preferred_NKK", "margins_NKK", "places_NK", "picked_NK", "ratings_NKA")


@dataclass(frozen=True)
class Judgements:
    """N questions; a loss reads the labels that it learns from.

    candidates: batch of M rows, those of a question side by side    counts_N: [N] how many each question has
    preferred_NKK: [N, K, K] P(i preferred to j) for i < j, NaN where that was not judged
    margins_NKK: [N, K, K] by how much i is better than j, negative where j is, 0 where nobody graded it
    places_NK: [N, K] int64 place in the ranking, 0 the best, equal ones tie; -1 where there is none
    picked_NK: [N, K] P(k is the best); NaN where k is absent, and everywhere where nobody chose a best of all K
    ratings_NKA: [N, K, A] NaN where not rated; axes: the names of the A
    weights_N: [N] what a question counts beside the others
    draws_NH: [N, H] how often each head's bootstrap drew the question; None: each head learns from each once
    """

    candidates: Batch
    counts_N: Tensor
    preferred_NKK: Tensor
    margins_NKK: Tensor
    places_NK: Tensor
    picked_NK: Tensor
    ratings_NKA: Tensor
    weights_N: Tensor
    draws_NH: Tensor | None = None
    axes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if int(self.counts_N.sum()) != len(self.candidates):
            raise ValueError(f"{len(self.candidates)} candidates, and the questions have {int(self.counts_N.sum())}")

    def __len__(self) -> int:
        return len(self.counts_N)

    @property
    def weight(self) -> float:
        return float(self.weights_N.sum())

    @property
    def present_NK(self) -> Tensor:
        """[N, K] whether question n has a candidate k."""
        return torch.arange(self.places_NK.shape[1], device=self.counts_N.device) < self.counts_N[:, None]

    @property
    def lengths_B(self) -> Tensor:
        """[N] padded tokens a question costs: its candidates times the longest of them."""
        question_M = torch.arange(len(self), device=self.counts_N.device).repeat_interleave(self.counts_N)
        longest_N = torch.zeros_like(self.counts_N).scatter_reduce(0, question_M, self.candidates.lengths_B, "amax")
        return longest_N * self.counts_N

    def spread(self, scores_M: Tensor) -> Tensor:
        """[M, ...] numbers of the candidates -> [N, K, ...], NaN where a question has no such candidate."""
        present_NK = self.present_NK
        spread_R = scores_M.new_full((present_NK.numel(), *scores_M.shape[1:]), torch.nan)
        rows_M = present_NK.flatten().nonzero()[:, 0]
        return spread_R.index_copy(0, rows_M, scores_M).view(*present_NK.shape, *scores_M.shape[1:])

    def select(self, indices: Sequence[int] | Tensor) -> Judgements:
        """The given questions, in that order (one may come twice), trimmed to the widest of them."""
        rows_N = torch.as_tensor(indices, device=self.counts_N.device)
        counts_N = self.counts_N[rows_N]
        first_N = (self.counts_N.cumsum(0) - self.counts_N)[rows_N]
        before_N = counts_N.cumsum(0) - counts_N
        among_M = torch.arange(int(counts_N.sum()), device=rows_N.device) - before_N.repeat_interleave(counts_N)
        width = int(counts_N.max())
        labels = {name: getattr(self, name)[rows_N, :width] for name in OF_CANDIDATES}
        labels |= {name: labels[name][:, :, :width] for name in ("preferred_NKK", "margins_NKK")}
        return replace(
            self,
            candidates=self.candidates.select(first_N.repeat_interleave(counts_N) + among_M),
            counts_N=counts_N,
            weights_N=self.weights_N[rows_N],
            draws_NH=None if self.draws_NH is None else self.draws_NH[rows_N],
            **labels,
        )

    def to(self, device: torch.device | str) -> Judgements:
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(
            self, **{n: value.to(device) for n, value in values.items() if isinstance(value, Tensor | Batch)}
        )


def judged(
    candidates: Batch, questions: Sequence[Question], axes: Sequence[str] = (), weights: Sequence[float] | None = None
) -> Judgements:
    """The labels of these questions beside their responses, which are the rows of `candidates` in the same order.

    axes: those of the ratings that are kept, in this order; weights: one a question, 1 each where there are none
    """
    if not questions:
        raise ValueError("judgements need at least one question")
    counts = [len(each.responses) for each in questions]
    count, width = len(questions), max(counts)
    preferred_NKK = np.full((count, width, width), np.nan, dtype=np.float32)
    margins_NKK = np.zeros((count, width, width), dtype=np.float32)
    places_NK = np.full((count, width), -1, dtype=np.int64)
    picked_NK = np.full((count, width), np.nan, dtype=np.float32)
    ratings_NKA = np.full((count, width, len(axes)), np.nan, dtype=np.float32)
    for n, question in enumerate(questions):
        for first, second, target, margin in question.pairs:
            preferred_NKK[n, first, second] = target
            margins_NKK[n, first, second] = np.sign(target - 0.5) * margin
        for place, tied in enumerate(question.places or ()):
            places_NK[n, list(tied)] = place
        if question.choice is not None:
            picked_NK[n, : counts[n]] = np.arange(counts[n]) == question.choice
        for a, axis in enumerate(axes):
            ratings_NKA[n, : counts[n], a] = [
                np.nan if r is None else r for r in question.ratings.get(axis, ())
            ] or np.nan
    arrays = (preferred_NKK, margins_NKK, places_NK, picked_NK, ratings_NKA)
    labels = dict(zip(OF_CANDIDATES, map(torch.from_numpy, arrays), strict=True))
    weights_N = torch.ones(count) if weights is None else torch.tensor(weights, dtype=torch.float32)
    made = Judgements(candidates, torch.tensor(counts), **labels, weights_N=weights_N, axes=tuple(axes))
    return made.to(candidates.lengths_B.device)


def judge_pairs(candidates: Batch) -> Judgements:
    """Questions of two candidates each, side by side, of which the first is better."""
    count, device = len(candidates) // 2, candidates.lengths_B.device
    preferred_NKK = torch.full((count, 2, 2), torch.nan, device=device)
    preferred_NKK[:, 0, 1] = 1.0
    return Judgements(
        candidates,
        torch.full((count,), 2, device=device),
        preferred_NKK,
        margins_NKK=torch.zeros(count, 2, 2, device=device),
        places_NK=torch.arange(2, device=device).repeat(count, 1),
        picked_NK=torch.tensor([1.0, 0.0], device=device).repeat(count, 1),
        ratings_NKA=torch.zeros(count, 2, 0, device=device),
        weights_N=torch.ones(count, device=device),
    )


def tokenised(codec: Codec, questions: Sequence[Question], limit: int | None = None) -> tuple[Batch, int]:
    """(all responses of all questions, each after its prompt; how many questions had one that was cut to `limit`)."""
    fitted = [
        [fit(codec, question.prompt, response, limit) for response in question.responses] for question in questions
    ]
    rows = [written(prompt, response) for question in fitted for prompt, response, _ in question]
    return Batch.of(rows), sum(any(cut for *_, cut in question) for question in fitted)
