"""Sources: a name or a path becomes a data set."""

import hashlib
from collections.abc import Generator
from pathlib import Path
from typing import Literal

from limner.core.errors import UsageError, nearest
from limner.core.events import Event, Note
from limner.data.builtin import BUILT_IN
from limner.data.builtin.record import BuiltIn, Drawn
from limner.data.cache import cached
from limner.data.dataset import Dataset, Manifest
from limner.data.pack import open_pack, write_pack

Split = Literal["train", "test"]
Fit = Literal["crop", "pad", "stretch"]


def open_data(
    source: str, *, size: int | None = None, channels: int | None = None, fit: Fit = "crop", split: Split = "train"
) -> Generator[Event, None, Dataset]:
    """Open a data set, fetching or preparing it first where that is needed. It is then kept in the cache.

    source    a built-in name, a folder of pictures, a zip or tar of them, or a pack
    size      side of the pictures in px; their own where it is not given
    channels  1 grey, 3 colour; their own where it is not given
    fit       how pictures of another shape are brought to the size
    split     which part of the set
    """
    if source in BUILT_IN:
        dataset = yield from _open_builtin(BUILT_IN[source], split)
    else:
        raise UsageError(f"there is no data set '{source}'", nearest(source, BUILT_IN))
    yield Note(f"{dataset.manifest.describe()}, from {dataset.manifest.source}")
    return dataset


def _open_builtin(record: BuiltIn, split: Split) -> Generator[Event, None, Dataset]:
    if split not in record.splits:
        raise UsageError(f"'{record.name}' has no {split} part", nearest(split, record.splits))
    if not record.kept:
        drawn = yield from record.draw()
        return _in_memory(record, split, drawn[split])

    def build(folder: Path) -> Generator[Event, None, None]:
        for part, drawn in (yield from record.draw()).items():
            (folder / part).mkdir()
            write_pack(folder / part, drawn.samples, drawn.labels, **_about(record, part, drawn))

    folder = yield from cached(record.name, build)
    return open_pack(folder / split)


def _about(record: BuiltIn, split: str, drawn: Drawn) -> dict[str, object]:
    return {
        "name": record.name,
        "split": split,
        "source": drawn.source,
        "scale": drawn.scale,
        "classes": record.classes,
        "licence": record.licence,
        "attribution": record.attribution,
    }


def _in_memory(record: BuiltIn, split: str, drawn: Drawn) -> Dataset:
    count, channels, *size = drawn.samples.shape
    manifest = Manifest.model_validate(
        {
            **_about(record, split, drawn),
            "count": count,
            "channels": channels,
            "size": tuple(size),
            "dtype": drawn.samples.dtype.name,
            "sha256": hashlib.sha256(drawn.samples.tobytes()).hexdigest(),
        }
    )
    return Dataset(manifest, drawn.samples, drawn.labels)
