"""Another language model as the other side of a dialogue: one batched sampling call answers all that wait."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tutelage.data.errors import InputError
from tutelage.environments.dialogue import Utterances
from tutelage.environments.language import Reply
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.policies.language import LanguagePolicy
from tutelage.trajectory import Finish, Key


def join(utterances: Utterances) -> list[int]:
    """All that was said as one text, for a model that has the policy's tokens."""
    return [token for utterance in utterances for token in utterance]


class ModelReply:
    """The other side of a `Dialogue`, spoken by a causal language model. It learns nothing.

    Its random numbers depend on the seed and on what was said, and on nothing else, so that the same key stays the same
    episode; dialogues in which the same was said get the same answer.

    model: a Hugging Face causal LM (`load_causal_lm`)
    stop_tokens: end an answer, and stay in it
    sampling: of an answer; `max_new_tokens` is its longest
    read: utterances in the policy's tokens -> the tokens that this model goes on from; all of them in a row by default.
        A chat template, other roles and another tokenizer go here.
    write: the tokens that this model said -> those that the policy hears; the same by default
    """

    def __init__(
        self,
        model: object,
        stop_tokens: Iterable[int],
        seed: int = 0,
        sampling: SamplingSettings = SamplingSettings(),
        temperature: float = 1.0,
        read: Callable[[Utterances], Sequence[int]] = join,
        write: Callable[[Sequence[int]], Sequence[int]] = tuple,
    ) -> None:
        self.sampler = NativeSampler(LanguagePolicy(model, temperature), stop_tokens, seed, sampling)
        self.read, self.write = read, write

    def __call__(self, dialogues: list[Utterances]) -> list[list[int]]:
        """One answer for each dialogue, at least one token long.

        raises InputError: where a dialogue is longer than the model's context, or `write` leaves nothing of an answer
        """
        texts = [tuple(self.read(each)) for each in dialogues]
        starts = {key_of(text): text for text in texts}
        batch = self.sampler.sample(Texts(starts), list(starts))
        said = {}
        for row, key in enumerate(batch.keys):
            actions, mask = batch.actions[row], batch.mask_BT[row]
            said[key] = [int(token) for token in self.write(actions[mask].tolist())]
        silent = next((text for text in texts if not said[key_of(text)]), None)
        if silent is not None:
            raise InputError(
                f"`write` left nothing of the other model's answer to {len(silent)} tokens; expected at least one "
                "token, such as the end of its turn."
            )
        return [said[key_of(text)] for text in texts]


@dataclass(frozen=True)
class Texts:
    """Texts that wait for one reply each, by key."""

    starts: dict[Key, tuple[int, ...]]

    def episode(self, key: Key) -> Reply:
        return Reply(self.starts[key], Finish.LENGTH)


def key_of(text: Sequence[int]) -> Key:
    """A key that depends on the tokens alone, and with it the random stream."""
    digest = hashlib.sha256(",".join(map(str, text)).encode()).digest()
    return Key(0, int.from_bytes(digest[:8], "big"))
