"""The first minute: does what is about to train fit together? Each check is named, measured, and says what to do.

The field's costliest bugs (a sampler with stale weights, an adapter that was never delivered, a wrong pad mask, a
temperature on one side) change no shape and raise no error, and show at once to whoever compares two numbers that must
be equal. A probe of a few replies is drawn by the run's own sampler; nothing that is checked is changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.data.errors import InputError
from tutelage.data.pretrained import free_bytes
from tutelage.data.tokens import Codec
from tutelage.environments.language import Language
from tutelage.policies.language import LanguagePolicy
from tutelage.trajectory import ActorCritic, Batch, Key, LogProbs, Sampler, Score

PROBE_STEP = 2**32 - 64  # no training step: its random streams are its own
PROBE_EPISODES = 16
FURTHER_PROBES = 16  # drawn while every reply so far got the same reward: a sparse reward is no broken one
NUDGE = 0.02  # relative change of the weights by which their arrival at the sampler is seen
SIGMAS = 5.0


@dataclass(frozen=True)
class Flight:
    """What is about to train. tolerance_nats: between sampler and learner, an action. noisy: the reward draws lots."""

    policy: LanguagePolicy
    actor_critic: ActorCritic
    reference: LogProbs
    sampler: Sampler
    environment: Language
    score: Score
    codec: Codec
    stop_tokens: Sequence[int]
    tokens_at_once: int = 1024
    tolerance_nats: float = 1e-3
    noisy: bool = False


@dataclass(frozen=True)
class Finding:
    """passed is None where a check does not apply. remedy: what to do where it failed. name: of the check."""

    passed: bool | None
    found: str
    remedy: str = ""
    name: str = ""


Check = Callable[[Flight, Batch], Finding]


def preflight(flight: Flight) -> list[Finding]:
    """Every check on one probe, in the order in which their failures explain each other."""
    batch = flight.sampler.sample(flight.environment, probe_keys(len(flight.environment.prompts), PROBE_STEP))
    return [replace(attempted(check, flight, batch), name=name) for name, check in CHECKS.items()]


def probe_keys(prompts: int, step: int) -> list[Key]:
    return [Key(step, number % prompts, number // prompts) for number in range(PROBE_EPISODES)]


def attempted(check: Check, flight: Flight, batch: Batch) -> Finding:
    """A check that cannot be made is one that failed."""
    try:
        return check(flight, batch)
    except (InputError, RuntimeError, ValueError, IndexError) as error:
        return Finding(False, str(error), "mend what the message names")


def dropout_is_off(flight: Flight, batch: Batch) -> Finding:
    module = flight.actor_critic if isinstance(flight.actor_critic, nn.Module) else flight.policy
    active = [
        name for name, each in module.named_modules() if isinstance(each, nn.Dropout) and each.training and each.p
    ]
    with torch.no_grad():
        first, second = (flight.actor_critic(batch).log_probs_BT for _ in range(2))
    gap = largest(first - second, batch.mask_BT)
    return Finding(
        not active and gap == 0.0,
        f"{len(active)} active dropout layers, two passes differ by {gap:.2g} nats",
        "call .eval() on the models, or load them with dropout 0: old and new log-probs must be of one policy",
    )


def sampler_is_learner(flight: Flight, batch: Batch) -> Finding:
    gap = parity_gap(flight, batch)
    return Finding(
        gap <= flight.tolerance_nats,
        f"log-probs differ by at most {gap:.2g} nats an action (allowed {flight.tolerance_nats:g})",
        "give both the same weights, temperature and precision",
    )


def new_weights_arrive(flight: Flight, batch: Batch) -> Finding:
    """Nudges what learns, publishes, and looks whether the sampler follows; then puts every bit back."""
    parameters = [each for each in flight.policy.parameters() if each.requires_grad]
    with nudged(parameters):
        flight.sampler.publish()
        drawn = flight.sampler.sample(flight.environment, probe_keys(len(flight.environment.prompts), PROBE_STEP + 1))
        with torch.no_grad():
            moved = largest(flight.policy.log_probs(batch) - batch.behaviour_log_probs_BT, batch.mask_BT)
        gap = parity_gap(flight, drawn)
    flight.sampler.publish()
    return Finding(
        gap <= flight.tolerance_nats and moved > flight.tolerance_nats,
        f"after a nudge that moved log-probs by {moved:.2g} nats, sampler and learner differ by {gap:.2g}",
        "hand the sampler the learner's weights at every publish, an adapter merged or delivered",
    )


def samples_are_of_the_policy(flight: Flight, batch: Batch) -> Finding:
    """Σ (log π(a) + H) over its deviation: near 0 for samples of π, far above where the tail was cut off."""
    mean_N, spread_N = surprise(flight.policy, batch)
    with torch.no_grad():
        said_N = flight.policy.log_probs(batch)[batch.mask_BT]
    spread = float(spread_N.sum().sqrt())
    sigmas = float((said_N - mean_N).sum()) / spread if spread > 0 else 0.0
    return Finding(
        sigmas < SIGMAS,
        f"sampled log-probs are {sigmas:.1f} deviations above what the policy's own would be (allowed {SIGMAS:g})",
        "sample without top-p, top-k or greed: what was cut off is not in the log-probs",
    )


def reference_is_the_start(flight: Flight, batch: Batch) -> Finding:
    with torch.no_grad():
        gap = largest(flight.policy.log_probs(batch) - flight.reference(batch), batch.mask_BT)
    return Finding(
        gap <= 1e-5,
        f"log-probs of policy and reference differ by at most {gap:.2g} nats at step 0",
        "take the reference from the weights that training starts with, at the policy's temperature",
    )


def neighbours_do_not_matter(flight: Flight, batch: Batch) -> Finding:
    worst = 0.0
    with torch.no_grad():
        together = flight.actor_critic(batch)
        for row in range(len(batch)):
            alone, steps = flight.actor_critic(batch.select([row])), int(batch.lengths_B[row])
            mask = batch.mask_BT[row : row + 1, :steps]
            worst = max(worst, largest(together.log_probs_BT[row : row + 1, :steps] - alone.log_probs_BT, mask))
            values = together.values_BS[row : row + 1, :steps] - alone.values_BS[:, :-1]
            worst = max(worst, largest(values, mask) / max(1.0, float(alone.values_BS.abs().max())))
    return Finding(
        worst <= 1e-4,
        f"a reply alone and in a padded batch differ by at most {worst:.2g}",
        "the model sees padding: mask it, count positions from the first real token, or pad on the right",
    )


def cuts_do_not_matter(flight: Flight, batch: Batch) -> Finding:
    """The gradient of the probe's likelihood from one pass and from two."""
    parameters = [each for each in flight.policy.parameters() if each.requires_grad]
    middle = len(batch) // 2
    whole = gradient(flight.policy, [batch], parameters)
    cut = gradient(flight.policy, [batch.select(range(middle)), batch.select(range(middle, len(batch)))], parameters)
    scale = max(float(each.abs().max()) for each in whole) or 1.0
    worst = max(float((a - b).abs().max()) for a, b in zip(whole, cut, strict=True)) / scale
    return Finding(
        worst <= 1e-3,
        f"gradients of one pass and of two differ by {worst:.2g} of the largest",
        "a layer mixes the rows of a batch (batch norm, a mask over the batch): it cannot be trained in micro-batches",
    )


def ends_are_actions(flight: Flight, batch: Batch) -> Finding:
    """A reply that ended by itself ends in a stop token that counts, also where padding is the same token."""
    wrong = 0
    for row in range(len(batch)):
        last = int(batch.lengths_B[row]) - 1
        stopped = int(batch.actions[row, last]) in set(flight.stop_tokens)
        wrong += bool(stopped and not batch.mask_BT[row, last])
        wrong += bool(batch.mask_BT[row, last + 1 :].any())
        wrong += bool(flight.stop_tokens and batch.terminated_B[row] and not stopped)
    return Finding(
        wrong == 0,
        f"{wrong} of {len(batch)} replies have an end that is masked, padding that counts, or an end without a stop",
        "take masks from lengths and finish reasons, never from token != pad",
    )


def an_end_can_be_reached(flight: Flight, batch: Batch) -> Finding:
    if not flight.stop_tokens:
        return Finding(None, "replies have a fixed length")
    with torch.no_grad():
        logits_NV = flight.policy.action_logits(flight.policy.states(batch), batch).float() / flight.policy.temperature
    known = [token for token in flight.stop_tokens if 0 <= token < logits_NV.shape[-1]]
    likely = float(logits_NV.softmax(-1)[:, known].sum(-1).max()) if known else 0.0
    return Finding(
        likely > 1e-9,
        f"the likeliest end in {len(logits_NV)} states has probability {likely:.2g}",
        "check the tokenizer's eos_token against the model's vocabulary: no reply can end",
    )


def one_beginning(flight: Flight, batch: Batch) -> Finding:
    begin = flight.codec.tokenizer.bos_token_id
    doubled = sum(list(each[:2]) == [begin, begin] for each in flight.environment.prompts) if begin is not None else 0
    return Finding(
        doubled == 0,
        f"{doubled} of {len(flight.environment.prompts)} prompts begin with it twice",
        "the chat template writes one already: tokenize its text without special tokens",
    )


def chat_template_comes_round(flight: Flight, batch: Batch) -> Finding:
    tokenizer: Any = flight.codec.tokenizer
    if not tokenizer.chat_template:
        return Finding(None, "the tokenizer has none")
    asked = [{"role": "user", "content": "a"}]
    before = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": "b"}], tokenize=False)
    tokens = tokenizer(before)["input_ids"]
    begin = tokenizer.bos_token_id
    stripped = len(tokens) - len(flight.codec.prompt(before))
    return Finding(
        whole.startswith(before),
        f"a prompt is{'' if whole.startswith(before) else ' not'} the beginning of its whole talk"
        + (f"; {stripped} doubled beginnings are dropped" if begin is not None and stripped else ""),
        "mend the template: what is asked for with add_generation_prompt must open the finished turn",
    )


def reward_reads_the_same_tokens(flight: Flight, batch: Batch) -> Finding:
    other = getattr(flight.score, "codec", None)
    if other is None or other.tokenizer is flight.codec.tokenizer:
        return Finding(None, "the reward shares the policy's tokenizer")
    prompts, responses = flight.codec.prompts_and_responses(batch)
    texts = [prompt + response for prompt, response in zip(prompts, responses, strict=True) if prompt + response]
    wrong = sum(other.prompt(text) != flight.codec.prompt(text) for text in texts)
    return Finding(
        wrong == 0,
        f"{wrong} of {len(texts)} texts become other tokens",
        "train the reward model from the policy's own model, or give the reward as a function of texts",
    )


def reward_is_finite(flight: Flight, batch: Batch) -> Finding:
    score_BT = flight.score(batch)
    bad = int((~score_BT.isfinite()).sum())
    outside = int((score_BT[~batch.mask_BT] != 0).sum())
    return Finding(
        bad == 0 and outside == 0,
        f"{bad} scores are not finite, {outside} stand where the policy did not act",
        "mend the reward: it must give one finite number for each reply",
    )


def reward_is_deterministic(flight: Flight, batch: Batch) -> Finding:
    gap = float((flight.score(batch) - flight.score(batch)).abs().max())
    return Finding(
        gap == 0.0 or flight.noisy,
        f"asked twice it differs by {gap:.2g}" + (" (declared noisy)" if flight.noisy else ""),
        "seed the reward, turn off its dropout, or declare it noisy",
    )


def reward_is_not_constant(flight: Flight, batch: Batch) -> Finding:
    scores, prompts = flight.score(batch).sum(dim=1), len(flight.environment.prompts)
    for further in range(FURTHER_PROBES):
        if len(scores.unique()) > 1:
            break
        drawn = flight.sampler.sample(flight.environment, probe_keys(prompts, PROBE_STEP + 2 + further))
        scores = torch.cat([scores, flight.score(drawn).sum(dim=1)])
    return Finding(
        len(scores.unique()) > 1,
        f"deviation {float(scores.std(unbiased=False)):.2g} over {len(scores)} replies",
        "a reward that says the same of every reply teaches nothing: check what it is given",
    )


def memory_suffices(flight: Flight, batch: Batch) -> Finding:
    """Weights that learn four times over (gradients, two moments), and what a micro-batch keeps for its gradient."""
    module = flight.actor_critic if isinstance(flight.actor_critic, nn.Module) else flight.policy
    counts = [(each.numel() * each.element_size(), each.requires_grad) for each in module.parameters()]
    config = flight.policy.model.config.get_text_config()
    kept = flight.tokens_at_once * (34 * config.hidden_size * config.num_hidden_layers + 3 * config.vocab_size) * 4
    needed = sum(3 * size for size, learns in counts if learns) + kept  # the weights themselves are there already
    free = free_bytes(next(module.parameters()).device)
    return Finding(
        needed < free,
        f"about {needed / 2**30:.2f} GiB needed, {free / 2**30:.2f} GiB free",
        "lower --tokens-at-once, train a LoRA adapter (--lora-rank), or take a smaller model",
    )


CHECKS: dict[str, Check] = {
    "dropout is off": dropout_is_off,
    "sampler is learner": sampler_is_learner,
    "new weights arrive": new_weights_arrive,
    "samples are of the policy": samples_are_of_the_policy,
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


def largest(difference: Tensor, mask: Tensor) -> float:
    """The largest absolute difference that counts; infinite where one is not a number."""
    if not mask.any():
        return 0.0
    worst = float(difference[mask].abs().max())
    return worst if math.isfinite(worst) else math.inf


@torch.no_grad()
def parity_gap(flight: Flight, batch: Batch) -> float:
    return largest(flight.policy.log_probs(batch) - batch.behaviour_log_probs_BT, batch.mask_BT)


@torch.no_grad()
def surprise(policy: LanguagePolicy, batch: Batch) -> tuple[Tensor, Tensor]:
    """([N] −H, [N] variance of log π(a)) of the policy's own choices at every state it acted in."""
    logits_NV = policy.action_logits(policy.states(batch), batch).float() / policy.temperature
    log_probs_NV = logits_NV.log_softmax(-1)
    probs_NV = log_probs_NV.exp()
    finite_NV = log_probs_NV.clamp(min=-1e4)  # a probability of 0 adds nothing to either sum
    mean_N = (probs_NV * finite_NV).sum(-1)
    return mean_N, (probs_NV * (finite_NV - mean_N[:, None]) ** 2).sum(-1)


def gradient(policy: LanguagePolicy, parts: Sequence[Batch], parameters: Sequence[Tensor]) -> list[Tensor]:
    total = [torch.zeros_like(each) for each in parameters]
    for part in parts:
        likelihood = policy.log_probs(part)[part.mask_BT].sum()
        found = torch.autograd.grad(likelihood, list(parameters), allow_unused=True)
        total = [before if new is None else before + new for before, new in zip(total, found, strict=True)]
    return total


@contextmanager
def nudged(parameters: Sequence[Tensor]) -> Iterator[None]:
    """The parameters moved a little, and afterwards again exactly what they were."""
    before = [each.detach().clone() for each in parameters]
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.no_grad():
            for each in parameters:
                noise = torch.randn(each.shape, generator=generator).to(each.device, each.dtype)
                each.add_(noise * NUDGE * max(float(each.detach().abs().mean()), 0.1))
        yield
    finally:
        with torch.no_grad():
            for each, old in zip(parameters, before, strict=True):
                each.copy_(old)
