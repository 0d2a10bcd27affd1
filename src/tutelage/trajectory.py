"""The waist: a language episode and a control episode are the same object here, and everything below sees only this.

One episode of T actions has T+1 observations. In control an observation is a vector and an action a torque or a
button. In language an observation is a token: the state s_t is the tokens up to and including observation t, and
action t *is* observation t+1, so a sequence of T+1 tokens is T steps, of which the policy wrote the masked ones.

    language     observations   Hello  ,  how   are  you  <eos>        control   o_0  o_1  o_2  o_3
                 actions           ,  how  are  you  <eos>                       a_0  a_1  a_2
                 mask (prompt = "Hello ,")
                                   .   T    T    T    T                          T    T    T

Legend: B trajectories in a batch, T the longest episode in it, N selected actions. True in a mask means "counts".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

import torch
from torch import Tensor


class Finish(Enum):
    """Why an episode ended. Never inferred from its length or from a padding token."""

    TERMINATED = "terminated"  # the state after the last action has no future: end of sequence, pole fallen
    TRUNCATED = "truncated"  # a time limit where the reward is paid step by step: V(s_T) stands for what would follow
    LENGTH = "length"  # the token limit cut the text off: it is scored as it stands, so nothing follows


@dataclass(frozen=True, order=True)
class Key:
    """Names one episode of a run; its random stream depends on (seed, step, prompt, sample) and on nothing else."""

    step: int
    prompt: int
    sample: int = 0


def group_keys(step: int, prompts: Sequence[int], samples: int = 1) -> list[Key]:
    """`samples` episodes of each of these prompts, those of a prompt side by side: `samples` rows of a batch."""
    return [Key(step, prompt, sample) for prompt in prompts for sample in range(samples)]


@dataclass(frozen=True)
class Trajectory:
    """One episode.

    observations: [T+1, ...] tokens (int64) or vectors (float32)
    actions: [T, ...] tokens (int64), discrete (int64) or continuous (float32)
    mask_T: [T] bool, True where the policy chose the action (False: prompt, or the other side's words)
    behaviour_log_probs_T: [T] float32, log π_behaviour(a_t|s_t) at the sampling temperature; 0 where not masked
    rewards_T: [T] float32, what the environment itself paid; what it paid for a turn stands at the turn's last action
    finish: terminated, truncated or length
    key: which episode of the run this is
    """

    observations: Tensor
    actions: Tensor
    mask_T: Tensor
    behaviour_log_probs_T: Tensor
    rewards_T: Tensor
    finish: Finish
    key: Key = Key(0, 0)

    def __post_init__(self) -> None:
        steps = len(self.actions)
        if len(self.observations) != steps + 1:
            raise ValueError(f"{steps} actions need {steps + 1} observations, got {len(self.observations)}")
        for name in ("mask_T", "behaviour_log_probs_T", "rewards_T"):
            if getattr(self, name).shape != (steps,):
                raise ValueError(f"{name} has shape {tuple(getattr(self, name).shape)}, expected ({steps},)")
        if self.mask_T.dtype != torch.bool:
            raise ValueError(f"mask_T is {self.mask_T.dtype}, expected bool (True where the policy acted)")


@dataclass(frozen=True)
class Batch:
    """Many trajectories, padded on the right. Padding is never real: every reader goes through mask_BT or lengths_B.

    observations: [B, T+1, ...]   actions: [B, T, ...]
    mask_BT, behaviour_log_probs_BT, rewards_BT: [B, T] as in Trajectory, False and 0 in padding
    lengths_B: [B] int64, actions of each episode (its observations are one more)
    terminated_B: [B] bool, True where the episode ended by itself
    bootstrap_B: [B] bool, True where V(s_T) stands for the rewards after the last action (Finish.TRUNCATED)
    keys: B keys
    extras: further per-step tensors, [B, T] or [B, T+1], that stages attach (old log-probs, advantages, returns)
    """

    observations: Tensor
    actions: Tensor
    mask_BT: Tensor
    behaviour_log_probs_BT: Tensor
    rewards_BT: Tensor
    lengths_B: Tensor
    terminated_B: Tensor
    bootstrap_B: Tensor
    keys: tuple[Key, ...]
    extras: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    @staticmethod
    def of(trajectories: Sequence[Trajectory]) -> Batch:
        if not trajectories:
            raise ValueError("a batch needs at least one trajectory")
        device = trajectories[0].actions.device
        return Batch(
            observations=padded([t.observations for t in trajectories]),
            actions=padded([t.actions for t in trajectories]),
            mask_BT=padded([t.mask_T for t in trajectories]),
            behaviour_log_probs_BT=padded([t.behaviour_log_probs_T for t in trajectories]),
            rewards_BT=padded([t.rewards_T for t in trajectories]),
            lengths_B=torch.tensor([len(t.actions) for t in trajectories], device=device),
            terminated_B=torch.tensor([t.finish is Finish.TERMINATED for t in trajectories], device=device),
            bootstrap_B=torch.tensor([t.finish is Finish.TRUNCATED for t in trajectories], device=device),
            keys=tuple(t.key for t in trajectories),
        )

    def __len__(self) -> int:
        return len(self.lengths_B)

    @property
    def weight(self) -> float:
        """What a mean over this batch divides by: the number of real actions."""
        return float(self.mask_BT.sum())

    @property
    def last_action_B(self) -> Tensor:
        """[B] index of each episode's last real action; an episode without one is an error."""
        steps = torch.arange(self.mask_BT.shape[1], device=self.mask_BT.device)
        last_B = torch.where(self.mask_BT, steps, -1).amax(dim=1)
        if (last_B < 0).any():
            raise ValueError(f"episode {self.keys[int((last_B < 0).nonzero()[0])]} has no action of the policy")
        return last_B

    def select(self, indices: Sequence[int] | Tensor) -> Batch:
        """The given rows, in that order, trimmed to their own longest episode."""
        rows = torch.as_tensor(indices, device=self.lengths_B.device)
        lengths_B = self.lengths_B[rows]
        steps = int(lengths_B.max())
        width = self.mask_BT.shape[1]
        extras = {name: tensor[rows, : steps + tensor.shape[1] - width] for name, tensor in self.extras.items()}
        return Batch(
            observations=self.observations[rows, : steps + 1],
            actions=self.actions[rows, :steps],
            mask_BT=self.mask_BT[rows, :steps],
            behaviour_log_probs_BT=self.behaviour_log_probs_BT[rows, :steps],
            rewards_BT=self.rewards_BT[rows, :steps],
            lengths_B=lengths_B,
            terminated_B=self.terminated_B[rows],
            bootstrap_B=self.bootstrap_B[rows],
            keys=tuple(self.keys[int(row)] for row in rows),
            extras=extras,
        )

    def to(self, device: torch.device | str) -> Batch:
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved, extras={name: value.to(device) for name, value in self.extras.items()})

    def row(self, index: int) -> Trajectory:
        """One trajectory as it was before it was batched."""
        steps = int(self.lengths_B[index])
        return Trajectory(
            observations=self.observations[index, : steps + 1],
            actions=self.actions[index, :steps],
            mask_T=self.mask_BT[index, :steps],
            behaviour_log_probs_T=self.behaviour_log_probs_BT[index, :steps],
            rewards_T=self.rewards_BT[index, :steps],
            finish=self.finish(index),
            key=self.keys[index],
        )

    def finish(self, index: int) -> Finish:
        """Why one episode ended."""
        if self.terminated_B[index]:
            return Finish.TERMINATED
        return Finish.TRUNCATED if self.bootstrap_B[index] else Finish.LENGTH

    def with_extras(self, **extras: Tensor) -> Batch:
        for name, tensor in extras.items():
            if tensor.shape[0] != len(self) or tensor.shape[1] - self.mask_BT.shape[1] not in (0, 1):
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected [B, T] or [B, T+1]")
        return replace(self, extras={**self.extras, **extras})

    def at_last_action(self, value_B: Tensor) -> Tensor:
        """[B, T] with value_B at each episode's last action and 0 elsewhere: a score for the whole episode."""
        score_BT = torch.zeros(self.mask_BT.shape, dtype=torch.float32, device=self.mask_BT.device)
        return score_BT.scatter(1, self.last_action_B[:, None], value_B.float()[:, None])


def parts_by_length(lengths_B: Tensor, steps_at_once: int) -> Iterator[Tensor]:
    """Row indices, longest rows first, in parts of at most `steps_at_once` padded steps (one row at least)."""
    order = torch.argsort(lengths_B, descending=True, stable=True)
    start = 0
    while start < len(order):
        longest = int(lengths_B[order[start]]) + 1
        stop = start + max(1, steps_at_once // longest)
        yield order[start:stop]
        start = stop


def in_parts(function: Callable[[Batch], tuple[Tensor, ...]], batch: Batch, steps_at_once: int) -> tuple[Tensor, ...]:
    """`function` of a batch, a part at a time: its [b, t] or [b, t+1] results as [B, T] or [B, T+1], 0 in padding."""
    whole: list[Tensor] = []
    for rows in parts_by_length(batch.lengths_B, steps_at_once):
        part = batch.select(rows)
        results = function(part)
        surplus = batch.mask_BT.shape[1] - part.mask_BT.shape[1]
        if not whole:
            whole = [r.new_zeros((len(batch), r.shape[1] + surplus)) for r in results]
        for target, result in zip(whole, results, strict=True):
            target[rows, : result.shape[1]] = result
    return tuple(whole)


def padded(rows: Sequence[Tensor]) -> Tensor:
    """[T_i, ...] tensors -> [B, max T_i, ...], zeros (or False) on the right."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


@dataclass(frozen=True)
class Evaluation:
    """What policy and value say about the steps of a batch; entries that mask_BT leaves out mean nothing.

    log_probs_BT: [B, T] log π(a_t|s_t), fp32, at the sampling temperature
    entropy_BT: [B, T] nats; for reports, it may be NaN where a gradient is being computed
    values_BS: [B, T+1] V(s_t), the last real one being the state after the last action
    rounding: torch.finfo(dtype).eps where matrix products were computed below fp32, else 0
    """

    log_probs_BT: Tensor
    entropy_BT: Tensor
    values_BS: Tensor
    rounding: float = 0.0


class ActorCritic(Protocol):
    """π and V together, since they may share a trunk and then one forward serves both."""

    def __call__(self, batch: Batch) -> Evaluation: ...


LogProbs = Callable[[Batch], Tensor]
"""A frozen policy seen through its log-probs: Batch -> [B, T]. The KL reference is one."""

Score = Callable[[Batch], Tensor]
"""What a reward model (or a rule) says: Batch -> [B, T]. A score of the whole episode stands at its last action."""


@dataclass(frozen=True)
class Turn:
    """The action of a language environment: what the policy wrote before it gave the floor back.

    tokens: every token it wrote, a stop token included
    stopped: True where it ended by itself (stop token or stop string), False where the token limit cut it off
    """

    tokens: tuple[int, ...]
    stopped: bool


@dataclass(frozen=True)
class Step:
    """The environment's answer to one action.

    observation: what is seen next: a vector, or the tokens that the other side adds (empty when it is silent)
    reward: what the environment pays for the action; in language for the whole turn: one number, at its last token
    finish: None while the episode goes on
    """

    observation: Any
    reward: float = 0.0
    finish: Finish | None = None


class Episode(Protocol):
    """One running episode. An action is a vector or index in control, one `Turn` of tokens in language."""

    @property
    def first(self) -> Any: ...

    def step(self, action: Any) -> Step: ...


class Environment(Protocol):
    """P(s'|s, a). The same key starts the same episode."""

    def episode(self, key: Key) -> Episode: ...


class TextEnvironment(Environment, Protocol):
    """An environment of tokens: `key.prompt` says where an episode starts, and is in range(len(environment)).

    `episode(key).first`: the tokens of the beginning, at least one. `episode(key).step(turn)`: takes the `Turn` that
    the policy wrote and returns a `Step` whose observation is the tokens that the other side adds.
    """

    def __len__(self) -> int: ...


class RepliesTogether(Protocol):
    """What a text environment may have besides: it answers all episodes that wait in one call.

    A sampler then holds every episode whose turn is over until none has a token left to draw, and calls `reply` once.
    An environment without `reply` is asked episode by episode, by `Episode.step`.

    An episode may have `needs_reply`, a bool. Where it is False the turn now being written ends the episode without an
    answer: it is ended by `Episode.step`, at once, and is not in the next call. Without it, every turn is answered.
    """

    def reply(self, episodes: Sequence[Any], turns: Sequence[Turn]) -> Sequence[Step]:
        """One `Step` for each episode, in their order; `turns[i]` is what the policy wrote in `episodes[i]`."""
        ...


def no_keys(step: int) -> Sequence[Key]:
    """Of a task that was not prepared."""
    raise ValueError("this task says not which episodes a step draws: give `keys`, or train it by training.train")


@dataclass(frozen=True)
class Task:
    """What a policy is trained on: where it acts, how it is scored, and which episodes a step draws.

    keys: step -> its episodes; `training.train` fills it in from the settings (prompts × samples)
    held_out: a second score that nothing is optimised against
    learned: sees what each step learns from, with the numbers of every action in the batch's extras
    """

    environment: Environment
    score: Score
    keys: Callable[[int], Sequence[Key]] = no_keys
    held_out: Score | None = None
    learned: Callable[[Batch], None] | None = None


class Sampler(Protocol):
    """Draws trajectories of the current policy; publish() hands it the learner's weights and checks their arrival."""

    def sample(self, environment: Environment, keys: Sequence[Key]) -> Batch: ...

    def publish(self) -> None: ...


class SamplerMismatchError(RuntimeError):
    """Sampler and learner disagree on log-probs: stale weights, another temperature, a wrong mask."""


class Rows(Protocol):
    """What a learner updates on: anything that can be cut into micro-batches and says what its mean divides by."""

    @property
    def lengths_B(self) -> Tensor: ...

    def __len__(self) -> int: ...

    @property
    def weight(self) -> float: ...

    def select(self, indices: Sequence[int] | Tensor) -> Any: ...


Sums = dict[str, Tensor]
"""Sums over a micro-batch, "loss" among them; the learner divides by the weight of the whole minibatch."""


class Learner(Protocol):
    """One optimiser step; loss and gradient do not depend on how the rows were cut into micro-batches."""

    def update(self, rows: Rows, loss: Callable[[Any], Sums]) -> dict[str, float]: ...

    def state(self) -> Mapping[str, Any]: ...

    def restore(self, state: Mapping[str, Any]) -> None: ...
