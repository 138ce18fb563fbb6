"""World: the processes that train together. One process is a world of one."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module

import torch
import torch.distributed as dist
from torch import Tensor

from limner.core.errors import UsageError


@dataclass(frozen=True)
class World:
    """This process's place among those that train together.

    rank    this process, 0 the first, which alone writes files
    size    how many there are
    device  where this process computes
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, in one exchange per type of number."""
        if self.size == 1:
            return
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            same = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.reshape(-1) for tensor in same])
            dist.all_reduce(flat)
            parts = (flat / self.size).split([tensor.numel() for tensor in same])
            for tensor, part in zip(same, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def agree(self, flag: bool) -> bool:
        """Whether any process raised the flag."""
        if self.size == 1:
            return flag
        raised = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(raised)
        return bool(raised > 0)

    def wait(self) -> None:
        """Go on when every process is here."""
        if self.size > 1:
            dist.barrier()


def pick_device(wish: str) -> torch.device:
    """The device for "auto", "cpu", "cuda" or "mps"; auto takes the fastest there is.

    raises UsageError   if the wished device is not there
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wish == "auto":
        wish = next(name for name, found in there.items() if found)
    if not there[wish]:
        raise UsageError(f"this machine has no {wish} device that torch can use", "leave out --device, or give cpu")
    if wish == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device(wish)


def pick_precision(wish: str, device: torch.device, *, points: bool = False) -> torch.dtype:
    """float32 or bfloat16; "auto" takes bfloat16 where the hardware multiplies its matrices, not where it is emulated.

    Models are as good either way (benchmarks/same_results.py --precision bf16).

    points   whether points are made, whose coordinates have more digits than bfloat16's three: auto keeps float32
    raises   UsageError   if bf16 is wished where it cannot be had
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and torch.cpu._is_amx_tile_supported()
    if wish == "bf16" and device.type == "mps":
        raise UsageError("precision bf16 is not offered on mps", "use --precision fp32")
    return torch.bfloat16 if wish == "bf16" or (wish == "auto" and native and not points) else torch.float32


@contextmanager
def join(device: str) -> Iterator[World]:
    """Join the processes that `torchrun` started, or be alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    where = pick_device(device)
    if size == 1:
        yield World(0, 1, where)
        return
    if where.type == "cuda":
        torch.cuda.set_device(where)
    # The optimizers load this module later otherwise, when its functions would keep the group in their defaults: gloo's
    # threads then outlive the group, and end the process with SIGABRT if they wake while Python shuts down.
    import_module("torch.distributed.nn.functional")
    dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), size, where)
    finally:
        dist.destroy_process_group()
