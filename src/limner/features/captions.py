"""Captions as vectors: each is read once by the sentence encoder, and the cache keeps what came out."""

from collections.abc import Generator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from torch import Tensor

from limner.core.events import Event, Note
from limner.data.cache import cached
from limner.data.dataset import TEXT, Dataset
from limner.data.folder import Meter
from limner.features import minilm

_FILE = "text.bin"


def embedded(dataset: Dataset) -> Generator[Event, None, Dataset]:
    """The data set with its captions' vectors, which the cache keeps; they do not depend on the pictures' size.

    dataset  with captions
    raises   DataError   if the encoder can't be fetched, or the cache can't be written
    """
    shape = (len(dataset.captions), TEXT)

    def build(folder: Path) -> Generator[Event, None, None]:
        yield from minilm.fetch()
        encoder = minilm.load()
        yield Note(f"{dataset.manifest.name}: reading {shape[0]:,} captions, once")
        vectors, meter = np.empty(shape, "<f4"), Meter("read captions", shape[0])
        for places, found in encoder.encode(dataset.captions):
            vectors[places] = found.numpy()
            for _ in places:
                yield from meter.tick()
        (folder / _FILE).write_bytes(vectors.data)

    key = f"{dataset.manifest.captions_sha256[:16]}-{minilm.SHA256[:16]}"
    for anew in (False, True):
        folder = yield from cached(key, build, shelf="captions", anew=anew)
        vectors = np.fromfile(folder / _FILE, "<f4") if (folder / _FILE).is_file() else np.empty(0, "<f4")
        if vectors.size == shape[0] * shape[1] and np.isfinite(vectors).all():
            break
    return replace(dataset, text=vectors.reshape(shape))


@lru_cache(maxsize=8)
def caption_vector(text: str) -> Tensor:
    """A caption's vector, (TEXT,).

    raises DataError   if the encoder can't be fetched
    """
    return minilm.load().embed([text])[0]
