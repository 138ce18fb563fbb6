"""Snapshot: a run's method as one of its checkpoints has it, with the averaged weights in place."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from limner.core.method import Method
from limner.core.tensorfile import load_into
from limner.data.dataset import Manifest
from limner.models.model import build
from limner.tasks.generate import Generate
from limner.training.checkpoint import Checkpoint
from limner.training.transition import Transition


def snapshot(
    found: Checkpoint, name: str, config: Mapping[str, Any], transition: tuple[float, float] | None = None
) -> Method:
    """The method of a checkpoint, in evaluation mode, with its classes as far in as they were then.

    name        of the method
    config      the run's settings of the method
    transition  kimg between which classes come in, where they come in late
    raises      ModelError, UsageError   if the checkpoint does not fit them
    """
    manifest = Manifest.read(found.header["data"], str(found.path))
    method = build(name, config, manifest.signal, str(found.path))
    load_into(method, _under("method.", found.tensors), found.path)
    averaged = nn.ModuleDict({part: method.get_submodule(part) for part in method.averaged})
    load_into(averaged, _under("average.", found.tensors), found.path)
    if transition is not None and isinstance(method, Generate) and classes_come_in(found, transition):
        late = Transition(method, nn.Module(), *transition, math.inf)
        late.restore(_under("wrap.transition.", found.tensors))
    return method.eval()


def classes_come_in(found: Checkpoint, transition: tuple[float, float]) -> bool:
    """Whether a checkpoint is from before all of its classes were in, so that its weights alone do not say all.

    Where the run asked for a transition later only, its earlier checkpoints knew all classes.
    """
    seen = _under("wrap.transition.", found.tensors).get("seen")
    return seen is not None and float(seen) < 1000 * transition[1]


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
