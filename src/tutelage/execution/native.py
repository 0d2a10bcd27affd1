"""Samples any Hugging Face causal LM in this process: tau ~ pi, token by token, many episodes at once.

All episodes of a chunk advance together, one token a step from position 0 on. The next token of an episode is either
forced (its prompt, or what the other side said: the environment's part of the state) or sampled (the policy's action).
So nothing is ever padded: short prompts begin to sample while longer ones are still being read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from tutelage.policies.language import LanguagePolicy
from tutelage.trajectory import Batch, Environment, Episode, Finish, Key, Trajectory, Turn


@dataclass(frozen=True)
class SamplingSettings:
    """max_new_tokens: limit of one turn. episodes_at_once: how many advance together (memory against speed)."""

    max_new_tokens: int = 64
    episodes_at_once: int = 256


@dataclass
class Row:
    """One episode while it is being sampled."""

    index: int
    episode: Episode
    uniforms: np.random.Generator
    tokens: list[int]
    mask: list[bool] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    forced: deque[int] = field(default_factory=deque)
    turn: list[int] = field(default_factory=list)
    finish: Finish | None = None

    def take(self, sampled: int, log_prob: float) -> None:
        """The next token: forced if one is waiting, otherwise the sampled one."""
        acts = not self.forced
        self.tokens.append(sampled if acts else self.forced.popleft())
        self.mask.append(acts)
        self.log_probs.append(log_prob if acts else 0.0)
        if acts:
            self.turn.append(sampled)

    def give_the_floor(self, stop_tokens: frozenset[int], limit: int) -> None:
        """After an action: if the turn is over, hear what the environment says."""
        if self.forced or not self.turn:
            return
        stopped = self.turn[-1] in stop_tokens
        if not stopped and len(self.turn) < limit:
            return
        step = self.episode.step(Turn(tuple(self.turn), stopped))
        self.turn, self.finish = [], step.finish
        self.forced.extend(step.observation)
        if self.finish is None and not self.forced:
            raise ValueError("the environment neither answered nor ended the episode after a turn")

    def trajectory(self, key: Key, device: torch.device) -> Trajectory:
        tokens = torch.tensor(self.tokens, device=device)
        assert self.finish is not None
        return Trajectory(
            observations=tokens,
            actions=tokens[1:],
            mask_T=torch.tensor(self.mask, device=device),
            behaviour_log_probs_T=torch.tensor(self.log_probs, dtype=torch.float32, device=device),
            rewards_T=torch.zeros(len(self.mask), device=device),
            finish=self.finish,
            key=key,
        )


class NativeSampler:
    """The reference sampler: it reads the very weights that learn, so publishing has nothing to send.

    That sampler and learner agree is still checked on every batch, by whoever recomputes its log-probs.
    """

    def __init__(
        self,
        policy: LanguagePolicy,
        stop_tokens: Iterable[int],
        seed: int,
        settings: SamplingSettings = SamplingSettings(),
    ) -> None:
        self.policy, self.settings, self.seed = policy, settings, seed
        self.stop_tokens = frozenset(stop_tokens)
        self.device = next(policy.parameters()).device

    def publish(self) -> None:
        """Nothing to send: the weights are shared."""

    def groups(self, environment: Environment, keys: Sequence[Key]) -> list[list[Key]]:
        """The keys in the groups that `sample` runs together: like lengths of what is seen first."""
        ordered = sorted(keys, key=lambda key: len(environment.episode(key).first))
        size = self.settings.episodes_at_once
        return [ordered[start : start + size] for start in range(0, len(ordered), size)]

    @torch.no_grad()
    def sample(self, environment: Environment, keys: Sequence[Key]) -> Batch:
        """One episode for every key, in their order; episodes of like prompts run together."""
        rows = []
        for index, key in enumerate(keys):
            episode = environment.episode(key)
            first, *rest = episode.first
            rows.append(Row(index, episode, stream(self.seed, key), [first], forced=deque(rest)))
        rows.sort(key=lambda row: len(row.forced))
        size = self.settings.episodes_at_once
        for start in range(0, len(rows), size):
            self._finish(rows[start : start + size])
        rows.sort(key=lambda row: row.index)
        return Batch.of([row.trajectory(key, self.device) for row, key in zip(rows, keys, strict=True)])

    def _finish(self, rows: list[Row]) -> None:
        """Run these episodes to their end."""
        cache, logits_BV = self._read_shared_prompts(rows)
        while rows:
            tokens_B, log_probs_B = self._draw(logits_BV, rows)
            for row, token, log_prob in zip(rows, tokens_B.tolist(), log_probs_B.tolist(), strict=True):
                row.take(token, log_prob)
                row.give_the_floor(self.stop_tokens, self.settings.max_new_tokens)
            alive = [position for position, row in enumerate(rows) if row.finish is None]
            if len(alive) < len(rows):
                rows = [rows[position] for position in alive]
                if not rows:
                    return
                cache.batch_select_indices(torch.tensor(alive, device=self.device))
            newest = torch.tensor([[row.tokens[-1]] for row in rows], device=self.device)
            logits_BV = self.policy.model(input_ids=newest, past_key_values=cache, use_cache=True).logits[:, -1]

    def _read_shared_prompts(self, rows: list[Row]) -> tuple[DynamicCache, Tensor]:
        """Read as many prompt tokens as the shortest prompt has, each distinct beginning once."""
        shortest = min(len(row.forced) for row in rows)
        for row in rows:
            for _ in range(shortest):
                row.take(0, 0.0)
        beginnings = torch.tensor([row.tokens for row in rows], device=self.device)
        distinct, place_B = torch.unique(beginnings, dim=0, return_inverse=True)
        cache = DynamicCache()
        logits = self.policy.model(input_ids=distinct, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        cache.batch_select_indices(place_B)
        return cache, logits[place_B, -1]

    def _draw(self, logits_BV: Tensor, rows: list[Row]) -> tuple[Tensor, Tensor]:
        """Inverse-CDF sampling from one uniform a row: (tokens [B], log-probs [B] in fp32)."""
        log_probs_BV = torch.log_softmax(logits_BV.float() / self.policy.temperature, dim=-1)
        cumulative_BV = log_probs_BV.exp().double().cumsum(dim=-1)
        # A row that is still being read draws nothing: its stream advances once an action.
        uniforms_B = torch.tensor([0.0 if row.forced else row.uniforms.random() for row in rows], dtype=torch.float64)
        wanted_B1 = uniforms_B.to(self.device)[:, None] * cumulative_BV[:, -1:]
        tokens_B1 = torch.searchsorted(cumulative_BV, wanted_B1, right=True).clamp(max=logits_BV.shape[-1] - 1)
        return tokens_B1[:, 0], log_probs_BV.gather(1, tokens_B1)[:, 0]


def stream(seed: int, key: Key) -> np.random.Generator:
    """The random stream of one episode, fixed by (seed, step, prompt, sample) and nothing else."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, key.step, key.prompt, key.sample])))
