"""Pictures to pack, a cache of its own for each test, and real MNIST from the person's cache."""

import io

import numpy as np
import pytest
from PIL import Image

from limner.data.cache import finish
from limner.data.sources import open_data


@pytest.fixture(scope="session")
def mnist():
    """Real MNIST: fetched once into the person's own cache, (train, test)."""
    return tuple(finish(open_data("mnist", split=split)) for split in ("train", "test"))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch, request):
    """A cache that only this test sees."""
    if "mnist" in request.fixturenames:
        request.getfixturevalue("mnist")  # before the cache is moved
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("LIMNER_CACHE", str(folder))
    return folder


@pytest.fixture
def drain():
    """A function that runs events to their end: (events, what they return)."""

    def run(generator):
        events = []
        while True:
            try:
                events.append(next(generator))
            except StopIteration as done:
                return events, done.value

    return run


@pytest.fixture
def encode():
    """A function that makes a picture file's bytes: of an array, or of noise of a size (height, width)."""

    def make(what=(8, 8), format="PNG", mode=None, seed=0, **options):
        if isinstance(what, tuple):
            what = np.random.default_rng(seed).integers(0, 256, (*what, 3), np.uint8)
        image = what if isinstance(what, Image.Image) else Image.fromarray(what)
        stream = io.BytesIO()
        (image.convert(mode) if mode else image).save(stream, format, **options)
        return stream.getvalue()

    return make


@pytest.fixture
def fill(encode):
    """A function that fills a folder with pictures: name → size, or bytes as they are."""

    def make(folder, files):
        for seed, (name, what) in enumerate(files.items()):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            formats = {".jpg": "JPEG", ".tif": "TIFF"}
            form = formats.get(path.suffix, path.suffix[1:].upper())
            path.write_bytes(what if isinstance(what, bytes) else encode(what, form, seed=seed))
        return folder

    return make
