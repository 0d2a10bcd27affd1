"""PPO-ptx (Ouyang et al. 2022, InstructGPT, §3.4, eq. 2): PPO that keeps the text of pretraining likely, too.

    loss = loss of PPO + ptx_coefficient · mean over the text's tokens of −log π(x_t|x_<t)

Both gradients are accumulated and make one optimizer step, in every update of PPO. With ptx_coefficient 0 this is PPO
to the bit, and the perplexity of held-out text, which is recorded, shows what that costs (the "alignment tax"). Both
losses are means, over actions and over tokens; the paper's coefficient is 27.8, with eight texts for every episode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tutelage.algorithms.algorithm import Algorithm
from tutelage.algorithms.minibatches import minibatch
from tutelage.algorithms.ppo import PPOConfig, ppo, refuse_peak_without_judge
from tutelage.algorithms.sft import negative_log_likelihood
from tutelage.data.errors import InputError
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, Learner, LogProbs, Sampler, Sums, Task, in_parts

LOOK_EVERY = 5  # steps between looks at the held-out text, each of which is a forward pass


@dataclass(frozen=True)
class PPOPTXConfig(PPOConfig):
    """Settings of PPO-ptx: those of PPO, and

    ptx_coefficient: weight of the text's loss; 0 is PPO
    ptx_batch_size: texts of an update
    """

    ptx_coefficient: float = 1.0
    ptx_batch_size: int = 32


@dataclass(frozen=True)
class TextTask(Task):
    """A task with the text that is to stay likely: every token of it but the first is an action.

    held_out_text: nothing learns from it; its perplexity is recorded
    """

    text: Batch | None = None
    held_out_text: Batch | None = None


@dataclass(frozen=True)
class EpisodesAndText:
    """Rows of one update: the episodes first, then the texts. Either may be missing in a micro-batch, not in the whole.

    weight: of the episodes; text_scale: what makes a sum over the text's tokens, divided by it, their mean
    """

    episodes: Batch
    text: Batch
    weight: float
    text_scale: float
    present: tuple[bool, bool] = (True, True)

    @property
    def lengths_B(self) -> Tensor:
        return torch.cat([self.episodes.lengths_B, self.text.lengths_B])

    def __len__(self) -> int:
        return len(self.episodes) + len(self.text)

    def select(self, indices: Sequence[int] | Tensor) -> EpisodesAndText:
        rows, episodes = torch.as_tensor(indices), len(self.episodes)
        acted, written = rows[rows < episodes], rows[rows >= episodes] - episodes
        present = (len(acted) > 0, len(written) > 0)
        part = self.episodes.select(acted) if present[0] else self.episodes
        text = self.text.select(written) if present[1] else self.text
        return replace(self, episodes=part, text=text, present=present)


class TextLearner:
    """A learner whose every update also learns from text: PPO's page hands it episodes and its own loss."""

    def __init__(self, config: PPOPTXConfig, learner: Learner, policy: LogProbs, text: Batch) -> None:
        self.config, self.learner, self.policy, self.text = config, learner, policy, text
        self.step, self.within = -1, 0  # updates of the step so far: which texts come is a function of both

    def update(self, rows: Any, loss: Callable[[Any], Sums]) -> dict[str, float]:
        step, config = rows.keys[0].step, self.config
        self.step, self.within = step, self.within + 1 if step == self.step else 0
        place = step * config.epochs * config.minibatches + self.within
        text = self.text.select(minibatch(len(self.text), config.ptx_batch_size, config.seed, place))
        both = EpisodesAndText(rows, text, rows.weight, rows.weight / text.weight)

        def sum_of_both(part: EpisodesAndText) -> Sums:
            sums = loss(part.episodes) if part.present[0] else {}
            if not part.present[1]:
                return sums
            of_text = part.text_scale * negative_log_likelihood(self.policy, part.text)["loss"]
            of_episodes = sums.get("loss", torch.zeros_like(of_text))
            return {**sums, "loss": of_episodes + config.ptx_coefficient * of_text, "ptx_loss": of_text}

        return self.learner.update(both, sum_of_both)

    def state(self) -> Mapping[str, Any]:
        return self.learner.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self.learner.restore(state)


@torch.no_grad()
def perplexity(log_probs: LogProbs, text: Batch, tokens_at_once: int) -> float:
    """e to the mean of −log π(x_t|x_<t)."""
    (log_probs_BT,) = in_parts(lambda part: (log_probs(part),), text, tokens_at_once)
    return float((-log_probs_BT.masked_fill(~text.mask_BT, 0.0).sum() / text.weight).exp())


def page(config: PPOPTXConfig, task: TextTask, models: Any, sampler: Sampler | None, learner: Learner, run: Run) -> int:
    """PPO's page with a learner that mixes, and a look at the held-out text now and then."""
    assert sampler is not None and task.text is not None

    def learned(targets: Batch) -> None:
        if task.held_out_text is not None and targets.keys[0].step % LOOK_EVERY == 0:
            run.note(text_perplexity=perplexity(models.policy, task.held_out_text, config.tokens_at_once))
        if task.learned is not None:
            task.learned(targets)

    mixed = TextLearner(config, learner, models.policy, task.text) if config.ptx_coefficient else learner
    return ppo(config, replace(task, learned=learned), models.critic, models.reference, sampler, mixed, run)


def refuse_without_text(config: PPOPTXConfig, task: Any) -> None:
    refuse_peak_without_judge(config, task)
    if getattr(task, "text", None) is None:
        raise InputError(
            "ppo-ptx keeps text likely, and this task has none: give TextTask(environment, score, text=...), a Batch "
            "of written trajectories; on the command line --pretraining-data."
        )


PPO_PTX = Algorithm(
    "ppo-ptx",
    page,
    lambda config, task: config.total_updates(),
    critic=True,
    reference=True,
    refuse=refuse_without_text,
)
