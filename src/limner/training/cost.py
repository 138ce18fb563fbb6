"""Cost: what a step takes in memory and time, found out with small steps before a run is begun."""

import os
import statistics
import sys
import time
import weakref
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from limner.core.method import Batch
from limner.nn.conv import as_if
from limner.training.average import Average
from limner.training.joined import in_one
from limner.training.learner import Learner
from limner.training.world import World

_SMALL = 8
"""Samples of the smallest step that memory is measured with."""


class Alive(TorchDispatchMode):
    """In this context every tensor that is made is counted for as long as it lives.

    bytes    alive now, of those made in the context
    moments  what was alive after each operation
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        self.moments: list[int] = []
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        before = {_address(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            # A view, or what was written in place, lies where an argument does and is nothing new.
            if isinstance(leaf, Tensor) and _address(leaf) not in before | self._known:
                self._add(leaf.untyped_storage())
        self.moments.append(self.bytes)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.bytes += size
        weakref.finalize(storage, self._drop, key, size).atexit = False

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.bytes -= size


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


@dataclass(frozen=True)
class Need:
    """Bytes that a step takes, beside weights and their average, as straight lines in the samples of a part.

    Every moment of a step has a line of its own; the highest at that number of samples counts. Few samples leave the
    optimiser the highest, many the backward pass.

    alone  (moments, 2)   bytes at no samples, and for each one more, of a batch walked in one part
    two    (moments, 2)   the same of two parts; None where the method cannot be walked in parts
    """

    alone: np.ndarray
    two: np.ndarray | None = None

    def bytes(self, batch: int, parts: int = 1) -> float:
        """For a batch that is walked in so many parts; each one more holds what it needs for its next turn."""
        part = batch / parts
        most = _highest(self.alone, part)
        return most if self.two is None else most + (parts - 1) * max(0.0, _highest(self.two, part) - most)

    def largest(self, room: float, batch: int, parts: int = 1) -> int:
        """The largest batch below this one that has room, in parts of the same size; 0 where none has."""
        sizes = range(0, batch, parts)
        return sizes[max(0, bisect_right(sizes, room, key=lambda size: self.bytes(size, parts)) - 1)]


def _highest(lines: np.ndarray, samples: float) -> float:
    return float((lines[:, 0] + lines[:, 1] * samples).max())


def need(learner: Learner, batch: int, batches: int, take: Callable[[int], Batch]) -> Need:
    """What a learner's step will need, by steps of fresh networks of the same kind with few samples.

    batch    samples of a batch in this process
    batches  batches that a step reads
    take     so many samples of the data
    """
    # At least two: batch normalisation may have no more than a value a sample.
    device, few = learner.world.device, min(_SMALL, max(2, batch // 2))
    given = {name: value.to(device) for name, value in take(2 * few * batches).items()}

    def moments(size: int, parts: int) -> np.ndarray:
        method = type(learner.method)(learner.method.config, learner.method.signal).to(device)
        world = World(0, 1, device)
        alone = Learner(method, Average(method, 0), world, learner.precision, learner.seed, learner.total)
        part = {name: value[: size * batches] for name, value in given.items()}
        # In small steps too convolutions take the form that they will have in large ones.
        with as_if(batch / size), Alive() as alive:
            alone.step(0, [part] * parts, 0)
        return np.array(alive.moments, dtype=np.float64)

    def lines(parts: int) -> np.ndarray:
        one, two = moments(few, parts), moments(2 * few, parts)
        if len(one) != len(two):  # The step depends on what it sees: then only the highest moments are alike.
            one, two = one.max(keepdims=True), two.max(keepdims=True)
        each = (two - one) / few
        return np.stack([one - each * few, each], 1)

    return Need(lines(1), None if in_one(learner.method) else lines(2))


def room(device: torch.device) -> int | None:
    """Bytes that are free for this process where it computes; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    return min([free, *_container()]) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _container() -> list[int]:
    """What a container's limit leaves, where there is one."""
    try:
        folder = Path("/sys/fs/cgroup")
        return [int((folder / "memory.max").read_text()) - int((folder / "memory.current").read_text())]
    except (OSError, ValueError):
        return []


def advice(
    wanted: Need, batch: int, parts: int, free: float, batchwise: bool, begun: bool = False
) -> tuple[str, str] | None:
    """A sentence and a hint where a step has no room; None where it has.

    batch      samples of a batch in this process
    parts      that it is walked in
    batchwise  whether the method cannot be walked in parts
    begun      whether the run has made steps already, so that its batch and networks stay
    """
    needed = wanted.bytes(batch, parts)
    if needed <= free:
        return None
    fits = [k for k in range(parts + 1, batch + 1) if batch % k == 0 and wanted.bytes(batch, k) <= free]
    if fits and not batchwise:
        hint = f"give --accumulate {fits[0]}"
    elif begun:
        hint = "go on where more memory is free, or start a new run with a smaller --batch"
    elif smaller := wanted.largest(free, batch, parts):
        hint = f"give --batch {smaller}"
    else:
        hint = "choose a smaller --size or --width, or a machine with more memory"
    return f"a step of {batch:,} needs about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free", hint


def pace(step: Callable[[int], object], times: int = 3) -> float:
    """Seconds of a step: the median of a few, after one that warms up.

    step   takes the step of this number
    """
    taken = []
    for number in range(times + 1):
        began = time.perf_counter()
        step(number)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def peak(device: torch.device) -> int:
    """The most memory that this process has taken so far, in bytes: of the GPU where it computes there, else of main
    memory; 0 where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
