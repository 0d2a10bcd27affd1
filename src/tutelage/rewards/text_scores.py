"""A reward model's folder, and the scores of texts under it: in its own tokens, whatever wrote the texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tutelage.data.errors import InputError
from tutelage.data.questions import Question
from tutelage.data.tokens import Codec, written
from tutelage.data.truncate import fit
from tutelage.models.pretrained import NOTHING, Trust, context_tokens, load_tokenizer
from tutelage.models.trunk import Numerics
from tutelage.rewards.ensemble import Combine, Ensemble
from tutelage.rewards.scoring import Judging, opinions
from tutelage.trajectory import Batch, parts_by_length

TOKENS_AT_ONCE = 16384
WHOLE = 10**9  # tokens that a text may have; the reward model's own limit still cuts it


@dataclass(frozen=True)
class TextScorer:
    """A reward model that reads texts, or several: `combine` makes one score of what they say, [M, B] -> [B].

    limit: tokens of prompt and reply together; more is cut as in training
    """

    model: Ensemble
    combine: Combine
    codec: Codec
    limit: int

    @staticmethod
    def load(
        name: str,
        device: torch.device,
        max_tokens: int,
        numerics: Numerics = Numerics(),
        judging: Judging = Judging(),
        trust: Trust = NOTHING,
    ) -> TextScorer:
        """InputError where the folder holds no reward model: a language model's head would be random."""
        model, combine = opinions(name, device, judging, numerics, trust)
        limit = min(max_tokens, context_tokens(model.models[0].model) or max_tokens)
        return TextScorer(model.eval(), combine, Codec(load_tokenizer(name, trust)), limit)

    def __call__(
        self, pairs: Sequence[tuple[str, str]], ended_N: Sequence[bool] | None = None
    ) -> tuple[np.ndarray, int]:
        """([N] scores of (prompt, reply) texts, how many were cut to fit). ended_N: see `members`."""
        scores_NM, cut = self.members(pairs, ended_N)
        return self.combine(torch.from_numpy(scores_NM).t()).numpy(), cut

    @torch.no_grad()
    def members(
        self, pairs: Sequence[tuple[str, str]], ended_N: Sequence[bool] | None = None
    ) -> tuple[np.ndarray, int]:
        """([N, M] scores by each member, how many texts were cut to fit).

        ended_N: which replies ended by themselves, behind which the end of sequence stands; None: all of them
        """
        ends = [True] * len(pairs) if ended_N is None else ended_N
        fitted = [
            fit(self.codec, prompt, response, self.limit, ended=ended or not response)
            for (prompt, response), ended in zip(pairs, ends, strict=True)
        ]
        rows = [written(prompt, response) for prompt, response, _ in fitted]
        device = next(self.model.parameters()).device
        scores: dict[int, np.ndarray] = {}
        for part in parts_by_length(torch.tensor([len(row.actions) for row in rows]), TOKENS_AT_ONCE):
            batch = Batch.of([rows[place] for place in part.tolist()]).to(device)
            scores |= dict(zip(part.tolist(), self.model(batch).double().cpu().numpy(), strict=True))
        return np.stack([scores[place] for place in range(len(rows))]), sum(cut for *_, cut in fitted)

    def of_questions(self, questions: Sequence[Question]) -> tuple[list[np.ndarray], int]:
        """(K scores of each question, how many replies were cut to fit)."""
        texts = [(each.prompt, response) for each in questions for response in each.responses]
        scores_N, cut = self(texts)
        ends = np.cumsum([len(each.responses) for each in questions])
        return np.split(scores_N, ends[:-1]), cut


@dataclass(frozen=True)
class RetokenizedScore:
    """A reward model of another tokenizer as a Score of the policy's episodes: their texts, read in its own tokens.

    A reply that was cut off gets no end of sequence, as where both share their tokens. A score that is not finite is
    refused. codec: the policy's     name: of the reward, for messages
    """

    scorer: TextScorer
    codec: Codec
    name: str

    def __call__(self, batch: Batch) -> torch.Tensor:
        pairs = list(zip(*self.codec.prompts_and_responses(batch), strict=True))
        scores_B, _ = self.scorer(pairs, batch.terminated_B.tolist())
        wrong = next((place for place, score in enumerate(scores_B) if not np.isfinite(score)), None)
        if wrong is not None:
            raise InputError(f"{self.name} gave {scores_B[wrong]} for {pairs[wrong][1][:80]!r}; expected a number.")
        return batch.at_last_action(torch.tensor(scores_B, dtype=torch.float32, device=batch.mask_BT.device))


def through_text(
    reward: str, codec: Codec, device: torch.device, judging: Judging = Judging(), trust: Trust = NOTHING
) -> RetokenizedScore:
    """The score of a reward model whose tokenizer is not the policy's. Prints that it reads texts."""
    if judging.rules:
        raise InputError(
            f"--rules {judging.rules}: --reward {reward} has another tokenizer than the policy. A classifier of rules "
            "reads the policy's own tokens: train it from the policy's model (reward-model --by-rule)."
        )
    scorer = TextScorer.load(reward, device, WHOLE, judging=judging, trust=trust)
    print(
        f"--reward {reward} has another tokenizer than the policy: it scores the texts of prompt and reply, in its own "
        "tokens, and no value model starts from it."
    )
    return RetokenizedScore(scorer, codec, f"the reward model {reward}")


def label(name: str) -> str:
    """A short name for tables: of RUN/model the run, of a file its name without suffixes."""
    path = Path(name)
    last = path.parent.name if path.name == "model" and path.parent.name else path.name
    return last.split(".")[0] or last or name


def labels(names: Sequence[str]) -> list[str]:
    """Short where that tells them apart, else as they were given."""
    short = [label(each) for each in names]
    return short if len(set(short)) == len(set(names)) else list(names)
