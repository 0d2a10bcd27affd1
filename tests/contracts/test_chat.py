"""`tutelage chat`: how it draws, what it shows as it comes, what ends an answer and what ends the talk."""

from __future__ import annotations

import json
import sys

import pytest
from tests.conftest import letters_tokenizer
from tokenizers import decoders

from tutelage.cli import run_command
from tutelage.commands.chat import Chat, Talk, as_prompt, lines
from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec
from tutelage.models.pretrained import load_causal_lm, load_tokenizer
from tutelage.studio import chat_prompts
from tutelage.studio.chat_sampling import ChatSampling, TextStream, chat_sampling

CHATML = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML


def with_generation(folder, **settings):
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return load_causal_lm(str(folder))


@pytest.mark.parametrize(
    ("own", "given", "drawn"),
    [
        ({}, {}, (0.7, 0, 0.9)),
        ({"temperature": 0.3}, {}, (0.3, 0, 0.9)),
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20}, {}, (0.6, 20, 0.95)),
        ({"temperature": 0.6, "top_p": 0.95}, {"temperature": 1.0, "top_p": 1.0}, (1.0, 0, 1.0)),
        ({"top_k": 20}, {"top_k": 0}, (0.7, 0, 0.9)),
        ({"temperature": 0.6}, {"temperature": 0.0}, (1.0, 1, 1.0)),
        ({"do_sample": False}, {}, (1.0, 1, 1.0)),
        ({"do_sample": False}, {"temperature": 0.5}, (0.5, 0, 0.9)),
    ],
)
def test_flags_win_over_the_models_own_settings_and_those_over_ours(model_folder, own, given, drawn):
    assert chat_sampling(with_generation(model_folder, **own), **given) == ChatSampling(*drawn)


@pytest.mark.parametrize("given", ["--temperature -1", "--temperature nan", "--top-k -1", "--top-p 0", "--top-p 1.5"])
def test_what_cannot_be_drawn_is_refused_before_the_model_is_loaded(capsys, given):
    assert run_command(["chat", "no/such/model", *given.split()]) == 2
    assert given.split()[0] in capsys.readouterr().err


def test_a_model_of_its_own_recommendation_draws_like_it(model_folder):
    with_generation(model_folder, temperature=0.25, top_p=0.5, top_k=3)
    talk = Talk.of(Chat(str(model_folder)))
    assert talk.sampler.policy.temperature == 0.25
    assert (talk.sampler.settings.top_k, talk.sampler.settings.top_p) == (3, 0.5)


# --- what is shown


def streamed(pieces, text, stops=()):
    shown = []
    stream = TextStream(text, shown.append, stops)
    for count in range(1, len(pieces) + 1):
        stream.update(pieces[:count])
    return shown, stream.end(pieces)


def of_bytes(tokens):
    return bytes(tokens).decode("utf-8", errors="replace")


def test_letters_of_several_tokens_come_whole():
    tokens = list("grüß 🎉 ありがとう!".encode())
    shown, whole = streamed(tokens, of_bytes)
    assert whole == "".join(shown) == "grüß 🎉 ありがとう!"
    assert "🎉" in "".join(shown[:6]) and not any("\ufffd" in each for each in shown)
    assert shown[:3] == ["g", "r", "ü"]


def test_a_letter_that_never_ends_is_shown_as_what_it_is():
    assert streamed([*b"ok", 0xF0, 0x9F], of_bytes)[1] == "ok\ufffd"


def test_a_decoder_that_drops_the_first_blank_of_what_it_reads_loses_none_in_the_middle():
    decoder = decoders.Metaspace()
    words = ["▁Rome", "▁is", "▁the", "▁cap", "ital", "."]
    shown, whole = streamed(list(range(6)), lambda tokens: decoder.decode([words[each] for each in tokens]))
    assert whole == "Rome is the capital." and len(shown) == 6


def test_a_stop_string_is_never_shown_and_blanks_around_neither():
    tokens = list(b"  Rome.\n\nIt is.\n\nHuman: next  ")
    shown, whole = streamed(tokens, of_bytes, ("\n\nHuman:",))
    assert whole == "".join(shown) == "Rome.\n\nIt is."


def test_what_a_terminal_would_obey_is_not_shown():
    assert streamed(list("a\x1b[31mb\x07c\x9bd".encode()), of_bytes)[1] == "a[31mbcd"


def test_each_token_costs_the_same_however_long_the_answer_is():
    read = []

    def counted(tokens):
        read.append(len(tokens))
        return of_bytes(tokens)

    streamed(list(b"abcd" * 200), counted)
    assert max(read) <= 8 and len(read) <= 2 * 800 + 2


def test_a_reply_that_is_begun_anew_is_shown_anew():
    shown = []
    stream = TextStream(of_bytes, shown.append)
    for tokens in (b"a", b"ab", b"x", b"xy"):
        stream.update(list(tokens))
    assert stream.end(list(b"xy")) == "xy" and "".join(shown) == "ab\nxy"


# --- a talk


@pytest.fixture
def talk(model_folder):
    return Talk.of(Chat(str(model_folder), template="{message}", max_new_tokens=12, temperature=1.0, top_p=1.0))


def test_the_answer_comes_token_by_token(talk):
    shown = []
    answer = talk.answer("abc", shown.append)
    assert "".join(shown) == answer + "\n" and len([each for each in shown if each.strip()]) > 3
    assert [each["role"] for each in talk.said] == ["user", "assistant"]


def test_ctrl_c_stops_the_answer_and_not_the_talk(talk, capsys, monkeypatch):
    shown = []

    def write(text):
        shown.append(text)
        if len(shown) == 3:
            raise KeyboardInterrupt

    answer = talk.answer("abc", write)
    assert answer and "".join(shown).startswith(answer) and talk.said[-1]["content"] == answer
    assert talk.answer("abd", shown.append) == talk.said[-1]["content"] and len(talk.said) == 4


def test_ctrl_c_at_the_prompt_ends_the_talk_the_second_time(monkeypatch, capsys):
    typed = iter([KeyboardInterrupt, "hello", KeyboardInterrupt, KeyboardInterrupt, "never"])

    def read(asks):
        found = next(typed)
        if isinstance(found, str):
            return found
        raise found

    monkeypatch.setattr("builtins.input", read)
    assert list(lines("you> ")) == ["hello"]


@pytest.mark.parametrize("how", ["tokenizer", "generation config", "usual name"])
def test_every_end_of_a_turn_ends_the_answer(model_folder, how):
    tokenizer = load_tokenizer(str(model_folder))
    if how == "usual name":  # known by its name alone
        vocabulary = {"<bos>": 0, "<eos>": 1, "<|im_end|>": 2}
        tokenizer = letters_tokenizer()
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
        model = load_causal_lm(str(model_folder))
        model.resize_token_embeddings(len(tokenizer))
        model.save_pretrained(model_folder)
        tokenizer.save_pretrained(model_folder)
        end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        assert vocabulary and end is not None
    else:
        end = 1 if how == "tokenizer" else 7
        with_generation(model_folder, **({} if how == "tokenizer" else {"eos_token_id": [1, 7]}))
    talk = Talk.of(Chat(str(model_folder), template="{message}"))
    assert end in talk.sampler.stop_tokens


def test_a_talk_that_outgrows_the_context_forgets_its_beginning(model_folder, capsys):
    with_template(model_folder, "{% for m in messages %}{{ m['content'] }}{% endfor %}")
    talk = Talk.of(Chat(str(model_folder), max_new_tokens=16))
    for _ in range(6):
        talk.answer("abcdefghij", lambda text: None)
    assert "forgotten" in capsys.readouterr().err and len(talk.said) < 8
    with pytest.raises(InputError, match="64"):
        talk.answer("a" * 70, lambda text: None)
    assert talk.said[-1]["role"] == "assistant"


# --- the prompt


def with_template(folder, template):
    tokenizer = letters_tokenizer()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return Codec(load_tokenizer(str(folder)))


SAID = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "abc"}]


def test_a_system_message_reaches_every_kind_of_model(model_folder):
    known = as_prompt(with_template(model_folder, CHATML), "", SAID)
    assert known == "<system>be kind<user>abc<assistant>"
    for template in (
        NO_SYSTEM,
        CHATML.replace("<{{ m['role'] }}>", "{% if m['role'] == 'system' %}{% continue %}{% endif %}"),
    ):
        assert "be kind\n\nabc" in as_prompt(with_template(model_folder, template), "", SAID)
    codec = Codec(letters_tokenizer())
    assert as_prompt(codec, "Q: {message}\\nA:", SAID) == "be kind\n\nQ: abc\nA:"
    assert as_prompt(codec, "", SAID, dialogue=True) == "\n\nSystem: be kind\n\nHuman: abc\n\nAssistant:"


def test_a_base_model_reads_a_talk_with_its_speakers_and_says_so(model_folder, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(chat_prompts, "as_text", lambda said: asked.append(list(said)) or "abc")
    talk = Talk.of(Chat(str(model_folder), max_new_tokens=4))
    assert "no chat template" in capsys.readouterr().err and talk.sampler.settings.stop_strings == ("\n\nHuman:",)
    talk.answer("ab", lambda text: None)
    assert asked == [[{"role": "user", "content": "ab"}]]


def test_the_model_of_a_run_reads_prompts_as_its_run_wrote_them(tmp_path, model_folder, capsys):
    rows = [{"prompt": f"Customer: {each}\nAgent:", "response": "b"} for each in ("one", "two", "three")]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert Talk.of(Chat(str(model_folder))).template == "Customer: {message}\nAgent:"
    rows = [{"prompt": each, "response": "b"} for each in ("one", "two", "three")]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert Talk.of(Chat(str(model_folder))).template == "{message}"
    assert capsys.readouterr().err == ""


def test_a_message_from_a_pipe_that_does_not_fit_is_refused(model_folder, monkeypatch, capsys):
    said = iter(["a" * 70, ""])
    monkeypatch.setattr("builtins.input", lambda asks: next(said))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert run_command(["chat", str(model_folder), "--template", "{message}"]) == 2
    assert "64" in capsys.readouterr().err


def test_a_model_whose_own_settings_transformers_calls_inconsistent_is_trained_and_saved(files, model_folder):
    """A temperature beside greedy decoding, as some published chat models have it."""
    with_generation(model_folder, temperature=0.6, top_p=0.9, do_sample=False)
    data = ["--data", str(files / "demonstrations.jsonl"), "--steps", "1", "--out", str(files / "run")]
    assert run_command(["sft", "--model", str(model_folder), *data]) == 0
