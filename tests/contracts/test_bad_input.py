"""What cannot be used gets one clear message and exit code 2: no traceback, nothing overwritten."""

from __future__ import annotations

import errno
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from tests.conftest import letters_tokenizer

from tutelage.cli import run_command
from tutelage.models import pretrained
from tutelage.models.memory import weight_bytes
from tutelage.runs import files as run_files


def refused(capsys, command, *expected):
    """Runs the command, which must fail as an input error; returns the message."""
    assert run_command([str(part) for part in command]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("tutelage: ") and "Traceback" not in message
    for part in expected:
        assert str(part) in message, message
    return message


@pytest.fixture
def sft(model_folder, files):
    return ["sft", "--model", model_folder, "--steps", "2", "--out", files / "out", "--data"]


@pytest.fixture
def ppo(model_folder, files):
    command = ["ppo", "--model", model_folder, "--data", files / "prompts.jsonl", "--out", files / "out"]
    return [*command, "--max-new-tokens", "5", "--steps", "3", "--trajectories", "4", "--epochs", "1", "--reward"]


def test_a_missing_file(capsys, sft, files):
    refused(capsys, [*sft, files / "nowhere.jsonl"], "nowhere.jsonl")


def test_an_empty_file(capsys, sft, files):
    (files / "empty.jsonl").write_text("")
    refused(capsys, [*sft, files / "empty.jsonl"], "empty.jsonl", "empty")


def test_wrong_columns(capsys, sft, files):
    (files / "wrong.jsonl").write_text(json.dumps({"question": "a", "answer": "b"}) + "\n")
    refused(capsys, [*sft, files / "wrong.jsonl"], "wrong.jsonl", "question", "completion")


def test_a_row_that_is_not_json(capsys, sft, files):
    (files / "broken.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{"prompt": \n')
    refused(capsys, [*sft, files / "broken.jsonl"], "broken.jsonl", "2")


def test_a_prompt_that_leaves_no_room(capsys, ppo, files):
    (files / "prompts.jsonl").write_text(json.dumps({"prompt": "a" * 62}) + "\n")
    refused(capsys, [*ppo, f"{__name__}:ones"], "62", "64", "--max-new-tokens")


def test_chosen_equal_to_rejected(capsys, model_folder, files):
    (files / "same.jsonl").write_text(json.dumps({"prompt": "a", "chosen": "b", "rejected": "b"}) + "\n")
    command = ["reward-model", "--model", model_folder, "--data", files / "same.jsonl", "--out", files / "out"]
    refused(capsys, command, "same.jsonl", "chosen", "rejected")


def test_a_tokenizer_without_an_end(capsys, sft, model_folder, files):
    letters_tokenizer(eos_token=None).save_pretrained(model_folder)
    refused(capsys, [*sft, files / "demonstrations.jsonl"], "end-of-sequence", "eos_token")


def test_an_unknown_model_folder(capsys, files):
    command = ["sft", "--model", files / "no-model", "--data", files / "demonstrations.jsonl", "--out", files / "out"]
    refused(capsys, command, "no-model", "folder")


def test_a_folder_that_is_no_model(capsys, files):
    (files / "thing").mkdir()
    command = ["sft", "--model", files / "thing", "--data", files / "demonstrations.jsonl", "--out", files / "out"]
    refused(capsys, command, "thing", "config.json")


def ones(prompts, responses):
    return [1.0] * len(responses)


def raises(prompts, responses):
    raise KeyError("no such word")


def not_a_number(prompts, responses):
    return [float("nan")] * len(responses)


def too_few(prompts, responses):
    return [1.0]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("raises", "raised KeyError"),
        ("not_a_number", "nan"),
        ("too_few", "1 numbers for"),
        ("absent", "absent"),
    ],
)
def test_a_reward_function_that_fails(capsys, ppo, function, expected):
    refused(capsys, [*ppo, f"{__name__}:{function}"], function, expected)


def test_a_module_that_cannot_be_imported(capsys, ppo):
    refused(capsys, [*ppo, "no_such_module:score"], "no_such_module", "module:function")


def test_a_reward_model_of_other_tokens_scores_the_texts(capsys, ppo, files, tiny_classifier):
    """It was refused, although a reward model of another family is what people bring."""
    tiny_classifier.save_pretrained(files / "other")
    tokenizer = letters_tokenizer()
    tokenizer.add_tokens(["zz"])
    tokenizer.save_pretrained(files / "other")
    assert run_command([str(part) for part in [*ppo, files / "other", "--steps", "1"]]) == 0
    said = capsys.readouterr().out
    assert said.count("has another tokenizer than the policy: it scores the texts of prompt and reply") == 1
    assert "the reward reads the policy's own tokens, or texts" in said


def test_rules_on_a_reward_model_of_other_tokens_are_still_refused(capsys, ppo, files, tiny_classifier):
    tiny_classifier.config.score_reads = "rule"
    tiny_classifier.save_pretrained(files / "other")
    tokenizer = letters_tokenizer()
    tokenizer.add_tokens(["zz"])
    tokenizer.save_pretrained(files / "other")
    (files / "rules.txt").write_text("no b")
    refused(capsys, [*ppo, files / "other", "--rules", files / "rules.txt"], "another tokenizer than the policy")
    assert not (files / "out").exists()


def test_an_existing_folder_is_not_touched(capsys, sft, files):
    (files / "out").mkdir()
    (files / "out" / "precious.txt").write_text("mine")
    refused(capsys, [*sft, files / "demonstrations.jsonl"], "out", "no run")
    refused(capsys, [*sft, files / "demonstrations.jsonl", "--overwrite"], "out", "no run")
    assert [path.name for path in (files / "out").iterdir()] == ["precious.txt"]


def test_a_finished_run_is_not_overwritten_unasked(capsys, sft, files):
    command = [str(part) for part in [*sft, files / "demonstrations.jsonl"]]
    assert run_command(command) == 0
    before = (files / "out" / "summary.json").read_bytes()
    refused(capsys, command, "--resume", "--overwrite")
    assert (files / "out" / "summary.json").read_bytes() == before
    assert run_command([*command, "--resume"]) == 0  # nothing to do
    assert run_command([*command, "--overwrite"]) == 0
    refused(capsys, [*command, "--resume", "--learning-rate", "0.5"], "settings")


@pytest.mark.parametrize("name", ["events.jsonl", "summary.json"])
def test_a_full_disk(capsys, sft, files, monkeypatch, name):
    """The file layer reports ENOSPC at this file: one message, and every JSON file that is there is whole."""
    whole = run_files.Path.open

    def full(self, mode="r", *arguments, **options):
        if self.name.removesuffix(".part") == name and mode != "r":
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(self, mode, *arguments, **options)

    monkeypatch.setattr(run_files.Path, "open", full)
    refused(capsys, [*sft, files / "demonstrations.jsonl"], "no space left", "--resume")
    for path in (files / "out").rglob("*.json"):
        json.loads(path.read_text())


def test_a_disk_that_is_full_when_the_model_is_saved(capsys, sft, files, monkeypatch, tiny_llama):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    command = [*sft, files / "demonstrations.jsonl"]
    with monkeypatch.context() as patched:
        patched.setattr(type(tiny_llama), "save_pretrained", full)
        refused(capsys, command, "no space left", "model", "--resume")
    steps = (files / "out" / "events.jsonl").read_text().splitlines()
    assert run_command([*map(str, command), "--resume"]) == 0  # nothing was lost: it goes on behind the last step
    assert (files / "out" / "events.jsonl").read_text().splitlines() == steps
    assert (files / "out" / "model" / "config.json").exists()


@pytest.mark.parametrize("verb", ["sft", "ppo"])
def test_a_disk_without_room_for_the_model_is_said_before_training(capsys, sft, ppo, files, monkeypatch, verb):
    """It was said after the last step."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    command = [*sft, files / "demonstrations.jsonl"] if verb == "sft" else [*ppo, f"{__name__}:ones"]
    message = refused(capsys, command, "no space for the run in", "a checkpoint", "0.00 GiB are free", "--out")
    assert str(files / "out") in message and not (files / "out").exists()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_larger_than_memory_is_refused_before_it_is_loaded(
    capsys, sft, model_folder, files, monkeypatch, tiny_llama, dtype
):
    """The loader filled the memory, and the system killed the process."""
    size = sum(each.numel() for each in tiny_llama.parameters()) * {"float32": 4, "bfloat16": 2}[dtype]
    assert weight_bytes(str(model_folder), getattr(torch, dtype)) == size
    monkeypatch.setattr(pretrained, "free_bytes", lambda device: size - 1)
    monkeypatch.setattr(type(tiny_llama), "from_pretrained", lambda *given, **options: pytest.fail("it was loaded"))
    message = refused(capsys, [*sft, files / "demonstrations.jsonl", "--dtype", dtype], model_folder, "GiB of memory")
    assert ("--dtype bfloat16" in message) == (dtype == "float32")
    assert not (files / "out").exists()


def test_bytes_of_pickled_weights_are_those_of_their_files(tmp_path):
    names = {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": names}))
    for name in names.values():
        (tmp_path / name).write_bytes(b"0" * 300)
    assert weight_bytes(str(tmp_path), torch.float32) == 600
    (tmp_path / "pytorch_model.bin.index.json").write_text("[]")
    assert weight_bytes(str(tmp_path), torch.float32) == 0  # the loader says what is damaged


ALTERNATES = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}{{ m['content'] }}{% endfor %}"
)


def test_a_chat_template_that_fails_on_consecutive_roles(capsys, sft, model_folder, files):
    letters_tokenizer(chat_template=ALTERNATES).save_pretrained(model_folder)
    talk = [("user", "ab "), ("user", "cd "), ("assistant", "a")]
    row = {"messages": [{"role": role, "content": content} for role, content in talk]}
    (files / "talks.jsonl").write_text(json.dumps(row) + "\n")
    refused(capsys, [*sft, files / "talks.jsonl"], "talks.jsonl", "line 1", "roles must alternate")
    assert not (files / "out").exists()


def test_the_preflight_names_a_chat_template_that_wants_a_system_message(capsys, ppo, model_folder, files):
    """jinja2's own error came through as a traceback."""
    picky = "{% if messages[0]['role'] != 'system' %}{{ raise_exception('system first') }}{% endif %}"
    letters_tokenizer(chat_template=picky).save_pretrained(model_folder)
    refused(capsys, [*ppo, "tests.resuming:count_of_a"], "chat template comes round", "system first")


STOP_AT = iter(())


def interrupting(prompts, responses):
    """Ctrl-C while the second batch is scored: after the first one and the prompts that are looked at beside it."""
    if next(STOP_AT, None) == "now":
        raise KeyboardInterrupt
    return [1.0] * len(responses)


def test_ctrl_c_says_where_and_leaves_a_usable_folder(capsys, ppo, files, monkeypatch):
    monkeypatch.setattr(f"{__name__}.STOP_AT", iter(["go", "go", "now"]))
    command = [str(part) for part in [*ppo, f"{__name__}:interrupting", "--skip-preflight"]]
    assert run_command(command) == 130
    message = capsys.readouterr().err
    assert "step 1" in message and "--resume" in message and "Traceback" not in message
    assert json.loads((files / "out" / "state.json").read_text())["status"] == "interrupted"
    assert run_command([*command, "--resume"]) == 0
    assert json.loads((files / "out" / "state.json").read_text())["status"] == "finished"
    steps = [json.loads(line)["step"] for line in (files / "out" / "events.jsonl").read_text().splitlines()]
    assert steps == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "expected"),
    [("stepz: 3", "stepz"), ("steps: [1", "YAML"), ("learning_rate: fast", "number"), ("- 1", "setting: value")],
)
def test_a_settings_file_that_is_wrong(capsys, sft, files, content, expected):
    (files / "settings.yaml").write_text(content)
    refused(capsys, [*sft, files / "demonstrations.jsonl", "--config", files / "settings.yaml"], expected)


def test_an_unknown_verb(capsys):
    refused(capsys, ["learn"], "learn", "sft")
