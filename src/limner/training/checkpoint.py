"""Checkpoints: everything that training needs to go on bit for bit, in files that are whole or not there."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from limner.core.errors import ModelError
from limner.core.tensorfile import read_header, read_tensors, write_tensors

KIND = "checkpoint"
_NAME = re.compile(r"step-(\d{8})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and found whole."""

    path: Path
    header: dict[str, Any]
    tensors: dict[str, Tensor]


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], header: Mapping[str, Any], keep: int) -> Path:
    """Write a checkpoint and let go of old ones.

    folder  RUN/checkpoints
    step    steps done
    header  JSON values; "healthy" is the guard's stamp
    keep    how many of the newest stay; the newest healthy one stays as well
    raises  LimnerError   if it cannot be written; then every older checkpoint is still there
    """
    path = folder / f"step-{step:08d}.safetensors"
    write_tensors(path, tensors, {"kind": KIND, "step": step, **header})
    healthy = False
    for place, old in enumerate(p for p in newest_first(folder) if p <= path):
        good = not healthy and _is_healthy(old)
        healthy |= good
        if place >= keep and not good:
            old.unlink()
    return path


def newest_first(folder: Path) -> list[Path]:
    """The checkpoint files of a run. Files of other names are not ours and are left alone."""
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, reverse=True)


def load_newest(folder: Path, healthy: bool = False) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole.

    healthy  pass over those that the guard did not stamp
    returns  the checkpoint or None, and a sentence for each damaged one that was passed over
    """
    problems: list[str] = []
    for found in _readable(folder, problems):
        if found.header.get("healthy", True) or not healthy:
            return found, problems
    return None, problems


def _readable(folder: Path, problems: list[str]) -> Iterator[Checkpoint]:
    for path in newest_first(folder):
        try:
            header, tensors = read_tensors(path, KIND)
        except ModelError as error:
            problems.append(error.message)
        else:
            yield Checkpoint(path, header, tensors)


def _is_healthy(path: Path) -> bool:
    try:
        return bool(read_header(path, KIND).get("healthy", True))
    except ModelError:
        return False
