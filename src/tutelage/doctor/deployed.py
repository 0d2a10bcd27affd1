"""What a policy says after deployment beside what it says at home: texts, and numbers that somebody else computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tutelage.data.errors import InputError
from tutelage.data.files import ReadReport, Row, read_rows, taken

REPLIES = ("response", "completion", "reply")
FEWEST = 50


@dataclass(frozen=True)
class Spoken:
    """N prompts and replies. numbers: name -> [N]; what could not be computed is not there

    policy_excess, reference_excess: Σ_t (−log π(a_t|s_t) − H(π(·|s_t))) / T, nats an action: its mean is 0 over replies
    of that policy, whatever they answer, above 0 over what it would not say, below 0 over what is sampled colder
    score: the reward model's
    """

    prompts: Sequence[str]
    replies: Sequence[str]
    numbers: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])

    def __len__(self) -> int:
        return len(self.prompts)


@dataclass(frozen=True)
class Deployment:
    """home: replies of the run's policy to the run's own prompts; out: what came back from the world."""

    home: Spoken
    out: Spoken


def read_spoken(source: str) -> tuple[list[tuple[str, str]], ReadReport]:
    """(prompt, reply) of a file of samples: columns prompt, and response, completion or reply. An empty reply is one
    reply, an empty prompt is dropped and counted. InputError where there are too few."""
    report = ReadReport()
    found = list(taken(read_rows(source), report, _spoken))
    print(f"{source}: {report}")
    if len(found) < FEWEST:
        raise InputError(f"{source} has {len(found)} samples; {FEWEST} are the least that drift can be told from.")
    return found, report


def _spoken(row: Row) -> tuple[str, str] | str:
    name = next((each for each in REPLIES if each in row.fields), None)
    if name is None or "prompt" not in row.fields:
        raise InputError(
            f"{row.place}: its columns are {row.columns}; expected prompt and "
            f"{', '.join(REPLIES[:-1])} or {REPLIES[-1]}."
        )
    prompt, reply = row.fields["prompt"], row.fields[name]
    if not isinstance(prompt, str) or not isinstance(reply, str):
        raise InputError(f"{row.place}: prompt and {name} are {prompt!r:.40} and {reply!r:.40}, expected texts.")
    return (prompt, reply) if prompt.strip() else "with an empty prompt"
