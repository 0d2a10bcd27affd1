"""Several opinions as one score: members apart, heads on one trunk, named heads, rules in words; saved and loaded."""

from __future__ import annotations

import copy
import json
import math
from operator import itemgetter

import pytest
import torch
from tests.conftest import letters_tokenizer, llama_config
from transformers import AutoModelForSequenceClassification, LlamaForSequenceClassification

from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec, written
from tutelage.formulas import uncertainty
from tutelage.models.pretrained import load_sequence_classifier
from tutelage.policies.language import LanguagePolicy, ValueModel
from tutelage.rewards.ensemble import CombinedScore, Ensemble, load_ensemble
from tutelage.rewards.language import Heads, ModelScore, RewardModel, start_head
from tutelage.rewards.rules import RuleScore, read_rules
from tutelage.rewards.scoring import Judging, one_label, scorer
from tutelage.training.models import critic_of
from tutelage.trajectory import Batch

CODEC = Codec(letters_tokenizer(pad_token="<eos>"))
CPU = torch.device("cpu")
COMBINED = (
    uncertainty.mean,
    uncertainty.worst_case,
    lambda scores: uncertainty.uncertainty_weighted(scores, 10.0),
)


def classifier(seed, labels=1):
    torch.manual_seed(seed)
    made = LlamaForSequenceClassification(llama_config(num_labels=labels)).eval()
    start_head(made, seed)
    return made


@pytest.fixture
def batch():
    texts = ("a", "abc", "bca", "kkkk", "dd!")
    return Batch.of([written(*CODEC.pair("ab ", text)) for text in texts])


@pytest.mark.parametrize("combine", COMBINED)
@pytest.mark.parametrize("members", [1, 3, 5])
def test_identical_members_equal_one(batch, combine, members):
    one = RewardModel(classifier(1))
    several = CombinedScore(Ensemble([copy.deepcopy(one) for _ in range(members)]), combine)
    assert torch.allclose(several(batch), ModelScore(one)(batch), atol=1e-6)


def test_members_are_put_together_at_the_last_action(batch):
    models = [RewardModel(classifier(seed)) for seed in range(3)]
    alone = torch.stack([ModelScore(model)(batch) for model in models])
    for combine in COMBINED:
        score = CombinedScore(Ensemble(models), combine, episodes_at_once=2)(batch)
        assert torch.allclose(score, combine(alone) * (alone[0] != 0), atol=1e-5)
        assert score.shape == batch.mask_BT.shape
        assert score.gather(1, batch.last_action_B[:, None]).ne(0).all()


def test_caution_costs_where_members_disagree(batch):
    models = [RewardModel(classifier(seed)) for seed in range(4)]
    mean, least, uwo = (CombinedScore(Ensemble(models), each)(batch).sum(dim=1) for each in COMBINED)
    assert (least < mean).all() and (uwo < mean).all()


def test_every_member_is_normalised_on_the_same_sample(batch):
    ensemble = Ensemble([RewardModel(classifier(1)), Heads(classifier(2, labels=2))])
    with torch.no_grad():
        before = ensemble(batch)
        ensemble.normalise(before, mean=0.0, deviation=1.0)
        after = ensemble(batch)
    assert after.shape == (5, 3)
    assert after.mean(dim=0).tolist() == pytest.approx([0.0] * 3, abs=1e-5)
    assert after.std(dim=0, correction=0).tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    assert torch.equal(after.argsort(dim=0), before.argsort(dim=0))


def test_normalising_one_head_leaves_the_other(batch):
    model = Heads(classifier(2, labels=2))
    with torch.no_grad():
        before = model(batch)
        gain, shift = model.normalise(before[:, 1], mean=2.0, deviation=3.0, head=1)
        after = model(batch)
    assert torch.equal(after[:, 0], before[:, 0])
    assert torch.allclose(after[:, 1], gain * before[:, 1] + shift, atol=1e-5)
    assert float(after[:, 1].mean()) == pytest.approx(2.0, abs=1e-5)


def test_scores_of_heads_do_not_see_padding_or_neighbours(batch):
    model = Heads(classifier(2, labels=3))
    with torch.no_grad():
        together = model(batch)
        for row in range(len(batch)):
            assert torch.allclose(together[row], model(batch.select([row]))[0], atol=1e-5)


@pytest.mark.parametrize("shared", [False, True])
def test_saved_and_loaded_it_says_the_same(batch, tmp_path, shared):
    models = [Heads(classifier(4, labels=3))] if shared else [RewardModel(classifier(seed)) for seed in range(3)]
    ensemble = Ensemble(models)
    with torch.no_grad():
        ensemble.normalise(ensemble(batch), deviation=2.0)
        before = ensemble(batch)
        ensemble.save(tmp_path, CODEC)
        again = load_ensemble(str(tmp_path))
        assert torch.allclose(again(batch), before, atol=1e-6)
    index = json.loads((tmp_path / "ensemble.json").read_text())
    assert index == ({"members": ["member-0"], "heads": [3]} if shared else
                     {"members": ["member-0", "member-1", "member-2"], "heads": [1, 1, 1]})  # fmt: skip
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "member-0")
    with torch.no_grad():
        logits = theirs(input_ids=batch.select([1]).observations).logits[0]
    bias = torch.tensor(theirs.config.score_bias)
    assert torch.allclose(logits + bias, before[1, : len(logits)], atol=1e-5)


@pytest.mark.parametrize(
    "index", ["{", "[]", '{"members": []}', '{"members": [], "heads": []}', '{"members": ["a"], "heads": []}']
)
def test_a_damaged_index_is_an_input_error(tmp_path, index):
    (tmp_path / "ensemble.json").write_text(index)
    with pytest.raises(InputError, match=r"ensemble\.json"):
        load_ensemble(str(tmp_path))


def test_a_missing_member_is_named(tmp_path):
    (tmp_path / "ensemble.json").write_text('{"members": ["member-7"], "heads": [1]}')
    with pytest.raises(InputError, match="member-7"):
        load_ensemble(str(tmp_path))


@pytest.mark.parametrize(("combine", "index"), [("mean", 0), ("minimum", 1), ("uwo", 2)])
def test_a_folder_of_an_ensemble_is_a_score(batch, tmp_path, combine, index):
    ensemble = Ensemble([RewardModel(classifier(seed)) for seed in range(3)])
    ensemble.save(tmp_path, CODEC)
    score, start = scorer(str(tmp_path), CODEC, CPU, Judging(combine, uncertainty_coefficient=10.0))
    assert torch.allclose(score(batch), CombinedScore(ensemble, COMBINED[index])(batch), atol=1e-6)
    value = ValueModel(start)(batch).gather(1, batch.lengths_B[:, None])[:, 0]
    assert torch.allclose(value, ensemble.models[0](batch), atol=1e-5)  # a value model starts as the first member


def test_two_named_heads_score_by_the_first(batch, tmp_path):
    """Menick et al. 2022: the second head is there to learn by; what ranks is the preference."""
    model = Heads(classifier(3, labels=2))
    model.model.config.score_heads = ["preference", "supported"]
    with torch.no_grad():
        model.normalise(model(batch)[:, 0], mean=1.0)
        expected = model(batch)
    model.save(tmp_path, CODEC)
    score, start = scorer(str(tmp_path), CODEC, CPU)
    assert torch.allclose(score(batch).sum(dim=1), expected[:, 0], atol=1e-6)
    both = Heads(load_sequence_classifier(str(tmp_path), labels=2))
    assert torch.allclose(CombinedScore(both, itemgetter(1))(batch).sum(dim=1), expected[:, 1], atol=1e-6)
    value = ValueModel(start)(batch).gather(1, batch.lengths_B[:, None])[:, 0]
    assert torch.allclose(value, expected[:, 0], atol=1e-5)


def test_a_value_model_starts_from_the_mean_of_a_trunk_s_heads(batch, tiny_policy):
    model = Heads(classifier(3, labels=3))
    with torch.no_grad():
        model.normalise(model(batch)[:, 1], mean=1.0, head=1)
        expected = model(batch).mean(dim=1)
        critic = critic_of(tiny_policy, one_label(model))
        values = critic(batch).values_BS.gather(1, batch.lengths_B[:, None])[:, 0]
    assert torch.allclose(values, expected, atol=1e-5)


def odds_of(batch):
    """A classifier that finds a rule broken as often as its dialogue has the letter c (token 4), the rule included."""
    return (batch.observations == 4).sum(dim=1).float() - 1.0


def test_a_reply_is_judged_by_every_rule(batch):
    """Σ over tokens shows what the classifier read: prompt, reply, then the rule's text and the end of sequence."""
    read = []

    def seen(rows):
        read.extend(CODEC.text(row[: length + 1].tolist()) for row, length in zip(rows.observations, rows.lengths_B))
        return odds_of(rows)

    rules = ("no a", "not ccc")
    score = RuleScore(seen, CODEC, rules, uncertainty.mean)(batch)
    assert read[1] == "ab abcle no a" and len(read) == 10  # this tokenizer knows no R, u, colon or line
    sigma = [[1 / (1 + math.exp(c - 1)) for c in counts] for counts in ([0, 1, 1, 0, 0], [3, 4, 4, 3, 3])]
    kept = torch.tensor(sigma)
    assert torch.allclose(score.sum(dim=1), kept.mean(dim=0), atol=1e-5)
    worst = RuleScore(odds_of, CODEC, rules, uncertainty.worst_case, episodes_at_once=3)(batch)
    assert torch.allclose(worst.sum(dim=1), 1 - (1 - kept).amax(dim=0), atol=1e-5)
    assert (score.argmax(dim=1) == batch.last_action_B).all()


def test_a_rule_that_surely_broke_leaves_nothing_and_more_odds_never_help(batch):
    surely = RuleScore(lambda rows: torch.full((len(rows),), 1000.0), CODEC, ("a",), uncertainty.mean)(batch)
    assert surely.sum() == 0.0 and surely.isfinite().all()
    odds = torch.linspace(-3, 3, 5)
    score = RuleScore(lambda rows: odds[: len(rows)], CODEC, ("a",), uncertainty.mean)(batch).sum(dim=1)
    assert (score.diff() < 0).all()


def test_a_rule_classifier_s_folder_says_so_and_needs_rules(batch, tmp_path):
    model = RewardModel(classifier(5))
    model.model.config.score_reads = "rule"
    model.save(tmp_path / "rules", CODEC)
    RewardModel(classifier(5)).save(tmp_path / "plain", CODEC)
    (tmp_path / "rules.txt").write_text("no a\n\nnot b\nno a\n")
    (tmp_path / "rules.jsonl").write_text('{"rule": " no a"}\n')
    assert read_rules(str(tmp_path / "rules.txt")) == ("no a", "not b")
    assert read_rules(str(tmp_path / "rules.jsonl")) == ("no a",)
    folder, rules = str(tmp_path / "rules"), str(tmp_path / "rules.txt")
    score, start = scorer(folder, CODEC, CPU, Judging("minimum", rules=rules))
    assert start is None  # it reads another text than a value model would
    assert torch.allclose(score(batch), RuleScore(model, CODEC, ("no a", "not b"), uncertainty.worst_case)(batch))
    for name, judging, said in (
        ("rules", Judging(), "--rules FILE"),
        ("plain", Judging(rules=rules), "no classifier of rules"),
        ("rules", Judging("uwo", rules=rules), "uwo is for ensembles"),
        ("plain", Judging("minimum"), "needs several opinions"),
    ):
        with pytest.raises(InputError, match=said):
            scorer(str(tmp_path / name), CODEC, CPU, judging)
    (tmp_path / "bad.jsonl").write_text('{"law": "no a"}\n')
    with pytest.raises(InputError, match=r"bad\.jsonl, line 1.*rule"):
        read_rules(str(tmp_path / "bad.jsonl"))


def test_an_ensemble_of_other_tokens_scores_the_texts(batch, tmp_path):
    """Text by text what it says of the same episodes in its own tokens, cut-off replies without an end among them."""
    ensemble = Ensemble([RewardModel(classifier(seed)) for seed in (1, 2)])
    ensemble.save(tmp_path, CODEC)
    other = letters_tokenizer()
    other.add_tokens(["zz"])
    score, start = scorer(str(tmp_path), Codec(other), CPU, Judging("minimum"))
    own, _ = scorer(str(tmp_path), CODEC, CPU, Judging("minimum"))
    episodes = Batch.of([written([2, 3], [4, 5, 1]), written([6], [7, 8], ended=False)])
    assert start is None
    assert torch.allclose(score(episodes), own(episodes), atol=1e-6)
    assert float(score(episodes)[1].abs().sum()) > 0


def test_what_cannot_be_combined_is_refused(tmp_path, tiny_llama):
    with pytest.raises(InputError, match="needs several opinions"):
        scorer("math:sqrt", CODEC, CPU, Judging("uwo"))
    Ensemble([RewardModel(classifier(1))]).save(tmp_path / "ensemble", CODEC)
    with pytest.raises(InputError, match="is no classifier of rules"):
        scorer(str(tmp_path / "ensemble"), CODEC, CPU, Judging(rules="rules.txt"))
    tiny_llama.save_pretrained(tmp_path / "policy")
    CODEC.tokenizer.save_pretrained(tmp_path / "policy")
    with pytest.raises(InputError, match="language model"):
        scorer(str(tmp_path / "policy"), CODEC, CPU)
    assert LanguagePolicy(tiny_llama)  # which is what it is good for
