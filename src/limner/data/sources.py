"""Sources: a name or a path becomes a data set."""

import hashlib
import json
import re
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from limner.core.errors import DataError, UsageError, nearest
from limner.core.events import Event, Note, Warned
from limner.data.builtin import BUILT_IN
from limner.data.builtin.record import BuiltIn, Drawn, Stacks
from limner.data.cache import Build, cached, open_checked
from limner.data.collection import Collection, open_collection
from limner.data.dataset import Dataset, Manifest
from limner.data.folder import Choices, Meter, Split, pack_pictures
from limner.data.images import Fit, fitted, to_array, to_image
from limner.data.pack import (
    SAMPLES,
    building,
    captions_sum,
    is_pack,
    open_pack,
    seal,
    sum_of,
    write_pack,
)

_PACKER = 3
"""Goes up when the same pictures are packed to other bytes, so that the cache is not taken for new."""


def open_data(
    source: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    split: Split = "train",
) -> Generator[Event, None, Dataset]:
    """Open a data set, fetching or preparing it first where that is needed; the cache keeps the result.

    source    a built-in name, a folder of pictures, a zip or tar of them, or a pack
    size      side of the pictures in px; their own where it is not given
    channels  1 grey, 3 colour; their own where it is not given
    fit       how pictures of another shape are brought to the size
    split     which part of the set
    raises    UsageError   if there is no such source, or it has no such part
              DataError    if it can't be fetched, read or packed, or is a pack that its checksums don't fit
    """
    dataset, _ = yield from _opened(source, Choices(size, channels, fit, split))
    yield Note(f"{dataset.manifest.describe()}; source: {dataset.manifest.source}")
    return dataset


def open_parts(
    source: str, *, size: int | None = None, channels: int | None = None, fit: Fit = "crop"
) -> Generator[Event, None, tuple[Dataset, Dataset | None]]:
    """Open a data set, and the part of it that nothing is to learn from, where it has one that can be used.

    raises UsageError, DataError   as of `open_data`, for the part that is learned
    """
    data = yield from open_data(source, size=size, channels=channels, fit=fit)
    try:
        held_out = yield from open_data(source, size=size, channels=channels, fit=fit, split="test")
    except (UsageError, DataError) as error:
        if "has no test part" not in error.message:
            yield Warned(f"the test part of {source} can't be used: {error.message}")
        return data, None
    if held_out.signal.shape != data.signal.shape:
        seen, expected = held_out.signal.describe(), data.signal.describe()
        yield Warned(f"the test part of {source} can't be used: it holds {seen}, and the other part {expected}")
        return data, None
    if held_out.manifest.classes != data.manifest.classes:
        # Its numbers stand for other classes than those of what is learned.
        held_out = replace(held_out, labels=None)
    return data, held_out


def prepare_pack(source: str, out: Path | None, choices: Choices) -> Generator[Event, None, tuple[Dataset, Path]]:
    """Make a pack, where the person wants it or in the cache.

    source   as of `open_data`
    out      the pack's folder, where a pack is replaced; None for the cache
    choices  how pictures are packed; licence and attribution are for folders and archives only
    returns  the pack and its folder, absolute
    raises   UsageError, DataError   as of `open_data`; if `out` holds anything but a pack; or without it, if training,
                                     which does not know these choices, would not find the pack in the cache
    """
    what = _resolve(source)
    if not isinstance(what, Collection) and (choices.licence or choices.attribution):
        raise UsageError(
            f"'{source}' has its licence and attribution already", "give --licence for pictures of your own"
        )
    if out is None:
        _refuse_unknown_to_training(choices)
    else:
        # Where the folder that the process works in is replaced, a relative path would lead to the old one.
        out = out.absolute()
    if isinstance(what, Collection) and out is not None:
        with building(out) as folder:
            yield from pack_pictures(what, source, choices, folder)
        return open_pack(out), out
    dataset, place = yield from _opened(source, choices)
    if out is not None:
        with building(out) as folder:
            write_pack(folder, dataset.samples, dataset.labels, dataset.captions, **_about(dataset.manifest))
        return open_pack(out), out
    if place is None:
        raise UsageError(
            f"'{source}' is drawn in a moment, so there is nothing to prepare", "give --out to have a pack"
        )
    return dataset, place


def _refuse_unknown_to_training(choices: Choices) -> None:
    usual = Choices()
    for flag, value, default in (
        ("--licence", choices.licence, usual.licence),
        ("--attribution", choices.attribution, usual.attribution),
        ("--limit", choices.pixels, usual.pixels),
    ):
        if value != default:
            raise UsageError(
                f"{flag} is for a pack of its own: training from the pictures themselves would not know of it",
                "add --out PACK, and train with --data PACK",
            )


_Opened = tuple[Dataset, Path | None]
"""A data set and the folder of its pack; None where it is in memory alone."""


def _opened(source: str, choices: Choices) -> Generator[Event, None, _Opened]:
    what = _resolve(source)
    if isinstance(what, Collection):
        return (yield from _open_collection(what, source, choices))
    if isinstance(what, BuiltIn):
        found = yield from _open_builtin(what, choices.split)
    else:
        found = _open(what, choices.split)
    return (yield from _in_shape(*found, choices))


# --- what a source is -------------------------------------------------------------------------------------------------


def refuse_unknown(source: str) -> None:
    """Ask whether a source is there, without opening it.

    raises UsageError, DataError   if it is neither a built-in name nor a path
    """
    path = Path(source).expanduser()
    if source not in BUILT_IN and not path.exists():
        raise _missing(source, path)


def _resolve(source: str) -> BuiltIn | Collection | Path:
    """A built-in set, a folder or archive of pictures, or the path of a pack."""
    refuse_unknown(source)
    if source in BUILT_IN:
        return BUILT_IN[source]
    path = Path(source).expanduser()
    if path.is_dir() and (is_pack(path) or any(is_pack(path / part) for part in ("train", "test"))):
        return path
    return open_collection(path, source)


def _missing(source: str, path: Path) -> DataError | UsageError:
    """The error for what is neither a name nor a path, with the nearest of either."""
    if not path.parent.is_dir():
        return DataError(f"there is no folder {path.parent}, so no {source}", "check the path")
    there = [entry.name for entry in path.parent.iterdir() if not entry.name.startswith(".")]
    if source != path.name or path.suffix:
        hint = nearest(path.name, there, path.parent)
        if not hint.startswith("did you mean"):
            hint = "give a folder of pictures, a zip or tar of them, or one of: " + ", ".join(sorted(BUILT_IN))
        return DataError(f"there is no folder or archive {source}", hint)
    return UsageError(
        f"there is no data set '{source}', nor a folder or archive of that name",
        nearest(source, [*BUILT_IN, *there] if nearest(source, there).startswith("did") else BUILT_IN),
    )


def _open(path: Path, split: Split) -> _Opened:
    """A pack, or the part of a folder of packs."""
    if not is_pack(path):
        if not is_pack(path / split):
            raise UsageError(f"{path} has no {split} part", nearest(split, [p.name for p in path.iterdir()]))
        path = path / split
    dataset = open_checked(path)
    if dataset.manifest.split != split:
        raise UsageError(
            f"{path} has no {split} part: it is a pack of the {dataset.manifest.split} part",
            f"prepare the other part with --split {split}",
        )
    return dataset, path


# --- built-in sets ----------------------------------------------------------------------------------------------------


def _open_builtin(record: BuiltIn, split: Split) -> Generator[Event, None, _Opened]:
    if split not in record.splits:
        raise UsageError(f"'{record.name}' has no {split} part", "there are: " + ", ".join(record.splits))
    draw = record.draw
    if isinstance(draw, Stacks):
        single, _ = yield from _open_builtin(BUILT_IN[draw.of], split)
        return _in_memory(record, split, draw.stack(single, split)), None
    if not record.kept:
        return _in_memory(record, split, (yield from draw())[split]), None

    def build(folder: Path) -> Generator[Event, None, None]:
        for part, drawn in (yield from draw()).items():
            (folder / part).mkdir()
            about = _drawn_about(record, part, drawn)
            write_pack(folder / part, drawn.samples, drawn.labels, drawn.captions, **about)

    return (yield from _kept(record.name, build, split))


def _drawn_about(record: BuiltIn, split: str, drawn: Drawn) -> dict[str, object]:
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
    labels = b"" if drawn.labels is None else drawn.labels.astype("<i8").tobytes()
    manifest = Manifest.model_validate(
        {
            **_drawn_about(record, split, drawn),
            "count": count,
            "channels": channels,
            "size": tuple(size),
            "dtype": drawn.samples.dtype.name,
            "sha256": sum_of(drawn.samples),
            "labels_sha256": hashlib.sha256(labels).hexdigest() if labels else "",
            "captions_sha256": captions_sum(drawn.captions),
        }
    )
    return Dataset(manifest, drawn.samples, drawn.labels, drawn.captions)


# --- folders and archives ---------------------------------------------------------------------------------------------


def _open_collection(collection: Collection, given: str, choices: Choices) -> Generator[Event, None, _Opened]:
    """The collection's pack from the cache, made first if its files or the choices are new."""

    def build(folder: Path) -> Generator[Event, None, None]:
        yield from pack_pictures(collection, given, choices, folder)

    key = hashlib.sha256(json.dumps([_PACKER, collection.kind, collection.name, vars(choices)]).encode())
    for line in collection.stamp():
        key.update(line.encode() + b"\n")
    return (yield from _kept(f"{_plain(collection.name)}-{key.hexdigest()[:16]}", build))


def _plain(name: str) -> str:
    """A name that any file system takes."""
    return re.sub(r"[^\w-]+", "_", name, flags=re.ASCII)[:40]


# --- another size or other channels -----------------------------------------------------------------------------------


def _in_shape(dataset: Dataset, place: Path | None, choices: Choices) -> Generator[Event, None, _Opened]:
    """The data set with the size and channels that were asked for; the cache keeps it."""
    was = dataset.manifest
    size = was.size if choices.size is None else (choices.size, choices.size)
    channels = choices.channels or was.channels
    if (channels, size) == (was.channels, was.size):
        return dataset, place
    if not was.size:
        raise UsageError(
            f"'{was.name}' holds points, which have neither size nor colour", "leave --size and --colour out"
        )
    height, width = size

    def build(folder: Path) -> Generator[Event, None, None]:
        meter = Meter("resize", was.count)
        with (folder / SAMPLES).open("wb") as file:
            for sample in dataset.samples:
                file.write(to_array(fitted(to_image(sample), (height, width), choices.fit), channels).data)
                yield from meter.tick()
        shape = (was.count, channels, height, width)
        seal(folder, shape, "uint8", dataset.labels, dataset.captions, **_about(was) | {"fit": choices.fit})

    # The whole manifest: labels, classes and licence may differ where the samples do not.
    told = hashlib.sha256(was.model_dump_json().encode()).hexdigest()[:12]
    key = f"{_plain(was.name)}-{was.split}-{told}-{height}x{width}x{channels}-{choices.fit}"
    return (yield from _kept(key, build))


# --- the cache --------------------------------------------------------------------------------------------------------


def _kept(key: str, build: Build, part: str = "") -> Generator[Event, None, _Opened]:
    """A pack of the cache, built if it isn't there, and once more if it is damaged."""
    place = (yield from cached(key, build)) / part
    try:
        return open_checked(place), place
    except DataError as error:
        yield Warned(f"{error.message}; it is made again")
    place = (yield from cached(key, build, anew=True)) / part
    return open_checked(place), place


def _about(manifest: Manifest) -> dict[str, object]:
    """What a copy of the samples keeps of a manifest."""
    measured = {"format", "count", "channels", "size", "dtype", "sha256", "labels_sha256", "captions_sha256"}
    return manifest.model_dump(exclude=measured)
