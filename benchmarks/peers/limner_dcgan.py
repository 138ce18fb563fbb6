"""limner's own DCGAN as `limner train` steps it: reading the batch, both players, the moving average.

python limner_dcgan.py FILE.npy BATCH SEED [PRECISION [WIDTH]]      waits for "step N" and "sample N"; see protocol.py
"""

import sys

import numpy as np
import torch

from limner.core import __version__
from limner.data.dataset import Dataset, Manifest
from limner.data.loader import batch_indices
from limner.models.model import build
from limner.training.average import Average
from limner.training.learner import Learner
from limner.training.processor import for_heavy_work, tiny_is_zero
from limner.training.world import World, pick_precision
from protocol import serve, threads


def main(file: str, batch: int, seed: int, wish: str = "auto", width: int = 64) -> None:
    for_heavy_work()
    torch.set_num_threads(threads())
    torch.manual_seed(seed)
    samples = np.load(file)
    count, channels, *size = samples.shape
    manifest = Manifest(name="speed", source="", count=count, channels=channels, size=tuple(size), sha256="")
    dataset = Dataset(manifest, samples)
    method = build("dcgan", {"batch": batch, "width": width}, dataset.signal)
    world = World(0, 1, torch.device("cpu"))
    precision = pick_precision(wish, world.device)
    learner = Learner(method, Average(method, 10_000), world, precision, seed, 10_000)
    done = 0

    def step() -> None:
        nonlocal done
        learner.step(done, [dataset.take(batch_indices(seed, done, batch, count))], done * batch)
        done += 1

    def sample() -> None:
        with learner.average.applied(method):
            method.draw(torch.randn(batch, method.latent))

    name = f"limner {__version__}, torch {torch.__version__}, {str(precision).removeprefix('torch.')}"
    with tiny_is_zero():
        serve(name, {"step": step, "sample": sample})


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]), *sys.argv[4:5], *map(int, sys.argv[5:]))
