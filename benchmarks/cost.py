"""What a DCGAN step costs over picture size, batch and width: time, memory, and how near to the processor's peak.

    python benchmarks/cost.py [--threads 1] [--precision fp32]

The peak is that of one product of two 2048×2048 matrices right before and after each row. "Plain" is how long PyTorch's
convolutions would take if they ran at that peak: their multiplications, counted, over the peak; the last column is that
time over limner's. It can be above 100 %, since limner's forms multiply less. Memory is what a step takes beside the
weights, as `limner train --dry-run` foretells it.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from limner.data.dataset import Dataset, Manifest
from limner.data.loader import batch_indices
from limner.models.model import build
from limner.nn.conv import plain
from limner.training.average import Average
from limner.training.cost import need, pace
from limner.training.learner import Learner
from limner.training.processor import for_heavy_work, tiny_is_zero
from limner.training.world import World, pick_precision
from machine import after, where
from runs import command

# side, channels, batch, width: one after the other is varied.
ROWS = [
    (28, 1, 16, 64), (28, 1, 128, 64), (28, 1, 512, 64), (28, 1, 128, 32), (28, 1, 128, 128),
    (64, 3, 16, 64), (64, 3, 64, 64), (64, 3, 128, 64), (64, 3, 64, 32),
    (128, 3, 16, 64), (128, 3, 16, 32), (256, 3, 16, 16),
]  # fmt: skip


def products(precision: torch.dtype) -> list[float]:
    """Floating-point operations a second of a large product, some times."""
    a = torch.randn(2048, 2048).to(precision)
    speeds = []
    for _ in range(5):
        began = time.perf_counter()
        a @ a
        speeds.append(2 * 2048**3 / (time.perf_counter() - began))
    return speeds


def row(side: int, channels: int, batch: int, width: int, precision: torch.dtype) -> tuple[float, float, float, float]:
    """Seconds of a step, bytes that it takes, the operations of its plain form, and the peak."""
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(256, size=(max(batch, 64), channels, side, side), dtype=np.uint8)
    manifest = Manifest(name="cost", source="", count=len(pixels), channels=channels, size=(side, side), sha256="")
    data = Dataset(manifest, pixels)
    method = build("dcgan", {"batch": batch, "width": width}, data.signal)
    learner = Learner(method, Average(method, 10_000), World(0, 1, torch.device("cpu")), precision, 0, 100)

    def step(number: int) -> None:
        learner.step(number, [data.take(batch_indices(0, number, batch, len(data)))], number * batch)

    wanted = need(learner, batch, 1, lambda count: data.take(np.arange(count) % len(data)))
    before = products(precision)
    seconds = pace(step)
    top = statistics.median(before + products(precision))
    with plain(), FlopCounterMode(display=False) as counter:
        step(10)
    return seconds, wanted.bytes(batch), counter.get_total_flops(), top


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    given = parser.parse_args()
    for_heavy_work()
    torch.set_num_threads(given.threads)
    precision = pick_precision(given.precision, torch.device("cpu"))
    print(command("cost", None))
    print(where(f"{given.threads} threads", str(precision).removeprefix("torch."), "seed 0"))
    print(f"{'DCGAN':12}{'batch':>6}{'width':>6}{'ms a step':>11}{'images/s':>10}{'MB a step':>11}"
          f"{'plain GFLOP':>13}{'peak GFLOP/s':>14}{'plain at peak, ms':>19}{'reached':>9}", flush=True)  # fmt: skip
    for side, channels, batch, width in ROWS:
        with tiny_is_zero():
            seconds, memory, work, top = row(side, channels, batch, width, precision)
        kind = f"{side}×{side} {'grey' if channels == 1 else 'RGB'}"
        print(f"{kind:12}{batch:6}{width:6}{1e3 * seconds:11,.0f}{batch / seconds:10,.0f}{memory / 1e6:11,.0f}"
              f"{work / 1e9:13,.0f}{top / 1e9:14,.0f}{1e3 * work / top:19,.0f}{work / top / seconds:9.0%}",
              flush=True)  # fmt: skip
    print(after())


if __name__ == "__main__":
    main()
