"""One sequence, one set of numbers: whatever its neighbours, its padding, the micro-batch, the cache or the sampler."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.conftest import FAMILIES
from transformers import AutoModelForCausalLM

from tutelage.algorithms.ppo import PPOConfig, improve, ppo_loss, remembered
from tutelage.environments.language import Language
from tutelage.execution.learner import LocalLearner
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.models.lora import with_lora
from tutelage.policies.language import (
    Frozen,
    LanguagePolicy,
    SeparateCritic,
    SharedCritic,
    ValueModel,
)
from tutelage.rewards.language import ModelScore, RewardModel, start_head
from tutelage.training import stages
from tutelage.trajectory import Batch, Finish, Key

EOS = 1
PROMPTS = [[0, 5, 6], [0, 7, 8, 9, 10, 11], [0, 12], [0, 3, 4, 5, 6, 7, 8]]


def drawn(policy, *, limit=8, samples=3, seed=4, at_once=256, prompts=PROMPTS, step=0):
    sampler = NativeSampler(policy, [EOS], seed, SamplingSettings(limit, at_once))
    keys = [Key(step, prompt, sample) for prompt in range(len(prompts)) for sample in range(samples)]
    return sampler.sample(Language(prompts), keys)


def alone(batch: Batch, row: int) -> Batch:
    return batch.select([row])


@pytest.mark.parametrize("family", FAMILIES)
def test_padded_is_alone_and_sampler_is_learner_in_every_family(family):
    torch.manual_seed(0)
    policy = LanguagePolicy(AutoModelForCausalLM.from_config(FAMILIES[family]).eval(), temperature=0.7)
    batch = drawn(policy)
    with torch.no_grad():
        together = policy.log_probs(batch)
        for row in range(len(batch)):
            single = policy.log_probs(alone(batch, row))[0]
            assert torch.allclose(together[row, : len(single)], single, atol=1e-5)
    gap = (together - batch.behaviour_log_probs_BT)[batch.mask_BT].abs().max()
    assert gap < 1e-5  # decoding with a cache is the full forward (fact 34)


@pytest.mark.parametrize("family", FAMILIES)
def test_left_padding_with_a_mask_gives_the_same_log_probs(family):
    """Fact 25: positions count real tokens only; ours are right-padded, the field's habit is left."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FAMILIES[family]).eval()
    policy, pad = LanguagePolicy(model), 3
    batch = drawn(policy, samples=1)
    with torch.no_grad():
        ours = policy.log_probs(alone(batch, 0))
        tokens = batch.observations[0, : int(batch.lengths_B[0]) + 1]
        padded = torch.cat([torch.full((pad,), 17), tokens])[None]
        mask = torch.cat([torch.zeros(pad), torch.ones(len(tokens))]).long()[None]
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits = model(input_ids=padded, attention_mask=mask, position_ids=positions).logits[0, pad:-1]
    theirs = torch.log_softmax(logits, -1).gather(1, tokens[1:, None])[:, 0]
    acted = batch.mask_BT[0, : len(theirs)]
    assert torch.allclose(ours[0][acted], theirs[acted], atol=1e-5)


def test_padding_content_never_matters(tiny_policy, tiny_classifier):
    batch = drawn(tiny_policy)
    model, value = RewardModel(tiny_classifier), ValueModel(tiny_classifier)
    real = torch.arange(batch.observations.shape[1]) <= batch.lengths_B[:, None]
    noisy = copy.copy(batch)
    object.__setattr__(noisy, "observations", torch.where(real, batch.observations, torch.tensor(19)))
    assert not real.all()
    with torch.no_grad():
        assert torch.allclose(model(batch), model(noisy), atol=1e-5)
        assert torch.allclose(tiny_policy.log_probs(batch), tiny_policy.log_probs(noisy), atol=1e-5)
        assert torch.allclose(value(batch)[real], value(noisy)[real], atol=1e-5)


def test_reward_model_reads_the_last_real_token_even_where_pad_is_eos(tiny_policy, tiny_classifier):
    """Fact 24 by lengths; and neighbours do not change a score (fact 17)."""
    batch = drawn(tiny_policy)
    model = RewardModel(tiny_classifier)
    with torch.no_grad():
        scores = model(batch)
        for row in range(len(batch)):
            tokens = batch.observations[row, : int(batch.lengths_B[row]) + 1]
            states = tiny_classifier.model(input_ids=tokens[None]).last_hidden_state
            assert torch.allclose(scores[row], tiny_classifier.score(states[0, -1])[0], atol=1e-5)
    ended = batch.terminated_B.nonzero()[0, 0]
    assert batch.observations[ended, batch.lengths_B[ended]] == EOS
    placed = ModelScore(model)(batch)
    assert torch.equal(placed.argmax(1)[scores > 0], batch.last_action_B[scores > 0])
    assert torch.allclose(placed.sum(1), scores, atol=1e-5)


def test_value_model_starts_as_the_reward_model(tiny_policy, tiny_classifier):
    batch = drawn(tiny_policy)
    tiny_classifier.config.score_bias = 0.3
    score, value = RewardModel(tiny_classifier), ValueModel(tiny_classifier)
    with torch.no_grad():
        last = value(batch).gather(1, batch.lengths_B[:, None])[:, 0]
        assert torch.allclose(last, score(batch), atol=1e-6)


def test_head_starts_at_unit_scale():
    """Fact 23: standard deviation 1/√(d+1)."""
    from tests.conftest import llama_config
    from transformers import LlamaForSequenceClassification

    classifier = LlamaForSequenceClassification(llama_config(hidden_size=1024, num_labels=1, num_hidden_layers=1))
    start_head(classifier, seed=0)
    assert float(classifier.score.weight.detach().std()) == pytest.approx(1 / 1025**0.5, rel=0.08)


def test_shared_value_head_starts_at_zero(tiny_policy):
    assert SharedCritic(tiny_policy)(drawn(tiny_policy)).values_BS.abs().max() == 0


def test_sampling_depends_on_seed_step_prompt_and_sample_only(tiny_policy):
    whole = drawn(tiny_policy)
    for at_once in (1, 3, 5):
        cut = drawn(tiny_policy, at_once=at_once)
        assert torch.equal(cut.observations, whole.observations)
    turned = drawn(tiny_policy, prompts=PROMPTS[:2])
    assert torch.equal(turned.observations[0, :6], whole.observations[0, :6])
    assert not torch.equal(drawn(tiny_policy, seed=5).observations, whole.observations)
    assert not torch.equal(drawn(tiny_policy, step=1).observations, whole.observations)


def test_finish_is_explicit(tiny_policy):
    batch = drawn(tiny_policy, limit=4, samples=16)
    for row in range(len(batch)):
        last = int(batch.observations[row, batch.lengths_B[row]])
        assert bool(batch.terminated_B[row]) == (last == EOS)
        assert int(batch.mask_BT[row].sum()) <= 4
    assert batch.terminated_B.any() and not batch.terminated_B.all()
    fixed = NativeSampler(tiny_policy, [], 0, SamplingSettings(4)).sample(
        Language(PROMPTS, at_limit=Finish.TERMINATED), [Key(0, 0), Key(0, 1)]
    )
    assert fixed.terminated_B.all() and (fixed.mask_BT.sum(1) == 4).all()


def test_samples_follow_the_policy(tiny_llama):
    """Inverse-CDF sampling draws each token as often as π says (χ² at one state)."""
    policy = LanguagePolicy(tiny_llama, temperature=1.3)
    batch = drawn(policy, limit=1, samples=4000, prompts=[[0, 5, 6]])
    counts = torch.bincount(batch.actions[batch.mask_BT], minlength=23).double()
    with torch.no_grad():
        expected = torch.softmax(tiny_llama(torch.tensor([[0, 5, 6]])).logits[0, -1] / 1.3, -1).double() * 4000
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < 48  # 22 degrees of freedom: 0.1 %


def ppo_parts(policy, critic_of=SharedCritic, **settings):
    config = PPOConfig(
        **{"trajectories": 12, "epochs": 1, "learning_rate": 1e-3, "value_learning_rate": 1e-3, **settings}
    )
    critic = critic_of(policy)
    learner = LocalLearner(
        {"all": (critic.parameters(), config.learning_rate)}, tokens_at_once=config.tokens_at_once, max_grad_norm=1e9
    )
    return config, critic, learner


def test_first_pass_has_ratio_one_and_no_kl(tiny_policy, tiny_classifier):
    """Fact 10, and step-0 KL to the reference: exactly, since the learner recomputes."""
    config, critic, learner = ppo_parts(tiny_policy, lambda p: SeparateCritic(p, ValueModel(tiny_classifier)))
    batch = drawn(tiny_policy)
    stats = improve(config, batch, torch.randn(batch.mask_BT.shape), 0.2, critic, Frozen(tiny_policy), learner)
    assert stats["kl_nats_per_sequence"] == 0.0
    assert stats["clip_fraction"] == 0.0
    assert stats["approximate_kl_nats"] == pytest.approx(0.0, abs=1e-12)
    assert stats["policy_loss"] == pytest.approx(0.0, abs=1e-6)  # −mean of whitened advantages


def test_another_temperature_on_one_side_is_noticed(tiny_policy, tiny_llama):
    """Fact 26: halving T without dividing the logits gives ratio ≠ 1; the run stops."""
    batch = drawn(LanguagePolicy(tiny_llama, temperature=0.35))
    config, critic, learner = ppo_parts(tiny_policy)
    with pytest.raises(RuntimeError, match="temperature"):
        improve(config, batch, torch.zeros(batch.mask_BT.shape), 0.2, critic, Frozen(tiny_policy), learner)


def test_kl_is_the_difference_of_sequence_log_probs(tiny_policy, tiny_llama):
    """Fact 14: Σ_t (log π − log π_ref) = log π(y|x) − log π_ref(y|x), and the reward carries −β times that."""
    other = copy.deepcopy(tiny_llama)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    batch = drawn(tiny_policy)
    reference = Frozen(LanguagePolicy(other, temperature=0.7))
    critic = SharedCritic(tiny_policy)
    old, reference_BT = remembered(critic, reference, batch, 50)
    for row in range(len(batch)):
        tokens = batch.observations[row, : int(batch.lengths_B[row]) + 1]
        whole = []
        for model in (tiny_llama, other):
            with torch.no_grad():
                logits = model(tokens[None]).logits[0, :-1] / 0.7
            log_probs = torch.log_softmax(logits, -1).gather(1, tokens[1:, None])[:, 0]
            whole.append(log_probs[batch.mask_BT[row, : len(log_probs)]].sum())
        ours = (old.log_probs_BT - reference_BT)[row][batch.mask_BT[row]].sum()
        assert float(ours) == pytest.approx(float(whole[0] - whole[1]), abs=1e-4)


def test_exact_kl_agrees_with_samples_and_is_zero_at_home(tiny_policy):
    """design §4.5: the k1 estimate from the policy's own replies and the exact value over the vocabulary."""
    torch.manual_seed(5)
    other = LanguagePolicy(AutoModelForCausalLM.from_config(FAMILIES["llama"]).eval(), temperature=0.7)
    batch = drawn(tiny_policy, samples=400)
    found = stages.sequence_kl(tiny_policy, other, batch, tokens_at_once=500)
    sampled, exact = found["kl_nats_per_sequence"], found["kl_nats_per_sequence_exact"]
    assert exact > 0.5 and sampled == pytest.approx(exact, rel=0.1)
    assert stages.sequence_kl(tiny_policy, tiny_policy, batch)["kl_nats_per_sequence_exact"] == pytest.approx(
        0, abs=1e-5
    )


@pytest.mark.parametrize("tokens_at_once", [1, 40, 10_000])
def test_loss_and_gradient_do_not_depend_on_the_micro_batch(tiny_policy, tokens_at_once):
    batch = drawn(tiny_policy)
    torch.manual_seed(3)
    shape = batch.mask_BT.shape
    targets = batch.with_extras(
        advantages=torch.randn(shape),
        returns=torch.randn(shape),
        old_log_probs=batch.behaviour_log_probs_BT - 0.1,
        old_values=torch.randn(shape[0], shape[1] + 1),
    )
    gradients, losses = [], []
    for budget in (tokens_at_once, 10_000):
        config, critic, learner = ppo_parts(copy.deepcopy(tiny_policy), tokens_at_once=budget)
        learner.optimiser.step = lambda: None
        losses.append(learner.update(targets, lambda part, c=config, a=critic: ppo_loss(c, a, part))["loss"])
        gradients.append([p.grad.clone() for p in critic.parameters()])
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    for first, second in zip(*gradients, strict=True):
        assert torch.allclose(first, second, atol=1e-6)


def test_a_lora_policy_is_its_own_reference(tiny_llama, tmp_path):
    before = copy.deepcopy(tiny_llama)
    policy = LanguagePolicy(with_lora(tiny_llama, rank=2))
    batch = drawn(policy)
    config, critic, learner = ppo_parts(policy, epochs=3, learning_rate=1e-2)
    reference = Frozen(policy)
    improve(config, batch, torch.randn(batch.mask_BT.shape), 0.0, critic, reference, learner)
    with torch.no_grad():
        base = LanguagePolicy(before).log_probs(batch)
        assert torch.equal(reference(batch), base)  # bitwise the base model
        assert not torch.equal(policy.log_probs(batch), base)
    assert all("lora" in name for name, p in policy.named_parameters() if p.requires_grad)


def test_the_reference_stays_where_the_policy_began(tiny_policy):
    critic = SharedCritic(tiny_policy)
    reference, batch = Frozen(tiny_policy), drawn(tiny_policy)
    before = reference(batch)
    learner = LocalLearner({"all": (critic.parameters(), 0.05)}, max_grad_norm=1.0)
    learner.update(batch, lambda part: {"loss": -critic(part).log_probs_BT[part.mask_BT].sum()})
    assert torch.equal(reference(batch), before)
    with torch.no_grad():
        assert not torch.allclose(tiny_policy.log_probs(batch), before, atol=1e-2)


def test_gradient_clipping_clips(tiny_policy):
    _, critic, _ = ppo_parts(tiny_policy)
    learner = LocalLearner({"all": (critic.parameters(), 1e-3)}, max_grad_norm=1e-3)
    batch = drawn(tiny_policy)
    stats = learner.update(batch, lambda part: {"loss": -critic(part).log_probs_BT[part.mask_BT].sum()})
    norm = torch.stack([p.grad.norm() for p in critic.parameters() if p.grad is not None]).norm()
    assert stats["gradient_norm_all"] > 0.1
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)


def test_a_loss_that_is_not_finite_leaves_the_weights(tiny_policy):
    _, critic, learner = ppo_parts(tiny_policy)
    before = [p.clone() for p in critic.parameters()]
    with pytest.raises(FloatingPointError, match="not finite"):
        learner.update(drawn(tiny_policy), lambda part: {"loss": critic(part).log_probs_BT.sum() * float("nan")})
    assert all(torch.equal(a, b) for a, b in zip(before, critic.parameters(), strict=True))
