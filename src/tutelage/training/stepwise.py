"""PPO a step at a time, for those who sample or score outside: `step(prompts, responses, scores)`.

The interface of the trainers that were removed (TRL up to 0.11): docs/from-trl.md maps their settings to ours.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from tutelage.algorithms.kl_controller import KLController
from tutelage.algorithms.ppo import PPO, PPOConfig, improve
from tutelage.data.control_tokens import TemplateText
from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec, written
from tutelage.execution.native import SamplingSettings
from tutelage.policies.language import LanguagePolicy, stop_tokens
from tutelage.training.engine import LOCAL, Engine
from tutelage.training.models import critic_of, language_models
from tutelage.training.speaker import Speaker
from tutelage.training.train import keep_rate, prepare
from tutelage.trajectory import Batch, Key, in_parts

Text = str | Sequence[int]


class StepwisePPO:
    """Holds policy, critic, frozen reference, optimiser and KL controller between steps.

    model, tokenizer: a Hugging Face causal LM and its tokenizer; the model is trained in place
    classifier: a reward model to start the value model from; None puts a value head on the policy
    engine: who samples and who learns
    """

    def __init__(
        self,
        config: PPOConfig,
        model: Any,
        tokenizer: Any,
        *,
        sampling: SamplingSettings = SamplingSettings(),
        temperature: float = 1.0,
        classifier: Any | None = None,
        engine: Engine = LOCAL,
    ) -> None:
        self.config, self.codec = config, Codec(tokenizer)
        self.policy = LanguagePolicy(model.eval(), temperature)
        self.speaker = Speaker(self.policy, self.codec, sampling, engine=engine)
        self.critic = critic_of(self.policy, classifier)
        parts = prepare(PPO, config, None, language_models(self.speaker, self.critic), engine, rates=keep_rate)
        self.reference, self.learner = parts.models.reference, parts.learner
        self.controller = KLController(config.kl_coefficient, config.kl_target_nats, config.kl_horizon)
        self.steps_done = 0

    def generate(self, prompts: Sequence[str], seed: int = 0) -> list[str]:
        """One reply to each prompt, sampled at the training temperature.

        A talk becomes a prompt by `trainer.codec.rendered(messages)`: in a plain text no control token is read as such.
        """
        self._warn_of_controls(prompts)
        return self.speaker.replies(prompts, seed + 1000003 * self.steps_done)[1]

    def step(self, prompts: Sequence[Text], responses: Sequence[Text], scores: Sequence[float]) -> dict[str, float]:
        """One PPO step on replies that the current policy gave; returns its statistics.

        prompts, responses: texts, or token ids (then a reply ended by itself if its last token is the end of sequence);
            a chat template's prompt is `trainer.codec.rendered(messages)`
        scores: one finite number each
        """
        self._refuse(prompts, responses, scores)
        self._warn_of_controls([*prompts, *responses])
        batch = Batch.of([self._trajectory(*each) for each in enumerate(zip(prompts, responses, strict=True))])
        batch = batch.to(next(self.policy.parameters()).device)
        with torch.no_grad():  # what sampled these replies is not known here: the policy is taken at its word
            own = in_parts(lambda part: (self.policy.log_probs(part),), batch, self.config.tokens_at_once)[0]
        batch = replace(batch, behaviour_log_probs_BT=own)
        score_BT = batch.at_last_action(torch.tensor(scores, dtype=torch.float32, device=own.device))
        stats = improve(
            self.config, batch, score_BT, self.controller.coefficient, self.critic, self.reference, self.learner
        )
        self.controller.saw(stats["kl_nats_per_sequence"], len(batch))
        self.steps_done += 1
        return stats

    def state(self) -> dict[str, Any]:
        """All that changes between steps; restore() on a new trainer of the same model continues exactly."""
        kept = {"learner": self.learner.state(), "kl_controller": self.controller.state()}
        return {**kept, "steps_done": self.steps_done}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.learner.restore(state["learner"])
        self.controller.restore(state["kl_controller"])
        self.steps_done = state["steps_done"]

    def save_pretrained(self, folder: str) -> None:
        self.policy.model.save_pretrained(folder)
        self.codec.tokenizer.save_pretrained(folder)

    def _trajectory(self, row: int, pair: tuple[Text, Text]) -> Any:
        prompt, response = pair
        if isinstance(prompt, str) and isinstance(response, str):
            before, after = self.codec.pair(prompt, response)
        elif not isinstance(prompt, str) and not isinstance(response, str):
            before, after = list(prompt), list(response)
        else:
            raise InputError(f"row {row}: give prompt and response both as text or both as token ids.")
        ended = bool(set(after[-1:]) & set(stop_tokens(self.policy.model, self.codec)))
        return written(before, after, Key(self.steps_done, row), ended=ended)

    def _warn_of_controls(self, texts: Sequence[Text]) -> None:
        pattern = self.codec.controls
        plain = [text for text in texts if isinstance(text, str) and not isinstance(text, TemplateText)]
        found = next((each[0] for each in map(pattern.search, plain) if each), None) if pattern else None
        if found is not None:
            warnings.warn(
                f"a text holds {found}, which is read as text and not as a control token. Give what a chat template "
                "writes as trainer.codec.rendered(messages), or as token ids.",
                stacklevel=3,
            )

    def _refuse(self, prompts: Sequence[Text], responses: Sequence[Text], scores: Sequence[float]) -> None:
        if not len(prompts) == len(responses) == len(scores) or not prompts:
            raise InputError(
                f"step got {len(prompts)} prompts, {len(responses)} responses and {len(scores)} scores; "
                "expected as many of each, and at least one."
            )
        for row, score in enumerate(scores):
            if not math.isfinite(float(score)):
                raise InputError(f"row {row}: the score is {score}, expected a finite number.")
