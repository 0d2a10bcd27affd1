"""How a policy is drawn from when it talks to a person: the model's own settings, and letters as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.data.errors import InputError

TEMPERATURE, TOP_P = 0.7, 0.9  # where the model's generation_config.json says nothing
UNFINISHED = "\ufffd"  # what a decoder writes for the first bytes of a letter


@dataclass(frozen=True)
class ChatSampling:
    """temperature: above 0; top_k: 0 is all; top_p: 1.0 is all."""

    temperature: float
    top_k: int
    top_p: float


def chat_sampling(
    model: Any, temperature: float | None = None, top_k: int | None = None, top_p: float | None = None
) -> ChatSampling:
    """What is given, else what the model's generation_config.json recommends, else temperature 0.7 and top-p 0.9.

    Temperature 0, and a generation_config.json with `"do_sample": false`, mean the likeliest token each time. Raises
    InputError where a given number cannot be.
    """
    _refuse_impossible(temperature, top_k, top_p)
    own = _recommended(model)
    greedy = temperature == 0 or (own.get("do_sample") is False and (temperature, top_k, top_p) == (None, None, None))
    if greedy:
        return ChatSampling(1.0, 1, 1.0)
    return ChatSampling(
        temperature=float(temperature or own.get("temperature") or TEMPERATURE),
        top_k=int(own.get("top_k") or 0) if top_k is None else top_k,
        top_p=float(own.get("top_p") or TOP_P) if top_p is None else top_p,
    )


def _recommended(model: Any) -> dict[str, Any]:
    """What generation_config.json sets. transformers keeps None (5.x) or leaves out (4.x) what the file does not."""
    config = getattr(model, "generation_config", None)
    return {} if config is None else {k: v for k, v in config.to_diff_dict().items() if v is not None}


def _refuse_impossible(temperature: float | None, top_k: int | None, top_p: float | None) -> None:
    if temperature is not None and not 0.0 <= temperature < float("inf"):
        raise InputError(f"--temperature {temperature:g}: expected 0 (the likeliest token each time) or more.")
    if top_k is not None and top_k < 0:
        raise InputError(f"--top-k {top_k}: expected 0 (all tokens) or more.")
    if top_p is not None and not 0.0 < top_p <= 1.0:
        raise InputError(f"--top-p {top_p:g}: expected above 0, up to 1 (all tokens).")


class TextStream:
    """Tokens, one after the other -> the text that each of them adds, in whole Unicode characters.

    text: the text of tokens. stop_strings: what ends the text and is not shown; what may be the beginning of one waits.
    Blanks in front of the text and at its end are not shown, nor are control characters, which a terminal would obey.
    Every token is decoded with the few before it only, so that the cost does not grow with the length.
    """

    def __init__(
        self, text: Callable[[Sequence[int]], str], write: Callable[[str], object], stop_strings: Sequence[str] = ()
    ) -> None:
        self.text, self.write, self.stop_strings = text, write, tuple(stop_strings)
        self.written = ""
        self._waiting, self._stopped = "", False
        self._before, self._read = 0, 0

    def update(self, tokens: Sequence[int]) -> None:
        """tokens: all of this reply so far. Fewer than the last time: the reply was begun anew."""
        if len(tokens) < self._read or not tokens:
            self.write("\n" if self.written else "")
            self.written, self._waiting, self._stopped, self._before, self._read = "", "", False, 0, 0
        known = self.text(tokens[self._before : self._read]) if self._read > self._before else ""
        found = self.text(tokens[self._before :])
        if len(found) <= len(known) or found.endswith(UNFINISHED):
            return
        self._before, self._read = self._read, len(tokens)
        self._add(found[len(known) :])

    def end(self, tokens: Sequence[int]) -> str:
        """The reply is over: writes what still waits, and returns the whole text."""
        if len(tokens) > self._read:
            known = self.text(tokens[self._before : self._read]) if self._read > self._before else ""
            self._add(self.text(tokens[self._before :])[len(known) :])
        self._show(self._waiting.rstrip())
        return self.written

    def _add(self, text: str) -> None:
        if self._stopped:
            return
        text = self._waiting + text
        for stop in self.stop_strings:
            before, found, _ = text.partition(stop)
            if found:
                text, self._stopped = before, True
        held = "" if self._stopped else self._may_begin_a_stop(text)
        shown = text[: len(text) - len(held)].rstrip()
        self._waiting = "" if self._stopped else text[len(shown) :]
        self._show(shown)

    def _may_begin_a_stop(self, text: str) -> str:
        """The longest end of the text that a stop string begins with."""
        ends = (stop[:size] for stop in self.stop_strings for size in range(len(stop) - 1, 0, -1))
        return max((end for end in ends if text.endswith(end)), key=len, default="")

    def _show(self, text: str) -> None:
        text = "".join(each for each in text if each in "\n\t" or each.isprintable() or not each.isascii())
        text = "".join(each for each in text if not "\x80" <= each <= "\x9f")
        text = text if self.written else text.lstrip()
        if text:
            self.written += text
            self.write(text)
