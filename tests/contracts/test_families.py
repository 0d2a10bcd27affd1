"""Any causal language model of transformers is trained and sampled; what is not causal is refused in one sentence."""

from __future__ import annotations

import pytest
import torch
import transformers
from tests.tiny_families import byte_tokenizer, saved, write_data

from tutelage.cli import run_command
from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec, written
from tutelage.environments.language import Language
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.models.classifiers import OURS
from tutelage.models.lora import with_lora
from tutelage.models.pretrained import load_causal_lm, load_sequence_classifier, load_tokenizer
from tutelage.policies.language import LanguagePolicy
from tutelage.rewards.language import Heads, RewardModel, start_head
from tutelage.rewards.scoring import scorer
from tutelage.trajectory import Batch, Key

CPU = torch.device("cpu")
CAUSAL = ["llama", "gpt2", "cohere", "granite", "codegen", "xglm", "lfm2", "mamba", "rwkv"]
WITHOUT_A_CLASSIFIER = ["cohere", "granite", "codegen", "xglm", "lfm2", "mamba", "rwkv"]
RELATIVE = ["llama", "cohere", "granite", "codegen"]  # positions: others need them given where padding is on the left
TEXTS = [("my lamp ", "a new lamp"), ("my cup ", "no")]


def rows(codec):
    return Batch.of([written(*codec.pair(*each)) for each in TEXTS])


@pytest.mark.parametrize("family", CAUSAL)
def test_sampler_and_forward_pass_agree(family, tmp_path):
    """In every family, with an adapter that has learned, and past the step from which operations are recorded."""
    model = load_causal_lm(str(saved(family, tmp_path)))
    policy = LanguagePolicy(with_lora(model, 2))
    with torch.no_grad():
        for name, each in policy.named_parameters():
            if "lora_B" in name:
                each.normal_(0.0, 0.1)
        sampler = NativeSampler(policy, [2], 0, SamplingSettings(20))
        batch = sampler.sample(Language([[5, 6, 7], [8, 9]]), [Key(0, 0), Key(0, 1)])
        worst = 0.0
        for row in range(2):
            length = int(batch.lengths_B[row])
            tokens = batch.observations[row, : length + 1]
            log_probs = policy.model(input_ids=tokens[None]).logits[0, :-1].log_softmax(-1)
            gap = log_probs.gather(1, tokens[1:, None])[:, 0] - batch.behaviour_log_probs_BT[row, :length]
            worst = max(worst, float(gap[batch.mask_BT[row, :length]].abs().max()))
    assert worst <= 1e-4


@pytest.mark.parametrize("family", CAUSAL)
def test_every_family_has_a_reward_model_that_loads_again(family, tmp_path):
    """Also in transformers, whose scores of a padded batch are ours; its own class where it has one."""
    classifier = load_sequence_classifier(str(saved(family, tmp_path / "model")))
    start_head(classifier, 0)
    model, codec = RewardModel(classifier), Codec(byte_tokenizer())
    model.save(tmp_path / "reward", codec)
    config = transformers.AutoConfig.from_pretrained(tmp_path / "reward")
    assert config.architectures[0].endswith(OURS) == (family in WITHOUT_A_CLASSIFIER)
    again = load_sequence_classifier(str(tmp_path / "reward"))
    with torch.no_grad():
        ours = model(rows(codec))
        assert torch.allclose(RewardModel(again)(rows(codec)), ours, atol=1e-6)
        tokenizer = load_tokenizer(str(tmp_path / "reward"))
        texts = [prompt + reply + "</s>" for prompt, reply in TEXTS]
        for side in ("right", "left") if family in RELATIVE else ("right",):
            tokenizer.padding_side = side
            scores = again(**tokenizer(texts, padding=True, return_tensors="pt")).logits[:, 0]
            assert torch.allclose(scores, ours, atol=1e-4)
    assert ours[0] != ours[1]


@pytest.mark.slow
def test_a_reward_model_of_ours_is_a_reward_and_starts_a_value_model(tmp_path):
    """Cohere has no classifier in transformers: all the way through the command line."""
    saved("cohere", tmp_path / "model")
    write_data(tmp_path)
    judge = ["--data", str(tmp_path / "pairs.jsonl"), "--batch-size", "8", "--held-out-fraction", "0.3"]
    where = ["--model", str(tmp_path / "model"), "--device", "cpu"]
    assert run_command(["reward-model", *where, *judge, "--out", str(tmp_path / "reward")]) == 0
    codec = Codec(load_tokenizer(str(tmp_path / "model")))
    score, critic = scorer(str(tmp_path / "reward" / "model"), codec, CPU)
    assert critic is not None and score(rows(codec)).sum(dim=1).isfinite().all()


def test_layers_that_are_more_than_a_product_get_no_adapter(tmp_path):
    """Llama 4's router returns a pair, and its trunk is not where transformers' name for it says."""
    model = load_causal_lm(str(saved("llama4_text", tmp_path)))
    policy = LanguagePolicy(with_lora(model, 2))
    adapted = {name.split(".lora_A")[0] for name, _ in policy.named_parameters() if "lora_A" in name}
    assert any(name.endswith("q_proj") for name in adapted) and not any("router" in name for name in adapted)
    policy.log_probs(rows(Codec(byte_tokenizer()))).sum().backward()


KINDS = {
    "bert": (transformers.AutoModelForMaskedLM, "not causal"),
    "t5": (transformers.AutoModelForSeq2SeqLM, r"encoder-decoder \(t5\)"),
    "bart": (transformers.AutoModelForSeq2SeqLM, r"encoder-decoder \(bart\)"),
}


@pytest.mark.parametrize("family", KINDS)
def test_what_is_not_causal_is_refused_by_every_command(family, tmp_path, capsys):
    """Case 11: BERT was trained, and the sampler drew from it."""
    kind, reason = KINDS[family]
    saved(family, tmp_path / "model", kind)
    write_data(tmp_path)
    model = ["--model", str(tmp_path / "model")]
    reward = ["--reward", f"{__name__}:length"]
    commands = [
        ["sft", *model, "--data", f"{tmp_path}/demos.jsonl"],
        ["reward-model", *model, "--data", f"{tmp_path}/pairs.jsonl"],
        ["ppo", *model, "--data", f"{tmp_path}/prompts.jsonl", *reward],
        ["best-of-n", *model, "--data", f"{tmp_path}/prompts.jsonl", *reward],
        ["evaluate", *model, "--baseline", str(tmp_path / "model"), "--data", f"{tmp_path}/prompts.jsonl", *reward],
        ["chat", str(tmp_path / "model")],
    ]
    for number, command in enumerate(commands):
        place = [] if command[0] == "chat" else ["--out", str(tmp_path / f"{number}")]
        assert run_command([*command, *place, "--device", "cpu"]) == 2
        said = capsys.readouterr().err
        assert said.count("tutelage: ") == 1 and "Traceback" not in said
        with pytest.raises(InputError, match=reason):
            raise InputError(said)


def length(prompts, responses):
    return [float(len(response)) for response in responses]


def test_an_encoder_that_looks_back_only_is_causal(tmp_path):
    """BERT with is_decoder is a language model like any other."""
    model = load_causal_lm(str(saved("bert", tmp_path, is_decoder=True)))
    assert LanguagePolicy(model).log_probs(rows(Codec(byte_tokenizer()))).isfinite().all()


@pytest.mark.slow
def test_a_classifier_of_another_architecture_is_a_reward(tmp_path, capsys):
    """Case 11: a BERT classifier as --reward raised AttributeError. It reads whole texts, by its own forward pass."""
    saved("bert", tmp_path / "bert", transformers.AutoModelForSequenceClassification, num_labels=1)
    saved("llama", tmp_path / "model")
    write_data(tmp_path)
    codec = Codec(load_tokenizer(str(tmp_path / "model")))
    score, critic = scorer(str(tmp_path / "bert"), codec, CPU)
    bert = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "bert")
    tokenizer = byte_tokenizer()
    with torch.no_grad():
        alone = [bert(**tokenizer(prompt + reply, return_tensors="pt")).logits[0, 0] for prompt, reply in TEXTS]
    assert critic is None
    assert torch.allclose(score(rows(codec)).sum(dim=1), torch.stack(alone), atol=1e-5)
    prompts = ["--data", f"{tmp_path}/prompts.jsonl", "--reward", f"{tmp_path}/bert", "--max-new-tokens", "8"]
    model = ["--model", f"{tmp_path}/model", "--device", "cpu"]
    assert run_command(["best-of-n", *model, *prompts, "--n", "2", "--out", f"{tmp_path}/best"]) == 0
    compared = ["evaluate", *model, "--baseline", f"{tmp_path}/model", *prompts, "--out", f"{tmp_path}/compared"]
    assert run_command(compared) == 0


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_classifier_of_two_labels_is_refused_with_what_to_do(family, tmp_path):
    saved(family, tmp_path, transformers.AutoModelForSequenceClassification, num_labels=2)
    codec = Codec(load_tokenizer(str(tmp_path)))
    with pytest.raises(InputError, match=r"classifier of 2 labels \(LABEL_0, LABEL_1\).*module:function"):
        scorer(str(tmp_path), codec, CPU)
    if family == "llama":  # its trunk may start a reward model all the same: the head is fresh
        assert load_sequence_classifier(str(tmp_path), fresh_head=True).score.weight.shape[0] == 1


def test_a_classifier_without_its_head_is_refused(tmp_path):
    """Its scores would be random."""
    saved("llama", tmp_path / "model")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "model", num_labels=1)
    weights = {name: each for name, each in model.state_dict().items() if not name.startswith("score")}
    model.save_pretrained(tmp_path / "reward", state_dict=weights)
    byte_tokenizer().save_pretrained(tmp_path / "reward")
    with pytest.raises(InputError, match=r"lack 1 tensors of a reward model \(score.weight\)"):
        load_sequence_classifier(str(tmp_path / "reward"))


@pytest.mark.parametrize("verb", ["sft", "reward-model", "best-of-n", "chat"])
def test_a_tokenizer_larger_than_the_embedding_is_refused_with_what_to_do(verb, tmp_path, capsys):
    """It ended in an IndexError at the first text with such a token."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>", "<|end|>"]})
    saved("llama", tmp_path / "model", tokenizer=tokenizer)
    write_data(tmp_path)
    model, data = str(tmp_path / "model"), {"sft": "demos", "reward-model": "pairs"}.get(verb, "prompts")
    flags = ["--reward", f"{__name__}:length"] if verb == "best-of-n" else []
    arguments = ["--model", model, "--data", f"{tmp_path}/{data}.jsonl", *flags, "--out", f"{tmp_path}/out"]
    assert run_command([verb, *([model] if verb == "chat" else arguments), "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "2 tokens that the model does not know: <|turn|> (259), <|end|> (260)" in said
    assert "the embedding has 259 rows" in said and "resize_token_embeddings(261)" in said


ONE = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>"}
TOKENIZERS = {
    "one special token, as in GPT-2": ONE,
    "padding is the end of sequence": {**ONE, "pad_token": "</s>"},
    "an unknown token to spare": {"eos_token": "</s>", "unk_token": "<s>"},
    "padding of its own": {"eos_token": "</s>", "pad_token": "<pad>"},
}


@pytest.mark.parametrize("special", TOKENIZERS.values(), ids=TOKENIZERS)
@pytest.mark.parametrize("heads", [1, 2])
def test_a_saved_reward_model_batches_as_it_is(special, heads, tmp_path):
    """Case 20: transformers refused a batch of two, as no padding token was defined."""
    saved("gpt2", tmp_path / "model", tokenizer=byte_tokenizer(**special), pad_token_id=None)
    classifier = load_sequence_classifier(str(tmp_path / "model"), labels=heads)
    start_head(classifier, 0)
    codec = Codec(load_tokenizer(str(tmp_path / "model")))
    before = {name: each.clone() for name, each in classifier.state_dict().items()}
    model = Heads(classifier)
    model.save(tmp_path / "reward", codec)
    assert codec.tokenizer.get_vocab() == byte_tokenizer().get_vocab()  # the policy's tokenizer is as it was
    assert all(torch.equal(each, before[name]) for name, each in classifier.state_dict().items())
    assert classifier.config.vocab_size == len(classifier.get_input_embeddings().weight)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "reward")
    assert theirs.config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id
    texts = [prompt + reply + tokenizer.eos_token for prompt, reply in TEXTS]
    for side in ("right", "left"):
        tokenizer.padding_side = side
        with torch.no_grad():
            batch = tokenizer(texts, padding=True, return_tensors="pt")
            if side == "left":  # GPT-2's positions are counted from the first column unless they are given
                batch["position_ids"] = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
            found = theirs(**batch).logits
        assert torch.allclose(found, model(rows(codec)).view(2, heads), atol=1e-4)
    score, _ = scorer(str(tmp_path / "reward"), codec, CPU) if heads == 1 else (None, None)
    assert score is None or torch.allclose(score(rows(codec)).sum(dim=1), model(rows(codec))[:, 0], atol=1e-4)
