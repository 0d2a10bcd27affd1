"""What stands beside a run of a policy that acts, and is not optimised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, cast

from torch import Tensor

from tutelage.data.errors import InputError
from tutelage.training.probe import PROMPTS
from tutelage.trajectory import Batch


@dataclass(frozen=True)
class Callbacks:
    """look: (step, batch, score_BT) sees every scored batch, to judge it; what it returns are samples (a list of
        mappings, or None), one for each of the first episodes, which are kept with the numbers of their tokens
    demonstrations: texts that the policy once learned; how likely they still are is recorded every LOOKED_BACK steps
    probes: prompts whose replies are kept along the run (`Probe`); 0 where `look` itself keeps replies to fixed prompts
    """

    look: Callable[[int, Batch, Tensor], Sequence[Mapping[str, Any]] | None] | None = None
    demonstrations: Batch | None = None
    probes: int = PROMPTS

    def __post_init__(self) -> None:
        """InputError where one of them is something else."""
        if self.look is not None:
            refuse_unfit_look(self.look)
        if self.demonstrations is not None and not isinstance(self.demonstrations, Batch):
            raise InputError(
                f"the callbacks' demonstrations are {self.demonstrations!r:.80}; expected a tutelage.trajectory.Batch, "
                "such as tutelage.training.speaker.encoded(codec, pairs) makes, or None."
            )
        if not isinstance(self.probes, int) or self.probes < 0:
            raise InputError(f"the callbacks' probes is {self.probes!r:.80}; expected a whole number, 0 or more.")

    def samples(self, step: int, batch: Batch, score_BT: Tensor) -> list[Mapping[str, Any]]:
        """What `look` returned; InputError where these are no samples."""
        found: Any = self.look(step, batch, score_BT) if self.look is not None else ()
        if found is None:
            return []
        if isinstance(found, (str, Mapping)) or not isinstance(found, Sequence):
            raise InputError(f"the callbacks' look returned {found!r:.80}; expected None or {SAMPLES}.")
        rows = cast("Sequence[Any]", found)
        wrong = next((row for row in rows if not isinstance(row, Mapping)), None)
        if wrong is not None:
            raise InputError(f"the callbacks' look returned a list with {wrong!r:.80} in it; expected {SAMPLES}.")
        return list(rows)


SAMPLES = "a list of mappings, such as {'prompt': ..., 'response': ..., 'score': ...}"


def refuse_unfit_look(look: Any) -> None:
    """InputError where it cannot be called with a step, a batch and its scores."""
    try:
        signature(look).bind(0, None, None)
    except TypeError as error:
        told = f"the callbacks' look is {look!r:.80} ({error})"
        raise InputError(f"{told}; expected a function of (step, batch, score_BT), or None.") from error
    except ValueError:  # some built-in callables have no signature
        pass
