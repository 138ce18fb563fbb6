"""Snapshot: a run's method as one of its checkpoints has it, with the averaged weights in place."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from limner.core.method import Method
from limner.core.tensorfile import load_into
from limner.data.dataset import Manifest
from limner.models.model import build
from limner.training.checkpoint import Checkpoint


def snapshot(found: Checkpoint, name: str, config: Mapping[str, Any]) -> Method:
    """The method of a checkpoint, in evaluation mode.

    name    of the method
    config  the run's settings of the method
    raises  ModelError, UsageError   if the checkpoint does not fit them
    """
    manifest = Manifest.read(found.header["data"], str(found.path))
    method = build(name, config, manifest.signal, str(found.path))
    load_into(method, _under("method.", found.tensors), found.path)
    averaged = nn.ModuleDict({part: method.get_submodule(part) for part in method.averaged})
    load_into(averaged, _under("average.", found.tensors), found.path)
    return method.eval()


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
