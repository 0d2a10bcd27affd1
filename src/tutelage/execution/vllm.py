"""Samples with vLLM: tau ~ pi, its continuous batching and paged attention, the same batches as the native sampler.

The learner's weights are pushed into the running engine at every publish, and a probe then compares log-probs.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tutelage.data.errors import InputError
from tutelage.environments.language import Language
from tutelage.execution.engine import Engine, EngineSettings, Said, refuse_missing
from tutelage.execution.native import Row, SamplingSettings, answer_waiting, begun, finished, says_stop
from tutelage.formulas import sampling
from tutelage.policies.language import LanguagePolicy
from tutelage.trajectory import Batch, Environment, Key, SamplerMismatchError

TIES = 8  # further log-probs asked for beside the top_k, since vLLM keeps all tokens that are as likely as the last one
PROBE_STEP = 2**32 - 1  # no training step: its random streams are its own
PROBE_TOKENS = 8
COLDEST, HOTTEST = 0.01, 2.0  # temperatures that vLLM samples at; below, it would quietly take another one


class VLLMSampler:
    """The engine starts at the first sample or publish, with the weights of that moment; `close` ends it.

    A process has one engine: a second sampler takes its place, and the first would start anew.

    text: the text of tokens, where there are stop strings
    engine: how vLLM runs beside the learner
    """

    def __init__(
        self,
        policy: LanguagePolicy,
        stop_tokens: Iterable[int],
        seed: int,
        settings: SamplingSettings = SamplingSettings(),
        text: Callable[[Sequence[int]], str] | None = None,
        engine: EngineSettings = EngineSettings(),
    ) -> None:
        if settings.stop_strings and text is None:
            raise ValueError("stop strings are found in text: give `text`, a function of tokens")
        refuse_unfit(settings, policy.temperature)
        refuse_missing()
        self.policy, self.settings, self.seed, self.text = policy, settings, seed, text
        self.stop_tokens = frozenset(stop_tokens)
        self.engine_settings = engine
        self.engine: Engine | None = None
        self.device = next(policy.parameters()).device
        self.vocabulary = len(policy.model.get_output_embeddings().weight)

    def sample(self, environment: Environment, keys: Sequence[Key]) -> Batch:
        """One episode for every key, in their order."""
        return self._sample(environment, keys, self.settings)

    @torch.no_grad()
    def publish(self) -> None:
        """Pushes the learner's weights; an engine that then says other log-probs than the policy is an error."""
        if self.engine is not None and self.engine is Engine.running:
            self.engine.push(self.policy)
        limit = min(PROBE_TOKENS, self.settings.max_new_tokens)
        least = min(limit, self.settings.min_new_tokens)
        quick = replace(self.settings, max_new_tokens=limit, min_new_tokens=least, stop_strings=())
        openings = [[(7 * place + 3 * row) % self.vocabulary for place in range(2 + 2 * row)] for row in range(4)]
        batch = self._sample(Language(openings), [Key(PROBE_STEP, row) for row in range(4)], quick)
        gap = float((self.policy.log_probs(batch) - batch.behaviour_log_probs_BT)[batch.mask_BT].abs().max())
        if not gap <= self.engine_settings.tolerance_nats:
            raise SamplerMismatchError(
                f"after the weights were published vLLM's log-probs differ from the policy's by up to {gap:.4g} nats a "
                f"token (at most {self.engine_settings.tolerance_nats:g} expected): it did not take these weights, or "
                "computes this model otherwise. Take the native sampler, or a wider tolerance for a lower precision."
            )

    def close(self) -> None:
        """Ends the engine and frees its memory; asked again, the sampler starts another."""
        if self.engine is not None:
            self.engine.close()
            self.engine = None

    @torch.no_grad()
    def _sample(self, environment: Environment, keys: Sequence[Key], settings: SamplingSettings) -> Batch:
        engine = self._running()
        rows = begun(environment, keys, self.seed, self.vocabulary)
        talking = {str(row.index): row for row in rows}
        try:
            for row in rows:
                self._ask(engine, row, settings)
            while talking:
                if all(row.waiting is not None for row in talking.values()):
                    self._answer(engine, environment, talking, settings)
                else:
                    self._listen(engine, environment, talking, settings)
        finally:
            engine.forget(list(talking))  # where something went wrong, the next sample begins with none of these
        return finished(rows, keys, self.device)

    def _running(self) -> Engine:
        if self.engine is None or self.engine is not Engine.running:
            choices = choices_asked(self.settings, self.vocabulary)
            self.engine = Engine(self.policy, self.engine_settings, self.settings.episodes_at_once, choices)
            weakref.finalize(self, self.engine.close)
        return self.engine

    def _listen(
        self, engine: Engine, environment: Environment, talking: dict[str, Row], settings: SamplingSettings
    ) -> None:
        """One step of the engine; whose turn it ended waits, is asked for the next one, or leaves `talking`."""
        for said in engine.step():
            row = talking[said.name]
            stopped = self._hear(said, row, settings)
            if stopped is None:
                continue
            engine.forget([said.name])  # a stop string ends a turn that the engine would go on with
            row.end_turn(stopped, environment, self.vocabulary)
            if row.waiting is None:
                self._go_on(engine, row, talking, settings)

    def _answer(
        self, engine: Engine, environment: Environment, talking: dict[str, Row], settings: SamplingSettings
    ) -> None:
        """Every episode waits: the environment answers all of them in one call."""
        rows = list(talking.values())
        answer_waiting(environment, rows, self.vocabulary)
        for row in rows:
            self._go_on(engine, row, talking, settings)

    def _go_on(self, engine: Engine, row: Row, talking: dict[str, Row], settings: SamplingSettings) -> None:
        """An episode whose turn was answered is asked for the next one, or leaves `talking`."""
        if row.finish is None:
            self._ask(engine, row, settings)
        else:
            del talking[str(row.index)]

    def _ask(self, engine: Engine, row: Row, settings: SamplingSettings) -> None:
        """The next turn of this episode."""
        if len(row.tokens) + settings.max_new_tokens > engine.context_tokens:
            raise InputError(
                f"{len(row.tokens)} tokens and a turn of {settings.max_new_tokens} are more than the "
                f"{engine.context_tokens} that the model sees and vLLM's cache holds. Lower max_new_tokens, shorten "
                "the prompts, or give EngineSettings more cache_bytes."
            )
        engine.ask(
            str(row.index),
            row.tokens,
            bit_by_bit=bool(settings.stop_strings),
            seed=int(row.uniforms.integers(2**63)),
            temperature=self.policy.temperature,
            top_k=settings.top_k,
            top_p=settings.top_p,
            min_tokens=settings.min_new_tokens,
            max_tokens=settings.max_new_tokens,
            stop_token_ids=sorted(self.stop_tokens),
            logprobs=choices_asked(settings, self.vocabulary),
        )

    def _hear(self, said: Said, row: Row, settings: SamplingSettings) -> bool | None:
        """Whether the turn that is over with these tokens ended by itself; None where it goes on."""
        for token, choices in zip(said.tokens, said.choices, strict=True):
            row.say(token, choices[token], self._support(choices, len(row.turn), settings))
            stopped = token in self.stop_tokens or says_stop(settings.stop_strings, self.text, row.turn)
            if stopped or len(row.turn) >= settings.max_new_tokens:
                return stopped
        if said.over:
            raise RuntimeError(f"vLLM ended a turn after {len(row.turn)} tokens, without a stop and below the limit")
        return None

    def _support(self, choices: Mapping[int, float], place: int, settings: SamplingSettings) -> Tensor | None:
        """[⌈V/8⌉] packed: what could be chosen from, or None for every token."""
        if settings.top_k == 0:
            if place >= settings.min_new_tokens:
                return None
            support_V = torch.ones(self.vocabulary, dtype=torch.bool)
            support_V[list(self.stop_tokens)] = False
            return sampling.pack(support_V).to(self.device)
        known = {token: log_prob for token, log_prob in choices.items() if math.isfinite(log_prob)}
        total = sum(math.exp(log_prob) for log_prob in known.values())
        if abs(total - 1.0) > 1e-3:
            raise SamplerMismatchError(
                f"the {len(known)} tokens that vLLM names have probability {total:.4g} together: more than {TIES} are "
                "as likely as the last of the top_k, and what could be chosen from is not known. "
                "Take the native sampler."
            )
        support_V = torch.zeros(self.vocabulary, dtype=torch.bool)
        support_V[list(known)] = True
        return sampling.pack(support_V).to(self.device)


def choices_asked(settings: SamplingSettings, vocabulary: int) -> int:
    """Log-probs beside the drawn token's own: none, or as many as may be left by top_k."""
    return min(settings.top_k + TIES, vocabulary) if settings.top_k else 0


def refuse_unfit(settings: SamplingSettings, temperature: float) -> None:
    """What vLLM would do, but not in a way that the learner could replay."""
    if settings.top_p < 1.0 and settings.top_k == 0:
        raise InputError(
            f"top_p {settings.top_p:g} with vLLM: it does not say which tokens were left to choose from, so the "
            "learner could not replay them. Give top_k too (its tokens are named), or take the native sampler."
        )
    if not COLDEST <= temperature <= HOTTEST:
        raise InputError(
            f"temperature {temperature:g} with vLLM: it samples at {COLDEST:g} to {HOTTEST:g} and would take another. "
            "Change the temperature, or take the native sampler."
        )
