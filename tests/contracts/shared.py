"""One of two processes that share batches; the first then walks the joined batches alone and says what differs.

python shared.py RANK FILE < cases, as JSON: [[method, settings, signal], …]
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from limner.core.errors import UsageError
from limner.core.signal import Signal
from limner.models.model import build
from limner.training.average import Average
from limner.training.learner import Learner
from limner.training.world import World

STEPS, BATCH = 2, 8
CPU = torch.device("cpu")


def walked(name, config, signal, world):
    """Every gradient that moved a player, and what is left after it: a list of tensors."""
    torch.manual_seed(1)
    method = build(name, config, signal)
    taught = Learner(method, Average(method, 50.0), world, torch.float32, seed=5, total=10)
    own, found = BATCH // world.size, []
    move = taught._move
    taught._move = lambda player, index: (
        found.extend(p.grad.clone() for p in taught.players[player] if p.grad is not None), move(player, index)
    )  # fmt: skip
    for i in range(STEPS):
        drawn = torch.Generator().manual_seed(7 + i)
        x = torch.rand(method.batches, BATCH, *signal.shape, generator=drawn) * 2 - 1
        labels = torch.arange(method.batches * BATCH).view(method.batches, BATCH) % max(1, signal.classes)
        mine = slice(world.rank * own, (world.rank + 1) * own)  # of every batch that a step reads
        part = {"x": x[:, mine].flatten(0, 1), "label": labels[:, mine].flatten()}
        told = taught.step(i, [part], method.batches * BATCH * i)
        assert told["skipped"] == 0
    return [*found, *(buffer.double() for buffer in method.buffers())]


def main(rank, place):
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # so that what differs at all differs plainly
    cases = json.load(sys.stdin)
    dist.init_process_group("gloo", init_method=Path(place).as_uri(), rank=rank, world_size=2)
    shared = []
    for name, config, signal in cases:
        try:
            shared.append(walked(name, config, Signal.read(signal), World(rank, 2, CPU)))
        except UsageError as error:
            shared.append(error.message)
    dist.destroy_process_group()
    if rank:
        return
    for (name, config, signal), two in zip(cases, shared, strict=True):
        if isinstance(two, str):
            print(json.dumps(two))
            continue
        one = walked(name, config, Signal.read(signal), World(0, 1, CPU))
        assert len(one) == len(two)
        print(json.dumps(max(float((a - b).abs().max()) for a, b in zip(one, two, strict=True))))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
