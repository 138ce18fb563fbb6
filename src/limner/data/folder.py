"""Folders and archives of pictures, packed: looked through first, then decoded on every core."""

import hashlib
import io
import json
import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

import numpy as np

from limner.core.errors import DataError
from limner.core.events import Event, Note, Progress, Warned
from limner.data.collection import BROKEN, LARGEST, LINKED, Collection, Member, Opener, shown
from limner.data.dataset import Manifest
from limner.data.images import EXTENSIONS, PIXELS, Fit, Header, ImageProblem, decode, inspect, jpeg_decoder
from limner.data.pack import FILES, SAMPLES, seal

Split = Literal["train", "test"]
_PARTS = {"train": ("train", "training"), "test": ("test", "testing", "val", "valid", "validation")}
_PART_NAMES = {name for names in _PARTS.values() for name in names}
_SAME_PART = (("train", "training"), ("test", "testing"), ("val", "valid", "validation"))
"""Names of one part: the first that is there is taken for it."""
_LISTED = ".jpg .png .webp .bmp .tif .gif"
_EVERY = 0.25
"""Seconds between two events of progress."""
_NAMED = 5
"""Files that one line about oddities names; files.jsonl names all that could have been packed."""


@dataclass(frozen=True)
class Choices:
    """How pictures are packed.

    size         side in px; None leaves pictures that are alike as they are
    channels     1 grey, 3 colour; None takes colour if any picture has it
    fit          how pictures of another shape are brought to the size
    split        which part, where the folders are called train and test
    licence      of the pictures, if known
    attribution  whom to name
    pixels       most pixels that a picture may have
    """

    size: int | None = None
    channels: int | None = None
    fit: Fit = "crop"
    split: Split = "train"
    licence: str = ""
    attribution: str = ""
    pixels: int = PIXELS


@dataclass(frozen=True)
class Picture:
    """A picture that is to be packed. label: the name of its class, or empty."""

    member: Member
    label: str
    header: Header


@dataclass(frozen=True)
class Packed:
    """What became of a picture's file: its SHA-256, and its (C, H, W) bytes or what is wrong with it."""

    sha256: str
    result: np.ndarray | ImageProblem


def pack_pictures(
    collection: Collection, given: str, choices: Choices, folder: Path
) -> Generator[Event, None, Manifest]:
    """Pack a collection's pictures.

    collection  where they are
    given       what the person wrote, for errors
    choices     how
    folder      an empty folder to write to
    raises      DataError   if there are fewer than two pictures, or they are unlike and no size is chosen
    """
    found = collection.members()
    named, beside = _choose(found, collection.refused, given, choices)
    yield from map(Warned, _grouped((reason, name) for name, reason in collection.refused))
    if beside:
        yield Warned(f"{beside} beside the folders train and test of {given}: left out of both")
    pictures, left_out = yield from _look(collection, named, choices)
    _need_two(pictures, left_out, given)
    shape = (_channels(pictures, choices), *_size(pictures, choices, given))
    yield from _oddities(pictures, shape)
    _check_space(folder, len(pictures) * int(np.prod(shape)))
    packed = yield from _decode_all(collection, pictures, shape, choices, folder)
    kept = [i for i, outcome in enumerate(packed) if not isinstance(outcome.result, ImageProblem)]
    _close_gaps(folder / SAMPLES, kept, int(np.prod(shape)))
    left_out |= {
        pictures[i].member: (outcome.result.reason, outcome.sha256)
        for i, outcome in enumerate(packed)
        if isinstance(outcome.result, ImageProblem)
    }
    _need_two([pictures[i] for i in kept], left_out, given)
    _list_files(folder / FILES, [(pictures[i], packed[i].sha256) for i in kept], left_out)
    classes, labels = yield from _labels([pictures[i] for i in kept])
    return seal(
        folder,
        (len(kept), *shape),
        "uint8",
        labels,
        name=shown(collection.name),
        split=choices.split,
        source=f"the {collection.kind} {shown(collection.path.resolve().name)}",
        classes=classes,
        fit=choices.fit if choices.size else "",
        decoder=jpeg_decoder() if any(pictures[i].header.jpeg for i in kept) else "",
        skipped=len(left_out),
        licence=choices.licence,
        attribution=choices.attribution,
    )


# --- which files ------------------------------------------------------------------------------------------------------


_Refused = Sequence[tuple[str, str]]
"""As a collection's: (name, reason)."""


def _choose(
    found: Sequence[Member], refused: _Refused, given: str, choices: Choices
) -> tuple[list[tuple[Member, str]], str]:
    """The files that look like pictures, each with the name of its class or an empty one; and which are of no part."""
    members = [member for member in found if not _is_hidden(member.name)]
    wanted = [member for member in members if _suffix(member.name) in EXTENSIONS]
    if not wanted:
        raise _no_images(members, refused, given)
    paths = _without_shared_folder([(member, PurePosixPath(member.name).parts) for member in wanted])
    beside = ""
    if _has_parts(paths):
        tops = {parts[0].lower() for _, parts in paths if len(parts) > 1}
        taken = {next((name for name in names if name in tops), "") for names in _SAME_PART}
        others = [member.name for member, parts in paths if len(parts) < 2 or parts[0].lower() not in taken]
        beside = f"{len(others):,} image{'s' * (len(others) > 1)} ({shown(others[0])} …)" if others else ""
        paths = _without_shared_folder(_part(paths, choices.split))
    elif choices.split == "test":
        paths = []
    if not paths:
        raise DataError(
            f"{given} has no {choices.split} part", f"put its pictures in a folder named {choices.split} inside it"
        )
    return [(member, parts[0] if len(parts) > 1 else "") for member, parts in paths], beside


_Paths = list[tuple[Member, tuple[str, ...]]]


def _without_shared_folder(paths: _Paths) -> _Paths:
    """Drop outer folders that all the pictures share, unless that folder is a part (train, test)."""
    while paths and len({parts[0] for _, parts in paths}) == 1 and all(len(parts) > 1 for _, parts in paths):
        if _has_parts(paths):
            break
        paths = [(member, parts[1:]) for member, parts in paths]
    return paths


def _part(paths: _Paths, split: Split) -> _Paths:
    """The pictures of one part, without its folder: of test and val, test is taken."""
    for name in _PARTS[split]:
        if found := [(member, parts[1:]) for member, parts in paths if len(parts) > 1 and parts[0].lower() == name]:
            return found
    return []


def _has_parts(paths: _Paths) -> bool:
    """Whether the pictures lie in parts: in nothing else, or in both parts, with some beside them."""
    tops = {parts[0].lower() if len(parts) > 1 else "" for _, parts in paths}
    return bool(tops) and (tops <= _PART_NAMES or all(tops & set(names) for names in _PARTS.values()))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _no_images(members: Sequence[Member], refused: _Refused, given: str) -> DataError:
    others = Counter(_suffix(member.name) or "without an ending" for member in members)
    saw = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items(), key=lambda o: (-o[1], o[0]))[:3])
    hint = "give a folder or archive that holds pictures"
    if others.keys() & {".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".svg", ".cr2", ".nef", ".arw", ".dng"}:
        hint = "convert them to .jpg or .png first"
    elif others.keys() & {".zip", ".tar", ".gz", ".tgz"}:
        hint = "give the archive itself"
    elif any(reason == LINKED for _, reason in refused):
        hint = "give the folder that the link leads to, or put the folder itself in its place"
    passed = f"; {len(refused):,} passed over, e.g. {refused[0][0]}, which {refused[0][1]}" if refused else ""
    return DataError(f"no images in {given} (found 0 of {_LISTED}; saw {saw or 'no files at all'}{passed})", hint)


# --- looking at headers -----------------------------------------------------------------------------------------------

_LeftOut = dict[Member, tuple[str, str]]
"""Files that are not packed: why, and their SHA-256 where they were read."""


def _look(
    collection: Collection, named: list[tuple[Member, str]], choices: Choices
) -> Generator[Event, None, tuple[list[Picture], _LeftOut]]:
    """Read every header. A file that is no picture is named and left out."""
    labels = dict(named)
    pictures: list[Picture] = []
    left_out: _LeftOut = {}
    meter = Meter("scan", len(named))
    for member, opener in collection.each([member for member, _ in named]):
        header = _header(opener, choices.pixels)
        if isinstance(header, ImageProblem):
            left_out[member] = (header.reason, "")
            yield Warned(f"{shown(member.name)} {header.reason}: left out")
        else:
            pictures.append(Picture(member, labels[member], header))
        yield from meter.tick()
    pictures.sort(key=lambda picture: picture.member)
    return pictures, left_out


def _header(opener: Opener, pixels: int) -> Header | ImageProblem:
    try:
        with opener() as file:
            return inspect(file, pixels)
    except BROKEN as error:
        return _unreadable(error)


def _unreadable(error: BaseException) -> ImageProblem:
    said = error.strerror if isinstance(error, OSError) else ""
    return ImageProblem(f"can't be read ({(said or ' '.join(str(error).split())[:120]).lower()})")


def _need_two(pictures: Sequence[Picture], left_out: _LeftOut, given: str) -> None:
    if not pictures:
        member, (reason, _) = min(left_out.items())
        raise DataError(
            f"no readable images in {given}: {len(left_out):,} left out, e.g. {shown(member.name)}, which {reason}",
            "open one of them in a viewer, and copy or download them again",
        )
    if len(pictures) == 1:
        raise DataError(
            f"only one image in {given}" + (f" (left out: {len(left_out):,})" if left_out else ""),
            "a method learns from many pictures: add some, hundreds or better thousands",
        )


def _channels(pictures: Sequence[Picture], choices: Choices) -> int:
    return choices.channels or (3 if any(picture.header.colour for picture in pictures) else 1)


def _size(pictures: Sequence[Picture], choices: Choices, given: str) -> tuple[int, int]:
    """(H, W) of the pack."""
    if choices.size is not None:
        return choices.size, choices.size
    seen = sorted({(p.header.height, p.header.width) for p in pictures}, key=lambda size: (size[0] * size[1], size))
    if len(seen) > 1:
        (low_height, low_width), (high_height, high_width) = seen[0], seen[-1]
        raise DataError(
            f"the images in {given} have {len(seen):,} sizes, from {low_width}×{low_height} "
            f"to {high_width}×{high_height} px",
            "give --size 64, and --fit crop, pad or stretch",
        )
    return seen[0]


def _oddities(pictures: Sequence[Picture], shape: tuple[int, ...]) -> Iterator[Event]:
    """One line for each kind of oddity."""
    odd = ((oddity, shown(picture.member.name)) for picture in pictures for oddity in _odd(picture, shape))
    yield from map(Note, _grouped(odd, f" (see {FILES})"))


def _grouped(said: Iterable[tuple[str, str]], where: str = "") -> Iterator[str]:
    """One line for all names of which the same is said; where: what has the names that no longer fit in."""
    kinds: dict[str, list[str]] = {}
    for what, name in said:
        kinds.setdefault(what, []).append(name)
    for what, names in sorted(kinds.items()):
        more = f" and {len(names) - _NAMED:,} more{where}" if len(names) > _NAMED else ""
        yield f"{what}: {', '.join(names[:_NAMED])}{more}"


def _odd(picture: Picture, shape: tuple[int, ...]) -> Iterator[str]:
    yield from picture.header.oddities
    _, height, width = shape
    if picture.header.height < height or picture.header.width < width:
        yield f"smaller than {width}×{height} px, so enlarged"
    if picture.header.colour and shape[0] == 1:
        yield "colour, made grey"


# --- decoding ---------------------------------------------------------------------------------------------------------


_WRITTEN = np.empty(0, np.uint8)
"""Stands for a picture that has reached the file."""


def _decode_all(
    collection: Collection, pictures: Sequence[Picture], shape: tuple[int, ...], choices: Choices, folder: Path
) -> Generator[Event, None, list[Packed]]:
    """Decode on every core, and write each picture to its place."""
    places = {picture.member: place for place, picture in enumerate(pictures)}
    outcomes: list[Packed | None] = [None] * len(pictures)
    meter = Meter("pack", len(pictures))
    cores = _cores()
    waiting: deque[tuple[Member, Future[Packed]]] = deque()
    pool = ThreadPoolExecutor(cores, thread_name_prefix="limner-pack")

    def finish_one(file: BinaryIO) -> Iterator[Event]:
        member, future = waiting.popleft()
        packed, place = future.result(), places[member]
        if isinstance(packed.result, ImageProblem):
            yield Warned(f"{shown(member.name)} {packed.result.reason}: left out")
            outcomes[place] = packed
        else:
            file.seek(place * packed.result.size)
            file.write(packed.result.data)
            outcomes[place] = replace(packed, result=_WRITTEN)
        yield from meter.tick()

    try:
        # Written, not mapped: on a full disk a write fails with a reason, a map kills the process.
        with (folder / SAMPLES).open("wb") as file:
            for member, opener in collection.each([picture.member for picture in pictures]):
                read = _read_now(opener) if collection.sequential else opener
                waiting.append((member, pool.submit(_pack_one, read, shape, choices)))
                if len(waiting) >= 2 * cores:
                    yield from finish_one(file)
            while waiting:
                yield from finish_one(file)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    gone = Packed("", ImageProblem("is not there any more"))
    return [outcome or gone for outcome in outcomes]


def _read_now(opener: Opener) -> Opener:
    """Read a member of an archive that goes only forwards; a failure is kept for the one who opens it."""
    try:
        with opener() as file:
            data = file.read(LARGEST + 1)
    except BROKEN as error:
        failure = error

        def fail() -> BinaryIO:
            raise failure

        return fail
    return lambda: io.BytesIO(data)


def _pack_one(opener: Opener, shape: tuple[int, ...], choices: Choices) -> Packed:
    try:
        with opener() as file:
            data = file.read(LARGEST + 1)
    except BROKEN as error:
        return Packed("", _unreadable(error))
    if len(data) > LARGEST:
        return Packed("", ImageProblem(f"has more than {LARGEST >> 20} MiB"))
    channels, *size = shape
    result = decode(data, channels=channels, size=(size[0], size[1]), fit=choices.fit, pixels=choices.pixels)
    if isinstance(result, np.ndarray) and result.shape != shape:
        result = ImageProblem("changed while it was read")
    return Packed(hashlib.sha256(data).hexdigest(), result)


def _close_gaps(path: Path, kept: Sequence[int], length: int) -> None:
    """Move samples down over the places of those that failed."""
    with path.open("rb+") as file:
        for target, place in enumerate(kept):
            if target != place:
                file.seek(place * length)
                data = file.read(length)
                file.seek(target * length)
                file.write(data)
        file.truncate(len(kept) * length)


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"the pack needs {needed / 1e6:,.0f} MB, and {folder.parent} has {free / 1e6:,.0f} MB free",
            "free space, choose another place with --out, or a smaller --size",
        )


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- what is written beside -------------------------------------------------------------------------------------------


def _labels(pictures: Sequence[Picture]) -> Generator[Event, None, tuple[tuple[str, ...], np.ndarray | None]]:
    """Classes by name, and the labels, where every picture lies in a class folder."""
    classes = sorted({picture.label for picture in pictures})
    if classes == [""]:
        return (), None
    loose = [picture for picture in pictures if not picture.label]
    if loose:
        yield Warned(
            f"{len(loose):,} of {len(pictures):,} images lie in no class folder, e.g. {shown(loose[0].member.name)}: "
            "the pack has no labels"
        )
        return (), None
    if len(classes) == 1:
        return (), None
    number = {name: i for i, name in enumerate(classes)}
    return tuple(map(shown, classes)), np.array([number[picture.label] for picture in pictures], np.int64)


def _list_files(path: Path, kept: Sequence[tuple[Picture, str]], left_out: _LeftOut) -> None:
    """files.jsonl: packed files in the order of the samples, then those left out."""
    with path.open("w", encoding="ascii", newline="\n") as file:
        for picture, sha256 in kept:
            line = {"file": picture.member.name, "sha256": sha256}
            if picture.label:
                line["class"] = picture.label
            if picture.header.oddities:
                line["note"] = "; ".join(picture.header.oddities)
            file.write(json.dumps(line) + "\n")
        for member, (reason, sha256) in sorted(left_out.items()):
            file.write(json.dumps({"file": member.name, "sha256": sha256, "left out": reason}) + "\n")


class Meter:
    """Tells how far the work is, a few times a second."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._began = self._told = time.monotonic()

    def tick(self) -> Iterator[Event]:
        """One more image is done."""
        self._done += 1
        now = time.monotonic()
        if now - self._told < _EVERY and self._done < self._total:
            return
        self._told = now
        rate = self._done / max(now - self._began, 1e-6)
        left = (self._total - self._done) / rate
        yield Progress(self._what, self._done, self._total, "images", rate, "images/s", left)
