"""A policy that speaks: its tokens, how it is sampled, and where it is kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.data.tokens import Codec, written
from tutelage.environments.language import Language, refuse_crowded
from tutelage.execution import kept
from tutelage.execution.native import SamplingSettings
from tutelage.policies.language import LanguagePolicy, stop_tokens
from tutelage.runs.files import write_folder
from tutelage.runs.run import Run
from tutelage.training.engine import LOCAL, Engine
from tutelage.trajectory import Batch, Finish, Sampler, group_keys


def unkept(name: str, make: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Keeps nothing."""
    return make()


@dataclass(frozen=True)
class Speaker:
    """A policy, the codec of its tokens, and how it is sampled.

    fixed_length: replies are exactly max_new_tokens long and that ends them; no token stops one (Ziegler et al. 2019)
    engine: who samples
    """

    policy: LanguagePolicy
    codec: Codec
    sampling: SamplingSettings
    fixed_length: bool = False
    engine: Engine = LOCAL

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        """What ends a reply: none where replies have a fixed length."""
        return () if self.fixed_length else stop_tokens(self.policy.model, self.codec)

    def sampler(self, seed: int) -> Sampler:
        return self.engine.text_sampler(self.policy, self.stop_tokens, seed, self.sampling)

    def save(self, run: Run) -> None:
        """RUN/model, as transformers reads it (an adapter's folder where the policy is one)."""

        def fill(folder: Path) -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of peft, on what it saves beside an adapter
                self.policy.model.save_pretrained(folder)
            self.codec.tokenizer.save_pretrained(folder)

        write_folder(run.path / "model", fill)

    def environment(self, prompts: Sequence[str], context_tokens: int | None = None) -> Language:
        tokens = [self.codec.prompt(prompt) for prompt in prompts]
        refuse_crowded(tokens, self.sampling.max_new_tokens, context_tokens)
        return Language(tokens, Finish.TERMINATED if self.fixed_length else Finish.LENGTH)

    def replies(
        self, prompts: Sequence[str], seed: int, samples: int = 1, keep: kept.Keep = unkept, name: str = "replies"
    ) -> tuple[Batch, list[str]]:
        """`samples` replies to every prompt, those of a prompt side by side: the batch and the texts.

        keep, name: where groups of replies are kept as they are drawn (`Run.piece`)
        """
        keys = group_keys(0, range(len(prompts)), samples)
        batch = kept.sample(self.sampler(seed), self.environment(prompts), keys, keep, name)
        return batch, self.codec.prompts_and_responses(batch)[1]


def encoded(codec: Codec, pairs: Sequence[tuple[str, str]], device: Any = "cpu") -> Batch:
    """(prompt, response) texts as one batch of written trajectories."""
    return Batch.of([written(*codec.pair(prompt, response)) for prompt, response in pairs]).to(device)
