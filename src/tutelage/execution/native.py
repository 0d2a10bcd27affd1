"""Samples any Hugging Face causal LM in this process: tau ~ pi, token by token, many episodes at once.

Episodes run in slots, each at its own position. One that ends makes room for the next in the queue, so short replies do
not wait for long ones, and a beginning that several share is read once. Where the environment answers all in one call
(`RepliesTogether`), an episode whose turn is over keeps its slot, with the keys and values of all it has read, until no
other has a token left to draw; then all are answered, and what was said is read after what was read before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from tutelage.data.errors import InputError
from tutelage.environments.checks import call_environment, read_step, refuse_outgrown, replies_together, start_of
from tutelage.execution.decoding import Decoder, Rereading, agrees, decoder_of, say_once
from tutelage.formulas import sampling
from tutelage.models.pretrained import context_tokens
from tutelage.policies.language import LanguagePolicy
from tutelage.trajectory import Batch, Environment, Episode, Finish, Key, Step, Trajectory, Turn, padded

Allowed = Callable[[Sequence[int], Sequence[int]], Tensor | None]
"""(all tokens so far, those of this turn) -> [V] bool, the tokens that may come next, or None for every token."""


@dataclass(frozen=True)
class SamplingSettings:
    """How replies are drawn.

    max_new_tokens, min_new_tokens: limits of one turn; before the lower one no stop token comes
    episodes_at_once: how many run together (memory against speed)
    top_k, top_p: the likeliest tokens only (0 and 1.0: all); what was left to choose from is kept with the batch
    stop_strings: texts that end a turn as a stop token does; they stay in it
    """

    max_new_tokens: int = 64
    episodes_at_once: int = 256
    min_new_tokens: int = 0
    top_k: int = 0
    top_p: float = 1.0
    stop_strings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.min_new_tokens <= self.max_new_tokens or self.max_new_tokens < 1:
            raise ValueError(
                f"min_new_tokens {self.min_new_tokens}, max_new_tokens {self.max_new_tokens}: 0 ≤ min ≤ max"
            )
        if self.top_k < 0 or not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_k {self.top_k}, top_p {self.top_p}: expected top_k ≥ 0 and 0 < top_p ≤ 1")

    @property
    def cuts_off(self) -> bool:
        """Whether some tokens may not come although the policy would say them."""
        return self.top_k > 0 or self.top_p < 1.0 or self.min_new_tokens > 0


@dataclass
class Row:
    """One episode while it is being sampled.

    rewards: what the environment paid, a number an action     read: tokens that the decoder has seen
    context: tokens that the model has positions for, None where that is not known
    waiting: the turn that is over and not yet answered
    """

    index: int
    episode: Episode
    uniforms: np.random.Generator
    tokens: list[int]
    mask: list[bool] = field(default_factory=list[bool])
    log_probs: list[float] = field(default_factory=list[float])
    rewards: list[float] = field(default_factory=list[float])
    supports: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    turn: list[int] = field(default_factory=list[int])
    read: int = 0
    finish: Finish | None = None
    waiting: Turn | None = None
    context: int | None = None

    def say(self, token: int, log_prob: float, support: Tensor | None) -> None:
        """The policy's next token."""
        if support is not None:
            self.supports[len(self.mask)] = support
        self.tokens.append(token)
        self.mask.append(True)
        self.log_probs.append(log_prob)
        self.rewards.append(0.0)
        self.turn.append(token)

    def end_turn(self, stopped: bool, environment: Environment, vocabulary: int | None = None) -> None:
        """The turn is over: wait for `answer_waiting`, or hear at once what the environment says to it."""
        turn, self.turn = Turn(tuple(self.turn), stopped), []
        if replies_together(environment) and getattr(self.episode, "needs_reply", True):
            self.waiting = turn
        else:
            step = call_environment("an episode's `step`", self.episode.step, turn)
            self.hear(read_step(step, vocabulary))

    def hear(self, step: Step) -> None:
        """What the environment says and pays, checked by `read_step`; the pay stands at the turn's last action."""
        self.waiting, self.finish = None, step.finish
        self.rewards[-1] += step.reward
        heard = list(step.observation)
        self.tokens += heard
        self.mask += [False] * len(heard)
        self.log_probs += [0.0] * len(heard)
        self.rewards += [0.0] * len(heard)
        if heard:
            refuse_outgrown(len(self.tokens), self.context)

    def trajectory(self, key: Key, device: torch.device) -> Trajectory:
        tokens = torch.tensor(self.tokens, device=device)
        assert self.finish is not None
        return Trajectory(
            observations=tokens,
            actions=tokens[1:],
            mask_T=torch.tensor(self.mask, device=device),
            behaviour_log_probs_T=torch.tensor(self.log_probs, dtype=torch.float32, device=device),
            rewards_T=torch.tensor(self.rewards, dtype=torch.float32, device=device),
            finish=self.finish,
            key=key,
        )


class NativeSampler:
    """The reference sampler: it reads the very weights that learn, so publishing has nothing to send.

    That sampler and learner agree is still checked on every batch, by whoever recomputes its log-probs.

    text: the text of tokens, where there are stop strings
    allowed: which tokens may come next (constrained decoding)
    listen: hears the tokens of a turn after each new one, for a person who reads along
    """

    def __init__(
        self,
        policy: LanguagePolicy,
        stop_tokens: Iterable[int],
        seed: int,
        settings: SamplingSettings = SamplingSettings(),
        text: Callable[[Sequence[int]], str] | None = None,
        allowed: Allowed | None = None,
    ) -> None:
        if settings.stop_strings and text is None:
            raise ValueError("stop strings are found in text: give `text`, a function of tokens")
        self.policy, self.settings, self.seed = policy, settings, seed
        self.stop_tokens = frozenset(stop_tokens)
        self.text, self.allowed = text, allowed
        self.listen: Callable[[Sequence[int]], None] | None = None
        self.decoder: Decoder | None = None
        self.proven = 0  # tokens up to which replies were compared with a pass over whole sequences
        self.device = next(policy.parameters()).device
        self.samples_in_fp32 = not policy.weight_rounding  # whatever the precision of the learner's forward passes

    def publish(self) -> None:
        """Nothing to send: the weights are shared."""

    @torch.no_grad()
    def sample(self, environment: Environment, keys: Sequence[Key]) -> Batch:
        """One episode for every key, in their order.

        The same keys in the same batches give the same bits again. In other batches (another `episodes_at_once`, other
        neighbors) products are rounded differently: log-probs then differ by up to 3e-5 nats in fp32, and a draw that
        close to the boundary between two tokens takes the other one, after which that episode goes another way.

        Replies that are a quarter longer than any before are compared with a pass over whole sequences. Where that
        pass disagrees, all are drawn again without a cache, and so is everything after.

        raises InputError: where an episode outgrows the positions of the model
        """
        self.decoder = self.decoder or decoder_of(self.policy)
        batch = self._sample(environment, keys, self.decoder)
        longest = int(batch.lengths_B.max())
        if isinstance(self.decoder, Rereading) or not 1.25 * self.proven < longest <= self.policy.rotary_length:
            return batch
        if agrees(self.policy, batch):
            self.proven = longest
            return batch
        say_once(
            self.policy,
            f"a key-value cache gives other log-probs than a pass over the whole of {longest} tokens, so every "
            "reply is read anew at each token, which is slow",
        )
        self.decoder = Rereading(self.policy)
        return self._sample(environment, keys, self.decoder)

    def _sample(self, environment: Environment, keys: Sequence[Key], decoder: Decoder) -> Batch:
        vocabulary = len(self.policy.model.get_input_embeddings().weight)
        rows = begun(environment, keys, self.seed, vocabulary, context_tokens(self.policy.model))
        queue = deque(sorted(rows, key=lambda row: (len(row.tokens), row.tokens)))
        self._run(queue, environment, decoder, vocabulary)
        return finished(rows, keys, self.device)

    def _run(self, queue: deque[Row], environment: Environment, decoder: Decoder, vocabulary: int) -> None:
        """Runs every episode of the queue to its end. Those that wait for an answer stand behind those that run."""
        rows: list[Row] = []
        decoder.begin()
        while rows or queue:
            rows = self._let_in(queue, rows, decoder)
            running = [row for row in rows if row.waiting is None]
            if running:
                self._advance(running, environment, decoder, vocabulary)
            else:
                answer_waiting(environment, rows, vocabulary)
            rows = arranged(rows, decoder)

    def _let_in(self, queue: deque[Row], rows: list[Row], decoder: Decoder) -> list[Row]:
        """The rows and those of the queue that find a slot; while others run, it pays to let several in together."""
        free, waiting = self.settings.episodes_at_once - len(rows), bool(rows) and rows[0].waiting is not None
        if not queue or free < (1 if waiting else max(1, self.settings.episodes_at_once // 8)):
            return rows
        new = [queue.popleft() for _ in range(min(len(queue), free))]
        decoder.add(new)
        return arranged([*rows, *new], decoder)

    def _advance(self, rows: list[Row], environment: Environment, decoder: Decoder, vocabulary: int) -> None:
        """One token for each of these rows."""
        tokens, log_probs, supports = self._draw(self._logits(decoder, rows), rows)
        for place, (row, token, log_prob) in enumerate(zip(rows, tokens.tolist(), log_probs.tolist(), strict=True)):
            row.say(token, log_prob, None if supports is None else supports[place])
            if self.listen is not None:
                self.listen(row.turn)
            stopped = token in self.stop_tokens or says_stop(self.settings.stop_strings, self.text, row.turn)
            if stopped or len(row.turn) >= self.settings.max_new_tokens:
                row.end_turn(stopped, environment, vocabulary)

    def _logits(self, decoder: Decoder, rows: Sequence[Row]) -> Tensor:
        try:
            return decoder.step(rows)
        except (IndexError, RuntimeError) as error:
            longest, limit = max(len(row.tokens) for row in rows), context_tokens(self.policy.model)
            if limit is None or longest <= limit:
                raise
            raise InputError(
                f"an episode has grown to {longest} tokens, and the model has positions for {limit}. Shorten the "
                "prompts or what the other side says, lower max_new_tokens, or take fewer turns."
            ) from error

    def _draw(self, logits_BV: Tensor, rows: Sequence[Row]) -> tuple[Tensor, Tensor, Tensor | None]:
        """(tokens [B], their log-probs [B] in fp32, packed supports [B, ⌈V/8⌉] or None: any could come)."""
        logits_BV = logits_BV.float().div_(self.policy.temperature)
        support_BV = self._support(logits_BV, rows)
        if support_BV is not None:
            logits_BV = logits_BV.masked_fill(~support_BV, sampling.NEVER)
        probs_BV = torch.softmax(logits_BV, dim=-1, out=logits_BV)  # in place: new memory costs more than the sum
        uniforms_B = torch.tensor([row.uniforms.random() for row in rows], dtype=torch.float64, device=self.device)
        tokens_B = sampling.inverse_cdf(probs_BV, uniforms_B)
        log_probs_B = probs_BV.gather(1, tokens_B[:, None])[:, 0].log()
        return tokens_B, log_probs_B, None if support_BV is None else sampling.pack(support_BV)

    def _support(self, logits_BV: Tensor, rows: Sequence[Row]) -> Tensor | None:
        settings, mask_BV = self.settings, self.policy.masking(rows) if self.policy.masking else None
        if self.allowed is None and mask_BV is None and not settings.cuts_off:
            return None
        support_BV = torch.ones_like(logits_BV, dtype=torch.bool) if mask_BV is None else mask_BV.clone()
        for place, row in enumerate(rows):
            may = self.allowed(row.tokens, row.turn) if self.allowed else None
            if may is not None:
                support_BV[place] &= may
            if len(row.turn) < settings.min_new_tokens:
                support_BV[place, list(self.stop_tokens)] = False
        if not support_BV.any(dim=1).all():
            raise ValueError(
                "nothing may come next: `allowed` forbids every token, or the shortest turn forbids the last"
            )
        return support_BV & sampling.support(
            logits_BV.masked_fill(~support_BV, sampling.NEVER), settings.top_k, settings.top_p
        )


def begun(
    environment: Environment, keys: Sequence[Key], seed: int, vocabulary: int | None = None, context: int | None = None
) -> list[Row]:
    """One episode for every key, before its first action."""
    rows = []
    for index, key in enumerate(keys):
        episode, first = start_of(environment, key, vocabulary)
        row = Row(index, episode, stream(seed, key), list(first), [False] * (len(first) - 1), context=context)
        row.log_probs, row.rewards = [0.0] * len(row.mask), [0.0] * len(row.mask)
        rows.append(row)
    return rows


def answer_waiting(environment: Environment, rows: Sequence[Row], vocabulary: int | None = None) -> None:
    """One call of `environment.reply` for all of these rows, whose turns are over."""
    assert replies_together(environment)
    turns = [row.waiting for row in rows if row.waiting is not None]
    steps = call_environment("the environment's `reply`", environment.reply, [row.episode for row in rows], turns)
    if not isinstance(steps, Sequence) or len(steps) != len(rows):
        given = f"{len(steps)} steps" if isinstance(steps, Sequence) else f"{steps!r:.80} ({type(steps).__name__})"
        raise InputError(
            f"the environment's `reply` gave {given} for {len(rows)} waiting episodes; expected a list with one Step "
            "for each, in their order."
        )
    for row, step in zip(rows, steps, strict=True):
        row.hear(read_step(step, vocabulary))


def finished(rows: Sequence[Row], keys: Sequence[Key], device: torch.device) -> Batch:
    """Episodes that ended, with what could be chosen from where that was not every token."""
    batch = Batch.of([row.trajectory(key, device) for row, key in zip(rows, keys, strict=True)])
    return batch.with_extras(support=_supports(rows)) if any(row.supports for row in rows) else batch


def says_stop(stop_strings: Sequence[str], text: Callable[[Sequence[int]], str] | None, turn: Sequence[int]) -> bool:
    """Whether the newest token of a turn has completed one of these texts.

    A letter may take several tokens, one a byte at most, and special tokens have no text. So the end of the turn is
    read from as many tokens as the longest text has bytes, and from more until they hold as many whole letters.
    """
    if not stop_strings or text is None:
        return False
    longest = max(map(len, stop_strings))
    tokens = max(len(each.encode()) for each in stop_strings) + 8
    while True:
        said = text(turn[-tokens:])
        if tokens >= len(turn) or len(said.replace("\ufffd", "")) > longest:
            return any(each in said for each in stop_strings)
        tokens *= 2


def close_ranks(alive: Sequence[bool], waiting: Sequence[bool] = ()) -> list[int]:
    """Which row stands where once the others are gone: the last ones step into the gaps, the rest stay.

    waiting: those that stay and stand behind all others; as few as possible change their places
    """
    waits = waiting or [False] * len(alive)
    kinds = [alive[place] and ("waits" if waits[place] else "runs") for place in range(len(alive))]
    order, start = list[int](), 0
    for kind in ("runs", "waits"):
        places = range(start, start + kinds.count(kind))
        movers = iter([place for place, each in enumerate(kinds) if each == kind and place not in places][::-1])
        order += [place if kinds[place] == kind else next(movers) for place in places]
        start = places.stop
    return order


def arranged(rows: list[Row], decoder: Decoder) -> list[Row]:
    """The episodes that go on, those that run in front of those that wait; the decoder's slots follow."""
    order = close_ranks([row.finish is None for row in rows], [row.waiting is not None for row in rows])
    if order == list(range(len(rows))):
        return rows
    decoder.keep(order)
    return [rows[place] for place in order]


def _supports(rows: Sequence[Row]) -> Tensor:
    """[B, T, ⌈V/8⌉] what could be chosen from, all ones where the policy did not act."""
    width, device = next((each.shape, each.device) for row in rows for each in row.supports.values())
    every = torch.full(width, 255, dtype=torch.uint8, device=device)
    return padded([torch.stack([row.supports.get(t, every) for t in range(len(row.mask))]) for row in rows])


def stream(seed: int, key: Key) -> np.random.Generator:
    """The random stream of one episode, fixed by (seed, step, prompt, sample) and nothing else."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, key.step, key.prompt, key.sample])))
