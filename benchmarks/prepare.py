"""How many photographs a second `limner prepare` packs, by what decodes them: Pillow, in full or by draft, simplejpeg.

    python benchmarks/prepare.py

A folder of 120 JPEGs of 600×400 px (parts of the two photographs that come with scikit-learn, quality 90) is packed at
64 px: looked through, decoded, brought to size, hashed and written. Then at 32 px.

Pillow, full     every pixel is decoded
Pillow, draft    decoded at 1/2, 1/4 or 1/8, at least twice as large as wanted: what limner does
simplejpeg       the same in its place

They take turns, so that a busy neighbour slows all. Of all rounds the median is given and, in brackets, the best, which
is the nearer to a machine without neighbours. CPU is the processor time of the process for one photograph.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from io import BytesIO
from itertools import product
from pathlib import Path
from unittest.mock import patch

import simplejpeg
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from sklearn.datasets import load_sample_images

import limner
from limner.core.events import Finished
from limner.data import images
from machine import after, where

WAYS = ("Pillow, full", "Pillow, draft", "simplejpeg")
COUNT = 120
SIZES = (64, 32)


@contextmanager
def way(name: str) -> Iterator[None]:
    """In this context JPEGs are decoded so."""
    if name == "Pillow, full":
        with patch.object(JpegImageFile, "draft", lambda *_: None):
            yield
    elif name == "simplejpeg":
        with patch.object(images, "_plain", by_simplejpeg):
            yield
    else:
        yield


def by_simplejpeg(image: Image.Image) -> Image.Image:
    """The pixels that a drafted JPEG in colour would load."""
    assert isinstance(image, JpegImageFile) and isinstance(image.fp, BytesIO) and image.mode == "RGB"
    values = simplejpeg.decode_jpeg(image.fp.getvalue(), min_height=image.height, min_width=image.width)
    assert values.shape[:2] == image.size[::-1]
    return Image.fromarray(values)


def photographs(folder: Path) -> int:
    """Fill a folder; returns its bytes."""
    photos = [Image.fromarray(values) for values in load_sample_images().images]
    for i in range(COUNT):
        photo, (down, across) = photos[i % 2], divmod(i // 2, 10)
        photo.crop((4 * across, 4 * down, 4 * across + 600, 4 * down + 400)).save(folder / f"{i:03}.jpg", quality=90)
    return sum(path.stat().st_size for path in folder.iterdir())


def packed(folder: Path, out: Path, size: int) -> tuple[float, float, str]:
    """Wall and CPU time in s, and the pack's SHA-256."""
    wall, cpu = time.perf_counter(), time.process_time()
    *_, last = limner.prepare(folder, size=size, out=out, force=True)
    assert isinstance(last, Finished) and last.values["count"] == COUNT
    return time.perf_counter() - wall, time.process_time() - cpu, last.values["sha256"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=12)
    given = parser.parse_args()
    print("python benchmarks/prepare.py")
    print(where(images.jpeg_decoder(), f"simplejpeg {version('simplejpeg')}"), flush=True)
    own = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photographs"
        folder.mkdir()
        print(f"{COUNT} JPEGs of {photographs(folder) / COUNT / 1e3:.0f} kB")
        for workers, size in product(given.workers, SIZES):
            # As many workers are begun as there are cores that the process may use.
            os.sched_setaffinity(0, own[:workers])
            compare(folder, Path(place) / "pack", workers, size, given.rounds)
    print(f"\n{after()}")


def compare(folder: Path, out: Path, workers: int, size: int, rounds: int) -> None:
    """Print how long each way takes, and whether all make the same bytes."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    sums: dict[str, set[str]] = {name: set() for name in WAYS}
    for turn in range(rounds + 1):
        for name, times in taken.items():
            with way(name):
                wall, busy, digest = packed(folder, out, size)
            sums[name].add(digest)
            times += [(wall, busy)] if turn else []
    print(f"\n{f'{size} px, {workers} worker' + 's' * (workers > 1):20}{'images/s':>16}{'CPU ms an image':>20}")
    for name, times in taken.items():
        walls, busy = zip(*times, strict=True)
        speeds = f"{COUNT / statistics.median(walls):,.0f} ({COUNT / min(walls):,.0f})"
        costs = f"{1e3 * statistics.median(busy) / COUNT:.2f} ({1e3 * min(busy) / COUNT:.2f})"
        print(f"{name:20}{speeds:>16}{costs:>20}", flush=True)
    alike = len(sums["Pillow, draft"] | sums["simplejpeg"]) == 1
    print(f"draft and simplejpeg make {'the same' if alike else 'other'} bytes")


if __name__ == "__main__":
    main()
