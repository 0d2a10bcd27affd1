"""Memory that the weights of a folder take, told from its files before any of them is loaded."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from tutelage.data.errors import InputError
from tutelage.models.dtypes import NAMES, weight_files

INTEGERS = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2}  # bytes an element; others: 1


def weight_bytes(name: str, dtype: torch.dtype | str) -> int:
    """Bytes of the weights of a folder or hub id once they are loaded in `dtype` ("auto": as they are saved).

    Of safetensors: shapes and dtypes of the files' headers. Of pickled weights: the size of the files, since nothing is
    said of their dtypes. 0 where there are no weights, which the loader says better.
    """
    safe = weight_files(name)
    if safe:
        return sum(_safetensors_bytes(path, dtype) for path in safe)
    folder = Path(name).expanduser()
    return sum(path.stat().st_size for path in _pickle_files(folder)) if folder.is_dir() else 0


def refuse_larger_than_memory(name: str, dtype: torch.dtype | str, available: int) -> None:
    """InputError where the weights take more than the `available` bytes of memory."""
    needed = weight_bytes(name, dtype)
    if needed <= available:
        return
    advice = "" if dtype == torch.bfloat16 else ", give --dtype bfloat16"
    raise InputError(
        f"{name}: its weights take {needed / 2**30:.2f} GiB of memory, and {available / 2**30:.2f} GiB are available. "
        f"Free some{advice}, or take a smaller model."
    )


def _safetensors_bytes(path: str, dtype: torch.dtype | str) -> int:
    try:
        with safe_open(path, framework="pt") as weights:
            slices = [weights.get_slice(key) for key in weights.keys()]  # noqa: SIM118
            return sum(math.prod(each.get_shape()) * _element_bytes(each.get_dtype(), dtype) for each in slices)
    except (SafetensorError, OSError):  # damaged; the loader says so
        return 0


def _element_bytes(kind: str, dtype: torch.dtype | str) -> int:
    """Of a tensor that is saved as `kind`, in safetensors' words; integers stay as they are."""
    if kind not in NAMES:
        return INTEGERS.get(kind, 1)
    return (NAMES[kind] if isinstance(dtype, str) else dtype).itemsize


def _pickle_files(folder: Path) -> list[Path]:
    index = folder / "pytorch_model.bin.index.json"
    if not index.is_file():
        return [each for each in (folder / "pytorch_model.bin",) if each.is_file()]
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # damaged; the loader says so
        return []
    return [folder / each for each in sorted(names) if (folder / each).is_file()]
