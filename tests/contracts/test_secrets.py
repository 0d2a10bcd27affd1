"""Passwords, keys and tokens never land in a run's folder, whatever brought them there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.cli import main, run_command
from tutelage.data.secrets import MASK, masked
from tutelage.feedback.judges import Endpoint
from tutelage.runs.run import Run, as_plain

SECRETS = {
    "https://ann:hunter2222@host.example/v1": "hunter2222",
    "https://sometokenofmine@host.example/v1": "sometokenofmine",
    "postgresql://ann:hunter2222@db/labels": "hunter2222",
    "http://127.0.0.1:8000/v1?api_key=hunter2222&x=1": "hunter2222",
    "http://host/v1?x=1&access-token=hunter2222": "hunter2222",
    "hf_abcdefghijklmnopqrstuvwxyz": "hf_abcdefghijklmnopqrstuvwxyz",
    "sk-proj-abcdefghijklmnop": "sk-proj-abcdefghijklmnop",
    "ghp_abcdefghijklmnopqrstuvwx": "ghp_abcdefghijklmnopqrstuvwx",
    "AKIAABCDEFGHIJKLMNOP": "AKIAABCDEFGHIJKLMNOP",
    "Authorization: Bearer abcdefghijkl": "abcdefghijkl",
    "from the environment: open sesame 1": "open sesame 1",
}
PLAIN = ("http://127.0.0.1:8000/v1", "postgresql://ann@db/labels", "ann@host.example", "runs/demo", "a:b", "key", "s=1")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "open sesame 1")
    monkeypatch.setenv("SSH_KEY_FILE", "/home/ann/.ssh/id")


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_masked_once_and_for_all(text):
    assert SECRETS[text] not in masked(text) and MASK in masked(text)
    assert masked(masked(text)) == masked(text)
    assert "host" in masked(text) or "host" not in text  # what is no secret stays


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_secret_stays(text):
    assert masked(text) == text


@pytest.mark.slow
@given(st.text(max_size=80))
def test_masking_again_changes_nothing(text):
    assert masked(masked(text)) == masked(text)


@dataclass(frozen=True)
class Settings:
    labeller: str = ""
    many: tuple[str, ...] = ()
    inside: dict[str, Any] = field(default_factory=dict)


def test_settings_are_written_without_their_secrets():
    texts = tuple(SECRETS)
    written = json.dumps(as_plain(Settings(texts[0], texts, {"deep": [{"er": texts}]})))
    for secret in SECRETS.values():
        assert secret not in written


def written_in(folder) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def rewarded(prompts, responses):
    return [float(len(each)) for each in responses]


def test_no_file_of_a_run_holds_a_secret(model_folder, files, monkeypatch, capsys):
    """Of the environment, of a setting, of a settings file."""
    for name in ("HF_TOKEN", "OPENAI_API_KEY", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD"):
        monkeypatch.setenv(name, f"value-of-{name.lower()}")
    (files / "settings.yaml").write_text("steps: 2\ndemonstrations: ''\n")
    command = ["ppo", "--model", str(model_folder), "--data", str(files / "prompts.jsonl"), "--trajectories", "4"]
    command += ["--reward", f"{__name__}:rewarded", "--max-new-tokens", "4", "--config", str(files / "settings.yaml")]
    assert run_command([*command, "--out", str(files / "out"), "--track", "tensorboard"]) == 0
    content = written_in(files / "out")
    assert b"value-of-" not in content and b"open sesame" not in content
    assert b"steps" in content


def test_a_judge_with_a_password_is_neither_written_nor_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tutelage.feedback.judges.AGAIN_AFTER_S", ())
    address = "http://ann:hunter2222@127.0.0.1:9/v1"
    command = ["demo", "--labeller", address, "--judge-model", "m", "--sft.steps", "1", "--demonstrations", "8"]
    command += ["--labels", "4", "--width", "16", "--layers", "1", "--out", str(tmp_path / "run")]
    assert run_command(command) == 2
    told = capsys.readouterr()
    assert "cannot be asked" in told.err and "hunter2222" not in told.err + told.out
    assert b"hunter2222" not in written_in(tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["labeller"] == f"http://ann:{MASK}@127.0.0.1:9/v1"
    with pytest.raises(SystemExit) as ended:
        main(["resume", str(tmp_path / "run")])
    assert ended.value.code == 2 and "give the same command again with --resume" in capsys.readouterr().err
    assert run_command([*command, "--resume"]) == 2
    assert "cannot be asked" in capsys.readouterr().err  # the same settings: it goes on with the password that is given


def test_a_run_with_a_masked_setting_is_the_same_run(tmp_path):
    Run.create(tmp_path / "run", Settings("http://a:b1234567@h/v1"))
    Run.create(tmp_path / "run", Settings("http://a:b1234567@h/v1"), resume=True)


def test_a_judge_says_its_address_without_the_password(monkeypatch):
    monkeypatch.setattr("tutelage.feedback.judges.AGAIN_AFTER_S", ())
    with pytest.raises(Exception, match="cannot be asked") as caught:
        Endpoint("http://ann:hunter2222@127.0.0.1:9/v1", "m")("p", "a", "b")
    assert "hunter2222" not in str(caught.value)
