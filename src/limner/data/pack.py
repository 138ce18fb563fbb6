"""Packs: a folder that holds prepared samples, ready to be memory-mapped.

    manifest.json   what the samples are (see Manifest)
    samples.bin     (count, C, *size), row by row, uint8 or little-endian float32
    labels.bin      (count,), little-endian int64; only where there are classes
    captions.json   what each sample shows, in words; only where somebody said
    files.jsonl     one line for each file that was packed or left out, with its SHA-256; only for folders and archives

A pack holds no time and no absolute path: the same pictures give the same bytes.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from limner.core.errors import DataError, LimnerError, UsageError
from limner.core.files import sync_folder
from limner.data.dataset import FORMAT, Dataset, Manifest
from limner.data.stack import Stack

MANIFEST, SAMPLES, LABELS, FILES = "manifest.json", "samples.bin", "labels.bin", "files.jsonl"
CAPTIONS = "captions.json"
_LARGEST_MANIFEST = 16 << 20
_LARGEST_CAPTION = 1 << 10
"""Bytes that a caption takes on average at most, in a pack that is read."""
_ROWS = 4096
"""Samples that are written or summed at a time."""


def is_pack(folder: Path) -> bool:
    """Whether the folder looks like a pack."""
    return (folder / MANIFEST).is_file() and (folder / SAMPLES).is_file()


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A temporary folder beside the target, which takes the target's place when the work is done. An empty folder that
    is there stays, and is filled: it may be a mount point, or the one that the person works in.

    If the work fails or is interrupted, the temporary folder goes and the target stays as it was.
    A target that exists is replaced only if nothing but packs would be lost.

    target  the folder to make
    yields  the folder to write to
    raises  UsageError   if the target exists and is neither a pack nor empty
            DataError    if it can't be written
    """
    check_replaceable(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # What a link points to is replaced, not the link.
        target = target.resolve()
        empty = target.is_dir() and not any(target.iterdir())
        temporary = _beside(target / "pack" if empty else target, "partial")
        temporary.mkdir()
    except OSError as error:
        raise cannot_write(target, error) from None
    try:
        yield temporary
        _settle(temporary)
        (_fill if empty else _swap)(temporary, target)
    except OSError as error:
        raise cannot_write(target, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def cannot_write(target: Path, error: OSError) -> DataError:
    """The error for a place that can't be written, with the system's reason."""
    return DataError(
        f"cannot write {target}: {(error.strerror or str(error)).lower()}",
        "free space, or choose another place with --out (for the cache: the environment variable LIMNER_CACHE)",
    )


def check_replaceable(target: Path) -> None:
    """Make sure that making `target` destroys nothing but packs.

    raises UsageError   if it is a file, or a folder that holds something else or can't be replaced
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"{target} is a file, not a folder", "choose another --out")
    for entry in target.iterdir():
        if not _is_ours(entry):
            raise UsageError(
                f"{target} holds {entry.name}, which is not part of a pack, so it is not replaced",
                "choose another --out",
            )
        if target.is_mount():
            raise UsageError(f"{target} is a mount point, so the pack in it can't be replaced", "choose a folder in it")


def _is_ours(entry: Path) -> bool:
    if entry.is_dir():
        return is_pack(entry) and all(_is_of_a_pack(inside) for inside in entry.iterdir())
    return _is_of_a_pack(entry)


def _is_of_a_pack(file: Path) -> bool:
    return file.is_file() and file.name in (MANIFEST, SAMPLES, LABELS, CAPTIONS, FILES)


def _beside(target: Path, why: str) -> Path:
    """A new name beside the target, hidden, and known as ours."""
    return target.with_name(f".{target.name}.{why}-{secrets.token_hex(4)}")


def _settle(folder: Path) -> None:
    """Make every file and folder reach the disk."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def _fill(new: Path, target: Path) -> None:
    """Move what is in `new` into the empty `target`; the manifest, without which it is no pack, comes last."""
    for entry in sorted(new.iterdir(), key=lambda entry: entry.name == MANIFEST):
        entry.rename(target / entry.name)
    sync_folder(target)


def _swap(new: Path, target: Path) -> None:
    """Put `new` in the place of `target`, which comes back if that fails."""
    old = None
    if target.exists():
        old = _beside(target, "old")
        target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        if old is not None:
            old.rename(target)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
    sync_folder(target.parent)


def write_pack(
    folder: Path, samples: np.ndarray | Stack, labels: np.ndarray | None, captions: Sequence[str] = (), **about: Any
) -> Manifest:
    """Write samples that are in memory as a pack.

    folder    an empty folder (see `building`)
    samples   (count, C, *size)  uint8, or float32 in [-1, 1]
    labels    (count,)           integers, or None
    captions  one a sample, or none at all
    about     what is left of the manifest: name, source, classes, licence …
    """
    with (folder / SAMPLES).open("wb") as file:
        for rows in _rows(samples):
            file.write(rows.data)
    return seal(folder, samples.shape, samples.dtype.name, labels, captions, **about)


def _rows(samples: np.ndarray | Stack) -> Iterator[np.ndarray]:
    for start in range(0, len(samples), _ROWS):
        yield np.ascontiguousarray(samples[start : start + _ROWS])


def sum_of(samples: np.ndarray | Stack) -> str:
    """SHA-256 of samples as a pack holds them, in hexadecimal."""
    digest = hashlib.sha256()
    for rows in _rows(samples):
        digest.update(rows.data)
    return digest.hexdigest()


def seal(
    folder: Path,
    shape: tuple[int, ...],
    dtype: str,
    labels: np.ndarray | None,
    captions: Sequence[str] = (),
    **about: Any,
) -> Manifest:
    """Write labels, captions and manifest beside samples that have been written.

    folder    holds samples.bin
    shape     (count, C, *size) of the samples
    labels    (count,) integers, or None
    captions  one a sample, or none at all
    about     what is left of the manifest
    """
    count, channels, *size = shape
    packed_labels = b"" if labels is None else np.asarray(labels, dtype="<i8").tobytes()
    if labels is not None:
        (folder / LABELS).write_bytes(packed_labels)
    if captions:
        (folder / CAPTIONS).write_bytes(packed_captions(captions))
    manifest = Manifest(
        count=count,
        channels=channels,
        size=tuple(size),
        dtype=dtype,
        sha256=sha256_of(folder / SAMPLES),
        labels_sha256=hashlib.sha256(packed_labels).hexdigest() if labels is not None else "",
        captions_sha256=captions_sum(captions),
        **about,
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return manifest


def packed_captions(captions: Sequence[str]) -> bytes:
    """Captions as a pack holds them."""
    return (json.dumps(list(captions), ensure_ascii=False, indent=0) + "\n").encode()


def captions_sum(captions: Sequence[str]) -> str:
    """SHA-256 of captions as a pack holds them, in hexadecimal; empty where there are none."""
    return hashlib.sha256(packed_captions(captions)).hexdigest() if captions else ""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_pack(folder: Path) -> Dataset:
    """Open a pack: its samples are mapped into memory, not read (`check_sums` reads them).

    folder  the pack
    raises  DataError   if it is no pack, damaged, or made by a newer limner
    """
    manifest = read_manifest(folder)
    dtype = np.dtype(manifest.dtype).newbyteorder("<")
    shape = (manifest.count, *manifest.signal.shape)
    _check_length(folder / SAMPLES, int(np.prod(shape, dtype=object)) * dtype.itemsize)
    samples = np.asarray(np.memmap(folder / SAMPLES, dtype=dtype, mode="r", shape=shape))
    labels = None
    if manifest.classes:
        _check_length(folder / LABELS, manifest.count * 8)
        labels = np.fromfile(folder / LABELS, dtype="<i8").astype(np.int64, copy=False)
        if labels.min() < 0 or labels.max() >= len(manifest.classes):
            raise _damaged(folder, f"its labels name more than its {len(manifest.classes)} classes")
    return Dataset(manifest, samples, labels, _read_captions(folder, manifest))


def _read_captions(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    if not manifest.captions_sha256:
        return ()
    most = manifest.count * _LARGEST_CAPTION
    try:
        with (folder / CAPTIONS).open("rb") as file:
            text = file.read(most + 1)
        captions = json.loads(text) if len(text) <= most else None
    except OSError as error:
        raise _damaged(folder, f"{CAPTIONS} can't be read ({(error.strerror or str(error)).lower()})") from None
    except (ValueError, RecursionError):
        captions = None
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        raise _damaged(folder, f"{CAPTIONS} is not a list of captions")
    if len(captions) != manifest.count:
        raise _damaged(folder, f"{CAPTIONS} has {len(captions):,} captions, not {manifest.count:,}")
    return tuple(captions)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a pack.

    raises DataError   if there is none, or it can't be read, or is newer than this limner
    """
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_MANIFEST + 1)
    except OSError as error:
        raise _damaged(folder, f"{MANIFEST} can't be read ({(error.strerror or str(error)).lower()})") from None
    try:
        values = json.loads(text)
        version = int(values["format"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _damaged(folder, f"{MANIFEST} is not a pack's manifest") from None
    if len(text) > _LARGEST_MANIFEST or version < 1:
        raise _damaged(folder, f"{MANIFEST} is not a pack's manifest")
    if version > FORMAT:
        raise DataError(
            f"the pack {folder} has format {version}, and this limner reads up to {FORMAT}",
            "update limner, or prepare the data again",
        )
    try:
        return Manifest.read(values, where=str(path))
    except LimnerError as error:
        raise _damaged(folder, error.message) from None


def _check_length(path: Path, expected: int) -> None:
    seen = -1
    with suppress(OSError):
        seen = path.stat().st_size
    if seen != expected:
        was = "is missing" if seen < 0 else f"has {seen:,} bytes, not {expected:,}"
        raise _damaged(path.parent, f"{path.name} {was}")


def check_sums(dataset: Dataset) -> None:
    """Compare samples, labels and captions with the checksums of their manifest.

    raises DataError   if they differ
    """
    manifest = dataset.manifest
    seen = {SAMPLES: (sum_of(dataset.samples), manifest.sha256)}
    if dataset.labels is not None:
        seen[LABELS] = (sum_of(dataset.labels.astype("<i8")), manifest.labels_sha256)
    seen[CAPTIONS] = (captions_sum(dataset.captions), manifest.captions_sha256)
    for name, (digest, expected) in seen.items():
        if digest != expected:
            raise DataError(
                f"the data set '{manifest.name}' is damaged: {name} has SHA-256 {digest[:12]}…, not {expected[:12]}…",
                "prepare the data again; --force replaces the pack",
            )


def _damaged(folder: Path, what: str) -> DataError:
    return DataError(f"the pack {folder} is damaged: {what}", "prepare the data again; --force replaces the pack")
