"""limner's data layer: preparing a folder of JPEGs as a pack, and reading batches of packs.

python limner_data.py FOLDER SIZE      waits for "prepare N" (N times the folder), "small N" (N batches of 128 at 28×28
grey) and "large N" (at SIZE in colour); see protocol.py
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from limner.core import __version__
from limner.data.cache import finish
from limner.data.dataset import Dataset, Manifest
from limner.data.folder import Choices
from limner.data.loader import batch_indices
from limner.data.sources import open_data, prepare_pack
from protocol import serve, threads

BATCH = 128


def main(folder: str, size: int) -> None:
    torch.set_num_threads(threads())
    digits = finish(open_data("mnist"))
    pixels = np.random.default_rng(0).integers(256, size=(12_800, 3, size, size), dtype=np.uint8)
    manifest = Manifest(name="speed", source="", count=len(pixels), channels=3, size=(size, size), sha256="")
    done = 0

    def prepare() -> None:
        with tempfile.TemporaryDirectory() as place:
            finish(prepare_pack(folder, Path(place) / "pack", Choices(size, 3, "crop", "train")))

    def read(dataset: Dataset) -> None:
        nonlocal done
        dataset.take(batch_indices(0, done, BATCH, len(dataset)))
        done += 1

    large = Dataset(manifest, pixels)
    work = {"prepare": prepare, "small": lambda: read(digits), "large": lambda: read(large)}
    serve(f"limner {__version__}, torch {torch.__version__}", work)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
