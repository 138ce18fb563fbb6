"""Three ways to read a folder of JPEGs at a small size: Pillow in full, Pillow's draft mode, simplejpeg.

python jpeg.py FOLDER SIZE      waits for "full N", "draft N" and "simplejpeg N", N times all the files; see protocol.py
"""

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

from protocol import serve


def main(folder: str, size: int) -> None:
    files = sorted(Path(folder).iterdir())

    def fitted(picture: Image.Image) -> np.ndarray:
        return np.asarray(picture.convert("RGB").resize((size, size), Image.Resampling.BICUBIC, reducing_gap=None))

    def full() -> None:
        for file in files:
            fitted(Image.open(file))

    def draft() -> None:
        for file in files:
            picture = Image.open(file)
            picture.draft("RGB", (size, size))
            fitted(picture)

    def simple() -> None:
        for file in files:
            pixels = simplejpeg.decode_jpeg(file.read_bytes(), min_height=size, min_width=size, min_factor=1)
            fitted(Image.fromarray(pixels))

    names = f"Pillow {version('pillow')}, simplejpeg {version('simplejpeg')}"
    serve(names, {"full": full, "draft": draft, "simplejpeg": simple})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
