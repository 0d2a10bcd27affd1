"""Episodes of several turns: one call answers all that wait, no token is read twice, pay reaches the returns."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from tests.conftest import FAMILIES
from transformers import AutoModelForCausalLM

from tutelage.algorithms.ppo import PPOConfig, aimed
from tutelage.data.errors import InputError
from tutelage.environments.checks import refuse_unusable_environment
from tutelage.environments.dialogue import Dialogue, each_alone
from tutelage.environments.language import Language
from tutelage.execution import decoding
from tutelage.execution.cpu import recorded_step
from tutelage.execution.native import NativeSampler, SamplingSettings, close_ranks
from tutelage.policies.language import Frozen, LanguagePolicy, SharedCritic
from tutelage.trajectory import Finish, Key, Step, Turn

STOP = 1
PROMPTS = [[0, 5, 6, 7], [0, 8, 9, 10], [0, 11, 12, 13]]
KEYS = [Key(0, prompt, sample) for prompt in range(3) for sample in range(4)]


def answers(dialogue):
    """Two tokens that depend on all that was said."""
    return [3 + sum(map(sum, dialogue)) % 17, 20]


class Counted:
    """An other side that notes how many dialogues each call brings."""

    def __init__(self, answer=answers):
        self.calls, self.answer = [], answer

    def __call__(self, dialogues):
        self.calls.append(len(dialogues))
        return [self.answer(each) for each in dialogues]


def drawn(policy, environment, keys=KEYS, tokens=6, **settings):
    return NativeSampler(policy, [STOP], 3, SamplingSettings(tokens, **settings)).sample(environment, keys)


def gap(policy, batch):
    with torch.no_grad():
        return float((policy.log_probs(batch) - batch.behaviour_log_probs_BT)[batch.mask_BT].abs().max())


@pytest.mark.parametrize("turns", [1, 2, 4])
def test_the_other_side_is_called_once_a_turn_for_all_that_wait(tiny_policy, turns):
    other = Counted()
    batch = drawn(tiny_policy, Dialogue(PROMPTS, other, turns=turns))
    assert other.calls == [len(KEYS)] * (turns - 1)
    assert len(batch.lengths_B.unique()) > 1  # turns ended at different steps


def test_with_fewer_slots_than_episodes_it_is_called_once_a_turn_for_each_slotful(tiny_policy):
    other = Counted()
    batch = drawn(tiny_policy, Dialogue(PROMPTS, other, turns=3), episodes_at_once=4)
    assert sum(other.calls) == 2 * len(KEYS) and max(other.calls) == 4
    assert len(other.calls) <= 10  # 24 dialogues
    assert gap(tiny_policy, batch) < 1e-5


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral"])
def test_waiting_changes_no_episode(family):
    """Each episode as it is alone, whoever waits in which slot; the log-probs are those of a pass over the whole."""
    torch.manual_seed(0)
    policy = LanguagePolicy(AutoModelForCausalLM.from_config(FAMILIES[family]).eval())
    environment = Dialogue(PROMPTS, each_alone(answers), turns=3)
    alone = drawn(policy, environment, episodes_at_once=1)
    for slots in (3, 5, 12):
        batch = drawn(policy, environment, episodes_at_once=slots)
        assert gap(policy, batch) < 1e-5
        assert torch.equal(batch.observations, alone.observations) and torch.equal(batch.mask_BT, alone.mask_BT)


def test_no_token_is_read_twice(tiny_policy, monkeypatch):
    """Tokens that go through the model: each beginning once, then every token of every turn and answer but the last."""
    sampler = NativeSampler(tiny_policy, [STOP], 3, SamplingSettings(max_new_tokens=5, min_new_tokens=5))
    environment = Dialogue(PROMPTS, each_alone(answers), turns=4)
    sampler.sample(environment, KEYS)  # whether slots fit this model, and whether they agree with it, is found out once
    monkeypatch.setattr(recorded_step, "WORTH_TRACING", 10**9)  # a recorded step does not call the module
    read = []
    hook = tiny_policy.model.model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    batch = sampler.sample(environment, KEYS)
    hook.remove()
    once = sum(len(prompt) - 1 for prompt in PROMPTS)
    shared = sum(len(PROMPTS[key.prompt]) - 1 for key in KEYS)
    assert sum(read) == int(batch.lengths_B.sum()) - shared + once


def test_a_model_without_slots_hears_the_same_answers(tiny_policy):
    environment, slots = Dialogue(PROMPTS, Counted(), turns=3), drawn(tiny_policy, Dialogue(PROMPTS, Counted(), 3))
    sampler = NativeSampler(tiny_policy, [STOP], 3, SamplingSettings(6))
    sampler.decoder = decoding.Rereading(tiny_policy)
    reread = sampler.sample(environment, KEYS)
    assert torch.equal(reread.observations, slots.observations) and environment.other.calls == [12, 12]


def test_who_waits_stands_behind_who_runs_and_as_few_as_possible_move():
    assert close_ranks([True] * 4, [False, True, False, True]) == [0, 2, 1, 3]
    assert close_ranks([True, False, True, True], [True, False, False, False]) == [3, 2, 0]
    assert close_ranks([True] * 3, [True] * 3) == [0, 1, 2]
    for chance in (np.random.default_rng(seed) for seed in range(50)):
        alive, waits = chance.random(9) < 0.7, chance.random(9) < 0.5
        order = close_ranks(alive.tolist(), waits.tolist())
        assert sorted(order) == np.flatnonzero(alive).tolist()
        assert [bool(waits[place]) for place in order] == sorted(bool(waits[place]) for place in order)


class Paying:
    """Pays for each turn, another amount each time; answers in one call, the last turn of an episode too."""

    def __init__(self, pay=lambda key, turn: 0.5 + key.prompt - 2.0 * turn, answer=(9, 20)):
        self.pay, self.answer, self.calls = pay, answer, 0

    def __len__(self):
        return len(PROMPTS)

    def episode(self, key):
        return PayingEpisode(tuple(PROMPTS[key.prompt]), key, self)

    def reply(self, episodes, turns):
        self.calls += 1
        return [each.step(turn) for each, turn in zip(episodes, turns, strict=True)]


@dataclass
class PayingEpisode:
    """It is paid for every turn and ends after three."""

    first: tuple[int, ...]
    key: Key
    environment: Paying
    turns: int = 0

    def step(self, turn: Turn) -> Step:
        self.turns += 1
        reward = self.environment.pay(self.key, self.turns)
        if self.turns == 3:
            return Step((), reward, Finish.TERMINATED)
        return Step(self.environment.answer, reward)


class PayingOneByOne(Paying):
    reply = None


@pytest.mark.parametrize("kind", [Paying, PayingOneByOne])
def test_what_a_turn_is_paid_stands_at_its_last_action(tiny_policy, kind):
    environment = kind()
    batch = drawn(tiny_policy, environment)
    assert environment.calls == (3 if kind is Paying else 0)
    assert batch.rewards_BT.dtype == torch.float32
    for row, key in enumerate(batch.keys):
        mask = batch.mask_BT[row, : int(batch.lengths_B[row])].tolist()
        ends = [t for t, acts in enumerate(mask) if acts and (t + 1 == len(mask) or not mask[t + 1])]
        expected = torch.zeros(batch.mask_BT.shape[1])
        for turn, place in enumerate(ends, start=1):
            expected[place] = environment.pay(key, turn)
        assert len(ends) == 3 and torch.equal(batch.rewards_BT[row], expected)


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 1.0), (0.9, 1.0), (0.8, 0.6)])
def test_what_is_paid_reaches_returns_and_advantages(tiny_policy, gamma, lam):
    """Brute force over decisions: with λ = 1 the return is Σ γ^j r; neither γ nor λ decays across the other side."""
    critic = SharedCritic(tiny_policy)
    torch.nn.init.normal_(critic.head.weight, std=0.3)
    environment = Paying()
    batch = drawn(tiny_policy, environment)
    config = PPOConfig(gamma=gamma, gae_lambda=lam, kl_coefficient=0.0)
    nothing_BT = torch.zeros(batch.mask_BT.shape)
    targets, stats = aimed(config, batch, nothing_BT, 0.0, critic, Frozen(tiny_policy))
    assert stats["environment_reward"] == pytest.approx(float(batch.rewards_BT.sum(1).mean()), abs=1e-5)
    for row, key in enumerate(batch.keys):
        length = int(batch.lengths_B[row])
        acted = [t for t in range(length) if batch.mask_BT[row, t]]
        last = [j for j, t in enumerate(acted) if j + 1 == len(acted) or acted[j + 1] != t + 1]
        paid = dict.fromkeys(range(len(acted)), 0.0) | {j: environment.pay(key, n) for n, j in enumerate(last, 1)}
        values = [float(targets.extras["old_values"][row, t]) for t in acted] + [0.0]
        for k, t in enumerate(acted):
            deltas = [paid[j] + gamma * values[j + 1] - values[j] for j in range(k, len(acted))]
            wanted = values[k] + sum((gamma * lam) ** n * delta for n, delta in enumerate(deltas))
            assert float(targets.extras["returns"][row, t]) == pytest.approx(wanted, abs=1e-4)
            if lam == 1.0:
                plain = sum(gamma ** (j - k) * paid[j] for j in range(k, len(acted)))
                assert wanted == pytest.approx(plain, abs=1e-6)


def test_an_other_side_may_pay_and_hang_up(tiny_policy):
    def other(dialogues):
        return [Step((20,), 1.5) if len(each) == 2 else Step((), -1.0, Finish.TERMINATED) for each in dialogues]

    batch = drawn(tiny_policy, Dialogue(PROMPTS, other, turns=5))
    assert batch.terminated_B.all()
    assert batch.rewards_BT.sum(dim=1).tolist() == [0.5] * len(KEYS)
    assert [float(each) for each in batch.rewards_BT[batch.rewards_BT != 0]] == [1.5, -1.0] * len(KEYS)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (lambda dialogues: [[11]] * (len(dialogues) - 1), r"gave 11 answers for 12 dialogues; expected one answer"),
        (lambda dialogues: [[11]] * (len(dialogues) + 1), r"gave 13 answers for 12 dialogues"),
        (lambda dialogues: None, r"returned None \(NoneType\) for 12 dialogues"),
        (lambda dialogues: [11] * len(dialogues), r"answer 1 of 12 is 11 \(int\); expected a list of tokens"),
        (lambda dialogues: ["hello"] * len(dialogues), r"answer 1 of 12 is 'hello' \(str\)"),
        (lambda dialogues: [[1.5]] * len(dialogues), r"answer 1 of 12 holds 1.5 \(float\)"),
        (lambda dialogues: [[]] * len(dialogues), r"said nothing \(answer 1 of 12 is empty\)"),
        (lambda dialogues: [[11]] * 11 + [[-1]], r"answer 12 of 12 holds the token -1"),
        (lambda dialogues: [[23]] * len(dialogues), r"holds the token 23; expected tokens from 0 to 22"),
        (lambda dialogues: [Step((11,), [0.1, 0.2])] * len(dialogues), r"paid \[0.1, 0.2\] \(list\) for a turn"),
    ],
)
def test_an_other_side_that_answers_wrongly_is_one_clear_error(tiny_policy, other, sentence):
    with pytest.raises(InputError, match=sentence):
        drawn(tiny_policy, Dialogue(PROMPTS, other, turns=2))


@pytest.mark.parametrize(
    ("paid", "sentence"),
    [
        ([0.1, 0.2], r"the environment paid \[0.1, 0.2\] \(list\) for a turn; expected one number a step"),
        (torch.zeros(3), "expected one number a step"),
        (None, r"paid None \(NoneType\)"),
        ("1.0", r"paid '1.0' \(str\)"),
    ],
)
@pytest.mark.parametrize("kind", [Paying, PayingOneByOne])
def test_a_reward_that_is_not_one_number_is_one_clear_error(tiny_policy, kind, paid, sentence):
    with pytest.raises(InputError, match=sentence):
        drawn(tiny_policy, kind(lambda key, turn: paid))


@pytest.mark.parametrize("paid", [float("nan"), float("inf"), np.float32("nan"), torch.tensor(float("-inf"))])
def test_a_reward_that_is_not_finite_ends_the_run(tiny_policy, paid):
    with pytest.raises(FloatingPointError, match="expected a finite number") as caught:
        drawn(tiny_policy, Paying(lambda key, turn: paid))
    assert isinstance(caught.value, InputError)


def test_numbers_of_every_kind_are_paid(tiny_policy):
    for paid in (True, 1, np.float32(1), np.int64(1), torch.tensor(1.0), np.array(1.0)):
        assert float(drawn(tiny_policy, Paying(lambda key, turn, paid=paid: paid), KEYS[:1]).rewards_BT.sum()) == 3.0


class Replying(Paying):
    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def reply(self, episodes, turns):
        return self.steps(len(episodes))


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (lambda count: [Step((11,))] * (count - 1), r"`reply` gave 11 steps for 12 waiting episodes"),
        (lambda count: None, r"`reply` gave None \(NoneType\) for 12 waiting episodes"),
        (lambda count: [(11, 12)] * count, r"answered a turn with \(11, 12\) \(tuple\); expected a"),
        (lambda count: [Step(())] * count, r"neither answered nor ended the episode"),
        (lambda count: [Step((), finish="over")] * count, r"finish is 'over'; expected None or"),
        (lambda count: [Step(11)] * count, r"the observation of a step is 11 \(int\)"),
    ],
)
def test_an_environment_that_replies_wrongly_is_one_clear_error(tiny_policy, steps, sentence):
    with pytest.raises(InputError, match=sentence):
        drawn(tiny_policy, Replying(steps))


class Whole:
    """A whole text environment; each test takes something away."""

    def __init__(self, first=(0, 5), starts=1):
        self.first, self.starts = first, starts

    def __len__(self):
        return self.starts

    def episode(self, key):
        return replace_first(self.first)


def replace_first(first):
    return replace(Language([[0]]).episode(Key(0, 0)), first=first)


class WithoutLength:
    episode = Whole(()).episode


class WithoutEpisode:
    def __len__(self):
        return 1


class Bare(Whole):
    def __init__(self, **attributes):
        super().__init__()
        self.attributes = attributes

    def episode(self, key):
        return type("Half", (), self.attributes)()


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (Whole(starts=0), "has no start: its length is 0"),
        (WithoutLength(), r"WithoutLength without __len__; expected `episode\(key\)` and"),
        (WithoutEpisode(), "WithoutEpisode without episode"),
        (None, "is a NoneType without episode and __len__"),
        (Bare(step=lambda self, turn: None), r"gives for Key\(.*\) \(Half\) has no `first`; expected the tokens"),
        (Bare(first=(0, 5)), "has no `step`"),
        (Bare(), "has no `first` and no `step`"),
        (Whole(first=()), r"begins with no tokens \(`first` is empty\)"),
        (Whole(first="hello"), r"is 'hello' \(str\); expected a list of tokens"),
        (Whole(first=("hello",)), r"holds 'hello' \(str\); expected tokens, which are whole numbers"),
        (Whole(first=7), r"is 7 \(int\); expected a list of tokens"),
        (Whole(first=(0, -3)), "holds the token -3"),
        (Whole(first=[0] * 90), "start 1 has 90 tokens and a turn may have 6, but the model's context is 64"),
    ],
)
def test_an_environment_that_cannot_be_sampled_is_one_clear_error(environment, sentence):
    with pytest.raises(InputError, match=sentence):
        refuse_unusable_environment(environment, 6, 64)


def gone(*given):
    raise ConnectionError("the other side is gone")


class Restless(Whole):
    """Begins with other tokens at every call."""

    def __init__(self):
        super().__init__(starts=2)
        self.asked = 0

    def episode(self, key):
        self.asked += 1
        return replace_first((0, 5 + self.asked))


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (Whole(starts=-1), r"its `__len__` raised ValueError \(.*line \d+\): __len__\(\) should return >= 0"),
        (Whole(starts=2.5), "its `__len__` raised TypeError"),
        (Whole, "is the class Whole; expected one of its objects"),
        (type("Leaving", (Whole,), {"episode": lambda self, key: sys.exit(3)})(), r"raised SystemExit \("),
        (type("Broken", (Whole,), {"episode": gone})(), r"`episode` of .* Broken, called with Key.* raised Connection"),
        (Restless(), "start 1 begins with other tokens when it is asked for a second time"),
    ],
)
def test_an_environment_whose_own_code_fails_is_one_clear_error(environment, sentence):
    with pytest.raises(InputError, match=sentence):
        refuse_unusable_environment(environment, 6, 64)


@pytest.mark.parametrize("kind", [Paying, PayingOneByOne])
def test_an_error_of_the_other_side_says_where_it_was_raised(tiny_policy, kind):
    with pytest.raises(InputError, match=r"(`reply`|`step`) raised ConnectionError \(.*test_turns.py, line \d+\)"):
        drawn(tiny_policy, kind(gone))


@pytest.mark.parametrize("turns", [2, 1000])
def test_an_episode_that_outgrows_the_context_ends_in_an_error_also_with_rotary_positions(tiny_policy, turns):
    """Of 64 tokens. Otherwise one that never ends runs for ever."""
    said = [11] * (70 if turns == 2 else 2)
    with pytest.raises(InputError, match=r"grown to \d+ tokens with what the other side said, .* positions for 64"):
        drawn(tiny_policy, Dialogue(PROMPTS, lambda dialogues: [said] * len(dialogues), turns=turns))


@pytest.mark.parametrize("environment", [Whole(first=()), Whole(first="hello"), Bare(), object()])
def test_a_sampler_refuses_it_too(tiny_policy, environment):
    with pytest.raises(InputError, match=r"first|episode"):
        drawn(tiny_policy, environment, [Key(0, 0)])


class Silent:
    """An episode without `step`: the environment answers every turn."""

    first = (0, 5)


class OnlyReplying(Whole):
    def episode(self, key):
        return Silent()

    def reply(self, episodes, turns):
        return [Step((), float(len(turn.tokens)), Finish.TERMINATED) for turn in turns]


def test_where_reply_answers_every_turn_an_episode_needs_no_step(tiny_policy):
    refuse_unusable_environment(OnlyReplying())
    batch = drawn(tiny_policy, OnlyReplying(), [Key(0, 0, sample) for sample in range(3)])
    assert batch.rewards_BT.sum(dim=1).tolist() == batch.mask_BT.sum(dim=1).tolist()


def test_a_whole_environment_is_usable():
    refuse_unusable_environment(Whole(), 6, 64)
    refuse_unusable_environment(Language(PROMPTS))
    refuse_unusable_environment(Dialogue(PROMPTS, each_alone(answers)))
    assert len(Language(PROMPTS)) == len(Dialogue(PROMPTS, each_alone(answers))) == 3
