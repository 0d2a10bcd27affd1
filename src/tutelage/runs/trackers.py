"""Events to TensorBoard, W&B or trackio, where installed: one small adapter each."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.data.errors import InputError
from tutelage.execution.ranks import is_main_rank

if TYPE_CHECKING:
    from tutelage.runs.run import Tracker


class TensorBoard:
    """Scalars into FOLDER/tensorboard."""

    def __init__(self, folder: Path) -> None:
        self.writer: Any = _module("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(folder / "tensorboard"))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class Hosted:
    """W&B and trackio share one interface: init, log, finish."""

    def __init__(self, package: str, folder: Path) -> None:
        self.module: Any = _module(package, package)
        self.module.init(project="tutelage", name=folder.name)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.module.log({**metrics, "stage_step": step})

    def close(self) -> None:
        self.module.finish()


TRACKERS: dict[str, Callable[[Path], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": lambda folder: Hosted("wandb", folder),
    "trackio": lambda folder: Hosted("trackio", folder),
}


class Silent:
    """Of a rank other than 0."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


def tracker(name: str, folder: Path) -> Tracker:
    """The tracker of this name; on ranks other than 0 nothing is opened."""
    if name not in TRACKERS:
        raise InputError(f"--track {name}: unknown. Give one of {', '.join(TRACKERS)}.")
    return TRACKERS[name](folder) if is_main_rank() else Silent()


def _module(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{extra} is not installed. Install it with: pip install 'tutelage[{extra}]'") from error
