"""The first minute: does what is about to train fit together? Each check is named, measured, and says what to do.

The field's costliest bugs (a sampler with stale weights, an adapter that was never delivered, a wrong pad mask, a
temperature on one side) change no shape and raise no error, and show at once to whoever compares two numbers that must
be equal. A probe of a few replies is drawn by the run's own sampler and read once; what needs further forward passes
takes a quarter of it. All checks together cost less than two training steps, unless every reply gets the same reward.
Nothing that is checked is changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor, nn

from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec
from tutelage.environments.checks import first_starts, refuse_unusable_environment
from tutelage.environments.language import Language
from tutelage.execution.exact_parity import in_full_precision
from tutelage.formulas.parity import MEAN_ROUNDINGS, ParityGap, parity_gap
from tutelage.models.causality import loaded_as, log_probs_of
from tutelage.models.pretrained import free_bytes
from tutelage.policies.language import LanguagePolicy
from tutelage.trajectory import ActorCritic, Batch, Key, LogProbs, Sampler, Score, TextEnvironment

PROBE_STEP = 2**32 - 64  # no training step: its random streams are its own
PROBE_EPISODES = 16
FURTHER_PROBES = 16  # drawn while every reply so far got the same reward: a sparse reward is no broken one
NUDGE = 0.02  # relative change of the weights by which their arrival at the sampler is seen
HARDEST = 25.0  # times as hard, where that one moves nothing
ROUNDED_NUDGE = 0.1  # where the sampler computes in a lower precision, too: rounding hides a small one
FOLLOWS = 0.25  # of the mean change of log-probs, that sampler and learner may still differ by after it
SIGMAS = 5.0
LOADED_NATS = 1e-3  # between the model as it was loaded and as it trains: rounding of another order of products


@dataclass(frozen=True)
class Flight:
    """What is about to train.

    tolerance_nats: between sampler and learner, an action, in fp32
    noisy: the reward draws lots
    episodes: of the probe; as many as a training step has, where it has fewer than 16
    """

    policy: LanguagePolicy
    actor_critic: ActorCritic
    reference: LogProbs
    sampler: Sampler
    environment: TextEnvironment
    score: Score
    codec: Codec
    stop_tokens: Sequence[int]
    tokens_at_once: int = 1024
    tolerance_nats: float = 1e-3
    noisy: bool = False
    episodes: int = PROBE_EPISODES

    def keys(self, step: int, episodes: int) -> list[Key]:
        prompts = len(self.environment)
        return [Key(step, number % prompts, number // prompts) for number in range(episodes)]

    @property
    def rounding(self) -> float:
        return self.policy.rounding


@dataclass(frozen=True)
class Finding:
    """passed is None where a check does not apply. remedy: what to do where it failed. name: of the check."""

    passed: bool | None
    found: str
    remedy: str = ""
    name: str = ""
    seconds: float = 0.0


class Probe:
    """The replies that all checks look at, and what several of them read there, computed once.

    batch: every reply     few: a quarter of them, two at least, the shortest and the longest among them
    """

    def __init__(self, flight: Flight) -> None:
        self.flight = flight
        self.batch = flight.sampler.sample(flight.environment, flight.keys(PROBE_STEP, flight.episodes))
        order = torch.argsort(self.batch.lengths_B, stable=True).tolist()
        spread = torch.linspace(0, len(order) - 1, max(2, len(order) // 4)).round().long().tolist()
        self.few = self.batch.select([order[place] for place in dict.fromkeys(spread)])

    @cached_property
    def said(self) -> dict[str, Tensor]:
        """[N] of every action: its log_prob; the mean and the variance of log π(a) under π in its state; the
        probability of an end there. One forward pass; the logits of one reply at a time are kept."""
        flight, batch = self.flight, self.batch
        found: dict[str, list[Tensor]] = {"log_prob": [], "mean": [], "variance": [], "end": []}
        with torch.no_grad():
            states_BSd = flight.policy.states(batch)
            for row in range(len(batch)):
                one = batch.select([row])
                logits_NV = flight.policy.action_logits(states_BSd[[row], : one.mask_BT.shape[1] + 1], one).float()
                log_probs_NV = (logits_NV / flight.policy.temperature).log_softmax(-1)
                probs_NV, finite_NV = log_probs_NV.exp(), log_probs_NV.clamp(min=-1e4)  # of probability 0: adds nothing
                mean_N = (probs_NV * finite_NV).sum(-1)
                ends = [token for token in flight.stop_tokens if 0 <= token < probs_NV.shape[-1]]
                found["log_prob"].append(log_probs_NV.gather(1, one.actions[one.mask_BT][:, None])[:, 0])
                found["mean"].append(mean_N)
                found["variance"].append((probs_NV * (finite_NV - mean_N[:, None]) ** 2).sum(-1))
                found["end"].append(probs_NV[:, ends].sum(-1))
        return {name: torch.cat(rows) for name, rows in found.items()}

    @cached_property
    def score_BT(self) -> Tensor:
        return self.flight.score(self.batch)


Check = Callable[[Flight, Probe], Finding]


def preflight(flight: Flight, tell: Callable[[Finding], None] = lambda finding: None) -> list[Finding]:
    """Every check on one probe, in the order in which their failures explain each other.

    tell: hears each finding as soon as it is made; the first is that the probe was drawn

    raises InputError: where the environment cannot be sampled at all (`refuse_unusable_environment`)
    """
    refuse_unusable_environment(flight.environment)
    began = time.monotonic()
    probe = Probe(flight)
    tell(Finding(None, f"{len(probe.batch)} replies drawn", name="the probe", seconds=time.monotonic() - began))
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        began = time.monotonic()
        found = attempted(check, flight, probe)
        findings.append(replace(found, name=name, seconds=round(time.monotonic() - began, 3)))
        tell(findings[-1])
    return findings


def attempted(check: Check, flight: Flight, probe: Probe) -> Finding:
    """A check that cannot be made is one that failed."""
    try:
        return check(flight, probe)
    except (InputError, RuntimeError, ValueError, IndexError, TemplateError) as error:
        return Finding(False, str(error), "mend what the message names")


def dropout_is_off(flight: Flight, probe: Probe) -> Finding:
    module = flight.actor_critic if isinstance(flight.actor_critic, nn.Module) else flight.policy
    active = [
        name for name, each in module.named_modules() if isinstance(each, nn.Dropout) and each.training and each.p
    ]
    with torch.no_grad():
        first, second = (flight.actor_critic(probe.few).log_probs_BT for _ in range(2))
    gap = parity_gap(first, second, probe.few.mask_BT).largest
    return Finding(
        not active and gap == 0.0,
        f"{len(active)} active dropout layers, two passes differ by {gap:.2g} nats",
        "call .eval() on the models, or load them with dropout 0: old and new log-probs must be of one policy",
    )


def sampler_is_learner(flight: Flight, probe: Probe) -> Finding:
    batch = probe.batch
    said_BT = torch.zeros_like(batch.behaviour_log_probs_BT).masked_scatter(batch.mask_BT, probe.said["log_prob"])
    gap = parity_gap(said_BT, batch.behaviour_log_probs_BT, batch.mask_BT)
    rounded = f"{MEAN_ROUNDINGS * flight.rounding:g} in the mean"
    allowed = rounded if flight.rounding else f"{flight.tolerance_nats:g}"
    return Finding(
        gap.within(flight.tolerance_nats, flight.rounding),
        f"log-probs differ by {gap.mean:.2g} nats an action in the mean, {gap.largest:.2g} at most (allowed {allowed})",
        "give both the same weights, temperature and precision",
    )


def new_weights_arrive(flight: Flight, probe: Probe, harder: float = 1.0) -> Finding:
    """Nudges what learns, publishes, and looks whether the sampler follows; then puts every bit back.

    harder: a multiple of the nudge. Where nothing moved (nearly flat logits, an adapter that starts at zero) it is
    tried again five and twenty-five times as hard.
    """
    exact = getattr(flight.sampler, "samples_in_fp32", False)
    policy, rounding = (in_full_precision(flight.policy), 0.0) if exact else (flight.policy, flight.rounding)
    parameters = [each for each in policy.parameters() if each.requires_grad]
    with nudged(parameters, harder * (NUDGE if not rounding else ROUNDED_NUDGE)):
        flight.sampler.publish()
        drawn = flight.sampler.sample(flight.environment, flight.keys(PROBE_STEP + 1, len(probe.few)))
        moved, gap = sampler_gap(policy, probe.few), sampler_gap(policy, drawn)
    flight.sampler.publish()
    if moved.largest <= flight.tolerance_nats and harder < HARDEST:
        return new_weights_arrive(flight, probe, 5 * harder)
    follows = gap.within(flight.tolerance_nats, rounding) and gap.mean <= FOLLOWS * moved.mean
    return Finding(
        follows and moved.largest > flight.tolerance_nats,
        f"after a nudge that moved log-probs by {moved.mean:.2g} nats, sampler and learner differ by {gap.mean:.2g}",
        "hand the sampler the learner's weights at every publish, an adapter merged or delivered",
    )


def samples_are_of_the_policy(flight: Flight, probe: Probe) -> Finding:
    """Σ (log π(a) + H) over its deviation: near 0 for samples of π, far above where the tail was cut off."""
    said = probe.said
    spread = float(said["variance"].sum().sqrt())
    sigmas = float((said["log_prob"] - said["mean"]).sum()) / spread if spread > 0 else 0.0
    return Finding(
        sigmas < SIGMAS,
        f"sampled log-probs are {sigmas:.1f} deviations above what the policy's own would be (allowed {SIGMAS:g})",
        "sample without top-p, top-k or greed: what was cut off is not in the log-probs",
    )


def policy_is_the_loaded_model(flight: Flight, probe: Probe) -> Finding:
    """A few log-probs at step 0 against those that the loader saw, an adapter included."""
    loaded = loaded_as(flight.policy.model)
    if loaded is None:
        return Finding(None, "the model was not loaded from a folder")
    tokens = loaded.tokens.to(probe.batch.observations.device)
    with torch.no_grad():
        logits_SV = flight.policy.model(input_ids=tokens, use_cache=False).logits[0].float()
    worst = float((log_probs_of(tokens, logits_SV) - loaded.log_probs.to(tokens.device)).abs().max())
    return Finding(
        worst <= max(LOADED_NATS, MEAN_ROUNDINGS * flight.policy.weight_rounding),
        f"log-probs differ from those of the model as it was loaded by at most {worst:.2g} nats",
        "what is about to train is another model than was given: was its adapter lost on the way?",
    )


def reference_is_the_start(flight: Flight, probe: Probe) -> Finding:
    with torch.no_grad():
        gap = parity_gap(flight.policy.log_probs(probe.few), flight.reference(probe.few), probe.few.mask_BT)
    return Finding(
        gap.within(1e-5, flight.rounding),
        f"log-probs of policy and reference differ by at most {gap.largest:.2g} nats at step 0",
        "take the reference from the weights that training starts with, at the policy's temperature",
    )


def neighbours_do_not_matter(flight: Flight, probe: Probe) -> Finding:
    gaps, few = list[ParityGap](), probe.few
    with torch.no_grad():
        together = flight.actor_critic(few)
        for row in range(len(few)):
            alone, steps = flight.actor_critic(few.select([row])), int(few.lengths_B[row])
            mask = few.mask_BT[row : row + 1, :steps]
            gaps.append(parity_gap(together.log_probs_BT[row : row + 1, :steps], alone.log_probs_BT, mask))
            scale = max(1.0, float(alone.values_BS.abs().max()))
            values_BT = together.values_BS[row : row + 1, :steps]
            gaps.append(parity_gap(values_BT / scale, alone.values_BS[:, :-1] / scale, mask))
    return Finding(
        all(gap.within(1e-4, flight.rounding) for gap in gaps),
        f"a reply alone and in a padded batch differ by at most {max(gap.largest for gap in gaps):.2g}",
        "the model sees padding: mask it, count positions from the first real token, or pad on the right",
    )


def cuts_do_not_matter(flight: Flight, probe: Probe) -> Finding:
    """The gradient of the probe's likelihood from one pass and from two."""
    parameters = [each for each in flight.policy.parameters() if each.requires_grad]
    few, middle = probe.few, len(probe.few) // 2
    whole = gradient(flight.policy, [few], parameters)
    cut = gradient(flight.policy, [few.select(range(middle)), few.select(range(middle, len(few)))], parameters)
    apart = norm([a - b for a, b in zip(whole, cut, strict=True)]) / (norm(whole) or 1.0)
    return Finding(
        apart <= max(1e-3, MEAN_ROUNDINGS * flight.rounding),
        f"gradients of one pass and of two differ by {apart:.2g} of their norm",
        "a layer mixes the rows of a batch (batch norm, a mask over the batch): it cannot be trained in micro-batches",
    )


def ends_are_actions(flight: Flight, probe: Probe) -> Finding:
    """A reply that ended by itself ends in a stop token that counts, also where padding is the same token."""
    wrong, batch = 0, probe.batch
    for row in range(len(batch)):
        last = int(batch.lengths_B[row]) - 1
        wrong += bool(batch.mask_BT[row, last + 1 :].any())
        if isinstance(flight.environment, Language):  # elsewhere the other side may have the last word
            stopped = int(batch.actions[row, last]) in set(flight.stop_tokens)
            wrong += bool(stopped and not batch.mask_BT[row, last])
            wrong += bool(flight.stop_tokens and batch.terminated_B[row] and not stopped)
    return Finding(
        wrong == 0,
        f"{wrong} of {len(batch)} replies have an end that is masked, padding that counts, or an end without a stop",
        "take masks from lengths and finish reasons, never from token != pad",
    )


def an_end_can_be_reached(flight: Flight, probe: Probe) -> Finding:
    if not flight.stop_tokens:
        return Finding(None, "replies have a fixed length")
    likely_N = probe.said["end"]
    return Finding(
        float(likely_N.max()) > 1e-9,
        f"the likeliest end in {len(likely_N)} states has probability {float(likely_N.max()):.2g}",
        "check the tokenizer's eos_token against the model's vocabulary: no reply can end",
    )


def one_beginning(flight: Flight, probe: Probe) -> Finding:
    begin, starts = flight.codec.tokenizer.bos_token_id, first_starts(flight.environment)
    doubled = sum(each[:2] == (begin, begin) for each in starts) if begin is not None else 0
    return Finding(
        doubled == 0,
        f"{doubled} of {len(starts)} prompts begin with it twice",
        "the chat template writes one already: tokenize its text without special tokens",
    )


def chat_template_comes_round(flight: Flight, probe: Probe) -> Finding:
    tokenizer: Any = flight.codec.tokenizer
    if not tokenizer.chat_template:
        return Finding(None, "the tokenizer has none")
    asked = [{"role": "user", "content": "a"}]
    before = flight.codec.rendered(asked)
    whole = tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": "b"}], tokenize=False)
    tokens = tokenizer(str(before))["input_ids"]
    begin = tokenizer.bos_token_id
    stripped = len(tokens) - len(flight.codec.prompt(before))
    return Finding(
        whole.startswith(before),
        f"a prompt is{'' if whole.startswith(before) else ' not'} the beginning of its whole talk"
        + (f"; {stripped} doubled beginnings are dropped" if begin is not None and stripped else ""),
        "mend the template: what is asked for with add_generation_prompt must open the finished turn",
    )


def reward_reads_the_same_tokens(flight: Flight, probe: Probe) -> Finding:
    other = getattr(flight.score, "codec", None)
    if other is None or other.tokenizer is flight.codec.tokenizer:
        return Finding(None, "the reward reads the policy's own tokens, or texts")
    prompts, responses = flight.codec.prompts_and_responses(probe.batch)
    texts = [prompt + response for prompt, response in zip(prompts, responses, strict=True) if prompt + response]
    wrong = sum(other.prompt(text) != flight.codec.prompt(text) for text in texts)
    return Finding(
        wrong == 0,
        f"{wrong} of {len(texts)} texts become other tokens",
        "train the reward model from the policy's own model, or give the reward as a function of texts",
    )


def reward_is_finite(flight: Flight, probe: Probe) -> Finding:
    bad = int((~probe.score_BT.isfinite()).sum())
    outside = int((probe.score_BT[~probe.batch.mask_BT] != 0).sum())
    return Finding(
        bad == 0 and outside == 0,
        f"{bad} scores are not finite, {outside} stand where the policy did not act",
        "mend the reward: it must give one finite number for each reply",
    )


def reward_is_deterministic(flight: Flight, probe: Probe) -> Finding:
    gap = float((probe.score_BT - flight.score(probe.batch)).abs().max())
    return Finding(
        gap == 0.0 or flight.noisy,
        f"asked twice it differs by {gap:.2g}" + (" (declared noisy)" if flight.noisy else ""),
        "seed the reward, turn off its dropout, or declare it noisy",
    )


def reward_is_not_constant(flight: Flight, probe: Probe) -> Finding:
    if getattr(getattr(flight.score, "function", None), "asks_people", False):
        return Finding(None, "people judge pairs, and they are not asked about a probe")
    scores = (probe.score_BT + probe.batch.rewards_BT).sum(dim=1)
    for further in range(FURTHER_PROBES):
        if len(scores.unique()) > 1:
            break
        drawn = flight.sampler.sample(flight.environment, flight.keys(PROBE_STEP + 2 + further, flight.episodes))
        scores = torch.cat([scores, (flight.score(drawn) + drawn.rewards_BT).sum(dim=1)])
    return Finding(
        len(scores.unique()) > 1,
        f"deviation {float(scores.std(unbiased=False)):.2g} over {len(scores)} replies",
        "a reward that says the same of every reply teaches nothing: check what it is given (--reward), or let the "
        "environment pay (Step.reward)",
    )


def memory_suffices(flight: Flight, probe: Probe) -> Finding:
    """What learning adds to the weights that are there already, and what a micro-batch keeps for its gradient."""
    module = flight.actor_critic if isinstance(flight.actor_critic, nn.Module) else flight.policy
    needed = learning_bytes(module.parameters()) + activation_bytes(flight.policy.model, flight.tokens_at_once)
    free = free_bytes(next(module.parameters()).device)
    return Finding(
        needed < free,
        f"about {needed / 2**30:.2f} GiB needed, {free / 2**30:.2f} GiB free",
        "lower --tokens-at-once, train a LoRA adapter (--lora-rank), or take a smaller model",
    )


def learning_bytes(parameters: Iterable[Tensor]) -> int:
    """Gradients, two moments, and copies in fp32 of weights below it, of the weights that learn."""
    return sum((12 + 4 * (each.element_size() < 4)) * each.numel() for each in parameters if each.requires_grad)


def activation_bytes(model: Any, tokens: int) -> int:
    """By the shapes of a language model: what a micro-batch of so many tokens keeps for its gradient at most, fp32."""
    config = model.config.get_text_config()
    return tokens * (34 * config.hidden_size * config.num_hidden_layers + 3 * config.vocab_size) * 4


CHECKS: dict[str, Check] = {
    "dropout is off": dropout_is_off,
    "sampler is learner": sampler_is_learner,
    "new weights arrive": new_weights_arrive,
    "samples are of the policy": samples_are_of_the_policy,
    "policy is the loaded model": policy_is_the_loaded_model,
    "reference is the start": reference_is_the_start,
    "neighbours do not matter": neighbours_do_not_matter,
    "micro-batches do not matter": cuts_do_not_matter,
    "ends are actions": ends_are_actions,
    "an end can be reached": an_end_can_be_reached,
    "one beginning of sequence": one_beginning,
    "chat template comes round": chat_template_comes_round,
    "reward reads the same tokens": reward_reads_the_same_tokens,
    "reward is finite": reward_is_finite,
    "reward is deterministic": reward_is_deterministic,
    "reward is not constant": reward_is_not_constant,
    "memory suffices": memory_suffices,
}


@torch.no_grad()
def sampler_gap(policy: LanguagePolicy, batch: Batch) -> ParityGap:
    return parity_gap(policy.log_probs(batch), batch.behaviour_log_probs_BT, batch.mask_BT)


def norm(tensors: Sequence[Tensor]) -> float:
    """L2 norm of all of them as one vector."""
    return sum(float(each.double().square().sum()) for each in tensors) ** 0.5


def gradient(policy: LanguagePolicy, parts: Sequence[Batch], parameters: Sequence[Tensor]) -> list[Tensor]:
    total = [torch.zeros_like(each) for each in parameters]
    for part in parts:
        likelihood = policy.log_probs(part)[part.mask_BT].sum()
        found = torch.autograd.grad(likelihood, list(parameters), allow_unused=True)
        total = [before if new is None else before + new for before, new in zip(total, found, strict=True)]
    return total


@contextmanager
def nudged(parameters: Sequence[Tensor], share: float) -> Iterator[None]:
    """The parameters moved a little, and afterwards again exactly what they were."""
    before = [each.detach().clone() for each in parameters]
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.no_grad():
            for each in parameters:
                noise = torch.randn(each.shape, generator=generator).to(each.device, each.dtype)
                each.add_(noise * share * max(float(each.detach().abs().mean()), 0.1))
        yield
    finally:
        with torch.no_grad():
            for each, old in zip(parameters, before, strict=True):
                each.copy_(old)
