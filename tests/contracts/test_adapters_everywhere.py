"""Every place that takes a model takes an adapter's folder, of a policy or of a reward model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import peft
import pytest
import torch
import transformers
from tests.tiny_families import WORDS, byte_tokenizer, saved, write_data

from tutelage.cli import run_command
from tutelage.commands.chat import Chat, Talk
from tutelage.commands.doctor import Voices
from tutelage.data.errors import InputError
from tutelage.doctor.chart import chart_of
from tutelage.models.pretrained import load_causal_lm, load_sequence_classifier
from tutelage.policies.loading import load_policy
from tutelage.recipes.labelling import labeller_of
from tutelage.rewards.scoring import scorer
from tutelage.studio.look.lineage import kind_of
from tutelage.studio.play.models import Bench, Drawing
from tutelage.studio.voices import voices

CPU = torch.device("cpu")
KINDS = {
    "CAUSAL_LM": transformers.AutoModelForCausalLM,
    "SEQ_CLS": transformers.AutoModelForSequenceClassification,
    "TOKEN_CLS": transformers.AutoModelForTokenClassification,
}


def adapter(folder, base, task, base_name=None):
    """An adapter that has learned something, as peft saves it, in `folder`."""
    torch.manual_seed(0)
    options = {} if task == "CAUSAL_LM" else {"num_labels": 1}
    model = KINDS[task].from_pretrained(base, **options)
    layers = "all-linear" if task == "CAUSAL_LM" else ["q_proj", "v_proj", "query", "value"]
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=2, task_type=task, target_modules=layers))
    with torch.no_grad():
        for each in wrapped.parameters():
            if each.requires_grad:
                each.normal_(0.0, 0.2)
    wrapped.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    if base_name is not None:
        point_at(folder, base_name)
    return folder


def point_at(folder, base_name):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": base_name}))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("everywhere")
    write_data(folder)
    saved("llama", folder / "base")
    adapter(folder / "policy", folder / "base", "CAUSAL_LM", "../base")
    adapter(folder / "reward", folder / "base", "SEQ_CLS", "/gone/since/base")  # found beside it, by its name
    rows = [{"prompt": f"{a} {b} "} for a in WORDS for b in WORDS]
    (folder / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


SAMPLED = ["--max-new-tokens", "6"]
TINY_PPO = ["--steps", "1", "--trajectories", "8", "--epochs", "1", "--minibatches", "1"]
COMMANDS = {
    "sft": ["sft", "--model", "policy", "--data", "demos.jsonl", "--epochs", "1"],
    "sft --lora-rank": ["sft", "--model", "policy", "--data", "demos.jsonl", "--epochs", "1", "--lora-rank", "2"],
    "ppo": ["ppo", "--model", "policy", "--reward", "reward", "--data", "prompts.jsonl", *SAMPLED, *TINY_PPO],
    "ppo --lora-rank": [
        *["ppo", "--model", "policy", "--reward", "reward", "--data", "prompts.jsonl", *SAMPLED, *TINY_PPO],
        *["--lora-rank", "2", "--held-out-reward", "reward"],
    ],
    "reward-model": ["reward-model", "--model", "policy", "--data", "pairs.jsonl", "--held-out-fraction", "0.3"],
    "reward-model --keep-head": [
        *["reward-model", "--model", "reward", "--keep-head", "--data", "pairs.jsonl", "--held-out-fraction", "0.3"],
    ],
    "reward-model --normalise-on samples": [
        *["reward-model", "--model", "policy", "--data", "pairs.jsonl", "--held-out-fraction", "0.3"],
        *["--normalise-on", "samples", "--normalise-new-tokens", "6"],
    ],
    "best-of-n": [
        "best-of-n",
        "--model",
        "policy",
        "--reward",
        "reward",
        "--data",
        "prompts.jsonl",
        "--n",
        "2",
        *SAMPLED,
    ],
    "evaluate": [
        *["evaluate", "--model", "policy", "--baseline", "policy", "--reward", "reward", "--data", "prompts.jsonl"],
        *SAMPLED,
    ],
    "evaluate policies": [
        *["evaluate", "policies", "policy", "base", "--judge", "reward-model", "--reward", "reward"],
        *["--data", "prompts.jsonl", *SAMPLED],
    ],
    "evaluate reward-model": ["evaluate", "reward-model", "--model", "reward", "--data", "pairs.jsonl"],
    "evaluate learning-curve": [
        *["evaluate", "learning-curve", "--model", "policy", "--data", "pairs.jsonl", "--held-out-fraction", "0.3"],
        *["--sizes", "2", "4", "8"],
    ],
    "loop": [
        *["loop", "--model", "policy", "--data", "many.jsonl", "--labeller", "reward", "--evaluation-prompts", "6"],
        *["--rounds", "1", "--labels-per-round", "8", "--max-new-tokens", "6", "--ppo.steps", "1"],
        *["--ppo.trajectories", "8", "--ppo.minibatches", "1"],
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_takes_an_adapter_for_a_model(name, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    out = name.replace(" ", "")
    code = run_command([*COMMANDS[name], "--out", out, *([] if name == "loop" else ["--device", "cpu"])])
    assert code == 0, capsys.readouterr().err
    if name.startswith("ppo"):
        assert "fail" not in capsys.readouterr().out


def test_places_without_a_run_take_an_adapter(place, monkeypatch):
    """chat, the talks of label, the studio's bench, a judge of the loop."""
    monkeypatch.chdir(place)
    assert isinstance(
        Talk.of(Chat("policy", max_new_tokens=4, device="cpu")).answer("my lamp ", lambda text: None), str
    )
    (voice,) = voices(["policy"], 4, 1.0, "cpu")
    assert isinstance(voice.reply([{"role": "user", "content": "my lamp "}], 0), str)
    bench = Bench("cpu")
    said = [{"role": "user", "content": "my lamp "}]
    assert len(bench.replies(place / "policy", said, Drawing(1.0, 1.0, 4, 0, "{message}"), 2)[1]) == 2
    assert len(bench.scores(place / "reward", "my lamp ", "{message}", ["yes", "no"])) == 2
    assert labeller_of("reward", "", 0) is not None


def test_the_studio_tells_what_an_adapter_is_of(place, tmp_path):
    for name, kind in (("policy", "policy"), ("reward", "reward model")):
        shutil.copytree(place / name, tmp_path / name / "model")
        assert kind_of(tmp_path / name, {}) == kind


def test_an_encoder_with_an_adapter_is_a_reward(tmp_path):
    """BERT below a SEQ_CLS adapter reads whole texts, as a whole BERT classifier does."""
    saved("bert", tmp_path / "base", transformers.AutoModel)
    adapter(tmp_path / "reward", tmp_path / "base", "SEQ_CLS", "../base")
    codec = load_policy(str(saved("llama", tmp_path / "policy")), CPU)[1]
    score, classifier = scorer(str(tmp_path / "reward"), codec, CPU)
    base = KINDS["SEQ_CLS"].from_pretrained(tmp_path / "base", num_labels=1)
    theirs = peft.PeftModel.from_pretrained(base, str(tmp_path / "reward")).eval()
    tokens = byte_tokenizer()("my lamp yes", return_tensors="pt")
    with torch.no_grad():
        wanted = float(theirs(input_ids=tokens["input_ids"]).logits)
    assert score.numbers(["my lamp "], ["yes"]) == pytest.approx([wanted], abs=1e-4) and classifier is None


def gone(folder):
    point_at(folder / "tuned", str(folder / "nowhere" / "lost"))


def another_shape(folder):
    saved("llama", folder / "other", hidden_size=48)
    point_at(folder / "tuned", "other")


def no_base(folder):
    point_at(folder / "tuned", None)


def another_task(folder):
    adapter(folder / "tuned", folder / "base", "TOKEN_CLS", "../base")


def a_reward_model(folder):
    adapter(folder / "tuned", folder / "base", "SEQ_CLS", "../base")


def on_an_adapter(folder):
    shutil.copytree(folder / "tuned", folder / "below")
    point_at(folder / "tuned", "../below")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (gone, "there is no such folder"),
        (another_shape, "have other shapes than the layers of"),
        (no_base, "does not name the model below it"),
        (another_task, "an adapter of the task TOKEN_CLS, and a language model"),
        (a_reward_model, "an adapter of the task SEQ_CLS, and a language model"),
        (on_an_adapter, "another one stands on it"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_an_adapter_that_cannot_be_used_is_one_sentence(place, tmp_path, change, expected, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("base", "policy"):
        shutil.copytree(place / name, tmp_path / {"policy": "tuned"}.get(name, name))
    change(tmp_path)
    flags = [[], ["--lora-rank", "2"]]
    for rank in flags:
        assert (
            run_command(["sft", "--model", "tuned", "--data", str(place / "demos.jsonl"), "--out", "out", *rank]) == 2
        )
        said = capsys.readouterr().err
        assert expected in said and "Traceback" not in said and said.strip().count("\n") == 0, said
    with pytest.raises(InputError):
        load_causal_lm("tuned")


def test_an_adapter_of_another_task_is_no_reward(place, tmp_path):
    adapter(tmp_path / "tagger", place / "base", "TOKEN_CLS", str(place / "base"))
    with pytest.raises(InputError, match=r"task TOKEN_CLS, and a reward model \(SEQ_CLS\) is expected"):
        scorer(str(tmp_path / "tagger"), load_policy(str(place / "base"), CPU)[1], CPU)
    with pytest.raises(InputError, match="task TOKEN_CLS"):
        load_sequence_classifier(str(tmp_path / "tagger"))


def test_the_doctor_reads_a_policy_that_is_an_adapter(place, monkeypatch):
    """--deployed compares what is served with RUN/model and its reference."""
    monkeypatch.chdir(place)
    if not (place / "ppo--lora-rank").is_dir():
        command = [*COMMANDS["ppo --lora-rank"], "--out", "ppo--lora-rank", "--device", "cpu", "--skip-preflight"]
        assert run_command(command) == 0
    folders = {"policy": "ppo--lora-rank/model", "reference": "policy", "reward": str(Path("reward"))}
    read = Voices.of(folders, chart_of(Path("ppo--lora-rank"))).read([("my lamp ", "yes"), ("my cup ", "no")])
    assert set(read.numbers) == {"policy_excess", "reference_excess", "score"}
