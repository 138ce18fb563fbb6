"""The cache: where prepared data are kept between runs, made once even when two processes want them."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, cast

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from limner.core.errors import LimnerError
from limner.core.events import Event, Note
from limner.core.files import write
from limner.data.dataset import Dataset
from limner.data.pack import CAPTIONS, LABELS, MANIFEST, SAMPLES, building, cannot_write, check_sums, open_pack

T = TypeVar("T")
Build = Callable[[Path], Generator[Event, None, None]]


def cache_folder() -> Path:
    """Where limner keeps what it fetched and prepared: LIMNER_CACHE, or the user's cache folder."""
    chosen = os.environ.get("LIMNER_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("limner", appauthor=False)


def finish(events: Generator[Event, None, T]) -> T:
    """What a generator of events returns, when nobody wants the events."""
    while True:
        try:
            next(events)
        except StopIteration as done:
            return cast(T, done.value)


def cached(key: str, build: Build, shelf: str = "packs", anew: bool = False) -> Generator[Event, None, Path]:
    """A folder of the cache, built first if it isn't there. Another process that wants it too waits.

    key      the folder's name; what it holds must be a function of it
    build    writes to the folder it is given, telling of its progress
    shelf    the part of the cache
    anew     build it even if it is there, because it is damaged
    returns  the folder
    raises   DataError   if the cache can't be written
    """
    folder = cache_folder() / shelf / key
    if folder.exists() and not anew:
        return folder
    lock = FileLock(folder.with_name(f".{key}.lock"))
    yield from _acquire(lock, folder, key)
    try:
        if anew:
            shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            _sweep(folder)
            with building(folder) as temporary:
                yield from build(temporary)
    finally:
        lock.release()
    return folder


def open_checked(pack: Path) -> Dataset:
    """Open a pack that agrees with its checksums. They take as long as reading it all, so they are compared once, and
    again when the size, the time or the place on the disk of one of its files has changed: the cache remembers.

    raises DataError   as of `open_pack`, or if the checksums differ
    """
    dataset = open_pack(pack)
    files = [file for name in (MANIFEST, SAMPLES, LABELS, CAPTIONS) if (file := pack / name).is_file()]
    states = ((file.name, file.stat()) for file in files)
    state = "\n".join(f"{name} {seen.st_size} {seen.st_mtime_ns} {seen.st_ino}" for name, seen in states)
    remembered = cache_folder() / "checked" / hashlib.sha256(os.fsencode(pack.resolve())).hexdigest()[:16]
    with suppress(OSError, ValueError):
        if remembered.read_text(encoding="utf-8") == state:
            return dataset
    check_sums(dataset)
    with suppress(LimnerError):  # a cache that can't be written only means to compare again
        write(remembered, state)
    return dataset


def _acquire(lock: FileLock, folder: Path, key: str) -> Generator[Event, None, None]:
    """Take the lock, giving control back every half second so that waiting can be interrupted."""
    told = False
    while True:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0.5 if told else 0)
            return
        except Timeout:
            if not told:
                yield Note(f"another limner is preparing {key}: waiting for it")
            told = True
        except OSError as error:
            raise cannot_write(folder, error) from None


def _sweep(folder: Path) -> None:
    """Remove what killed builds of this folder left. Only names that we give are touched."""
    ours = re.compile(re.escape(f".{folder.name}.") + r"(partial|old)-[0-9a-f]{8}")
    for path in folder.parent.iterdir():
        if ours.fullmatch(path.name) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
