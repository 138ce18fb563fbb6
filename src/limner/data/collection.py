"""Collections: where pictures lie before they are packed. A folder, a zip and a tar look the same from here on.

Archives are read member by member and never extracted. Links and special files in them are passed over, but for a tar's
hard links to what it holds itself; a name that would leave the archive is refused, and so is an archive that unpacks to
far more than it holds.
"""

import bz2
import gzip
import io
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import IO, BinaryIO, cast

from limner.core.errors import DataError, UsageError
from limner.data.pack import MANIFEST, SAMPLES

LARGEST = 256 << 20
"""Bytes a single file may have."""
_RATIO, _SLACK = 200, 1 << 30
"""An archive may unpack to this many times its size, and a gigabyte more."""
_LONGEST_NAME = 4096
LINKED = "is a link to a folder: not followed"
_SPECIAL = "is a link or a special file: passed over"

Opener = Callable[[], BinaryIO]
BROKEN = (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, tarfile.TarError, zlib.error,
          lzma.LZMAError)  # fmt: skip
"""What reading a damaged member can raise."""


@dataclass(frozen=True, order=True)
class Member:
    """A file of a collection.

    name   path from the collection's root, with / between
    place  counted from 0, tells members of one name apart
    """

    name: str
    place: int


class Collection(ABC):
    """Files to be looked at in order of name.

    path        where it is
    kind        "folder", "zip" or "tar"
    sequential  members can only be read one after the other
    refused     (name, reason) of what was passed over, known after `members`
    """

    kind: str
    sequential = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refused: list[tuple[str, str]] = []

    @property
    def name(self) -> str:
        """The last part of its path, without an archive's endings."""
        name = self.path.resolve().name
        if self.kind == "folder":
            return name or "pictures"
        return name.split(".")[0] or name

    @abstractmethod
    def members(self) -> list[Member]:
        """Every regular file, by name."""

    @abstractmethod
    def each(self, wanted: Sequence[Member]) -> Iterator[tuple[Member, Opener]]:
        """Members with a function that opens each; if `sequential`, it must be used before the next is asked for."""

    def stamp(self) -> Iterator[str]:
        """What tells whether the collection has changed: sizes and times."""
        state = self.path.stat()
        yield f"{self.path.name!a} {state.st_size} {state.st_mtime_ns}"

    def _keep(self, name: str, place: int) -> Iterator[Member]:
        """The member, if its name stays inside."""
        parts = [part for part in name.replace("\\", "/").split("/") if part != "."]
        if len(name) > _LONGEST_NAME:
            self.refused.append((shown(name[:60]) + "…", "has a name that is too long"))
        elif not parts or not parts[0] or ".." in parts or re.match("[A-Za-z]:", parts[0]):
            self.refused.append((shown(name), "has a name that leads out of the archive: passed over"))
        else:
            yield Member("/".join(part for part in parts if part), place)


class Folder(Collection):
    """Files in a folder and the folders below. Links to files are followed, links to folders are not.

    limner's own runs and packs below it are passed over: a run's previews are no pictures to learn from, and they
    change while it lasts.
    """

    kind = "folder"

    def members(self) -> list[Member]:
        self.refused.clear()
        return sorted(Member(name, 0) for name in self._names())

    def _names(self) -> Iterator[str]:
        for here, folders, files in os.walk(self.path, onerror=self._note_unlisted):
            where = Path(here)
            if where != self.path and (made := _made_by_limner(folders, files)):
                self.refused.append((self._relative(where), f"is {made}: passed over"))
                folders.clear()
                continue
            for folder in folders:
                if (where / folder).is_symlink():
                    self.refused.append((self._relative(where / folder), LINKED))
            for file in files:
                if (where / file).is_file():
                    yield (where / file).relative_to(self.path).as_posix()

    def _note_unlisted(self, error: OSError) -> None:
        name = self._relative(Path(error.filename))
        self.refused.append((name, f"can't be listed ({(error.strerror or 'error').lower()})"))

    def _relative(self, path: Path) -> str:
        return shown(path.relative_to(self.path).as_posix())

    def each(self, wanted: Sequence[Member]) -> Iterator[tuple[Member, Opener]]:
        for member in wanted:
            yield member, partial(_open_file, self.path / member.name)

    def stamp(self) -> Iterator[str]:
        for name in sorted(self._names()):
            state = (self.path / name).stat()
            yield f"{name!a} {state.st_size} {state.st_mtime_ns}"


def _made_by_limner(folders: Sequence[str], files: Sequence[str]) -> str:
    """What of limner's a folder is that holds these, or nothing."""
    if "settings.json" in files and ("log.jsonl" in files or "checkpoints" in folders):
        return "a run of limner"
    return "a pack" if MANIFEST in files and SAMPLES in files else ""


def _open_file(path: Path) -> BinaryIO:
    return path.open("rb")


class Zip(Collection):
    """Files in a zip archive."""

    kind = "zip"
    sequential = True  # its file is closed after the last member, when other threads may still want to read

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            archive = zipfile.ZipFile(self.path)
        except BROKEN as error:
            raise _damaged_archive(self.path, error) from None
        with archive:
            yield archive

    def members(self) -> list[Member]:
        self.refused.clear()
        with self._opened() as archive:
            infos = archive.infolist()
        if sum(info.file_size for info in infos) > _most(self.path):
            raise _bomb(self.path)
        kept: list[Member] = []
        for place, info in enumerate(infos):
            if _is_link(info):
                self.refused.append((shown(info.filename), _SPECIAL))
            elif not info.is_dir():
                kept += self._keep(info.filename, place)
        return sorted(kept)

    def each(self, wanted: Sequence[Member]) -> Iterator[tuple[Member, Opener]]:
        with self._opened() as archive:
            infos = archive.infolist()
            for member in wanted:
                yield member, partial(_open_member, archive, infos[member.place])


def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    """A member's bytes, read in one go: to step back in a compressed member is to begin it again."""
    with archive.open(info) as file:
        return io.BytesIO(file.read(LARGEST + 1))


def _is_link(info: zipfile.ZipInfo) -> bool:
    """Whether a zip member says that it is anything but a regular file."""
    kind = info.external_attr >> 28
    return info.create_system == 3 and not info.is_dir() and kind not in (0, 0o10)


class Tar(Collection):
    """Files in a tar archive, which may be compressed with gzip, bzip2 or xz."""

    kind = "tar"
    sequential = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._linked: dict[Member, Member] = {}
        """Hard links, each with the file that it is another name of."""

    def _walk(self) -> Iterator[tuple[Member, Callable[[], bytes]]]:
        with closing(_unpacked(self.path)) as plain:
            tap = _Tap(plain, self.path)
            try:
                with tarfile.open(fileobj=cast(IO[bytes], tap), mode="r:") as archive:
                    yield from self._entries(archive)
                    _check_end(archive, tap)
            except BROKEN as error:
                raise _damaged_archive(self.path, error) from None

    def _entries(self, archive: tarfile.TarFile) -> Iterator[tuple[Member, Callable[[], bytes]]]:
        place, linked = 0, 0
        before: dict[str, tuple[Member, int]] = {}
        while (info := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # else it remembers them all
            if info.isreg() and not info.issparse():
                for member in self._keep(info.name, place):
                    before[info.name] = member, info.size
                    yield member, partial(_extract, archive, info)
            elif info.islnk() and info.linkname in before:
                target, size = before[info.linkname]
                # A name more takes next to nothing, and is as much to read as the file: it counts as if it held it.
                if (linked := linked + size) > _most(self.path):
                    raise _bomb(self.path)
                self._linked |= dict.fromkeys(self._keep(info.name, place), target)
                before[info.name] = target, size
            elif not info.isdir():
                self.refused.append((shown(info.name), _SPECIAL))
            place += 1

    def members(self) -> list[Member]:
        self.refused.clear()
        self._linked.clear()
        found = [member for member, _ in self._walk()]
        return sorted([*found, *self._linked])

    def each(self, wanted: Sequence[Member]) -> Iterator[tuple[Member, Opener]]:
        names: dict[Member, list[Member]] = {}
        for member in wanted:
            names.setdefault(self._linked.get(member, member), []).append(member)
        for member, read in self._walk():
            # All names of a file come with it: to step back in a compressed tar is to begin again.
            once = cache(read)
            for name in names.get(member, ()):
                yield name, partial(_stream, once)


def _stream(read: Callable[[], bytes]) -> BinaryIO:
    return io.BytesIO(read())


def _extract(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    """A member's bytes, read in one go."""
    with cast(IO[bytes], archive.extractfile(info)) as file:
        return file.read(LARGEST + 1)


def _check_end(archive: tarfile.TarFile, tap: "_Tap") -> None:
    """A tar that was cut between two members looks like a shorter one, but for the empty block at its end.

    Reading on to the last byte makes the decompressor compare its checksum.
    """
    tap.seek(archive.offset)
    if tap.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("its end is missing")
    while tap.read(1 << 16):
        pass


class _Tap:
    """A file from which neither too much at once nor too much in all can be read: a tar's headers may ask for it."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path, self._most = file, path, _most(path)
        self.tell = file.tell

    def read(self, count: int = -1) -> bytes:
        if not 0 <= count <= LARGEST or self._file.tell() > self._most:
            raise _bomb(self._path)
        return self._file.read(count)

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        if place > self._most:
            raise _bomb(self._path)
        return self._file.seek(place, whence)


def _unpacked(path: Path) -> BinaryIO:
    """An archive's bytes, decompressed while they are read."""
    with path.open("rb") as file:
        head = file.read(6)
    if head.startswith(b"\x1f\x8b"):
        return cast(BinaryIO, gzip.open(path))
    if head.startswith(b"BZh"):
        return cast(BinaryIO, bz2.open(path))
    if head.startswith(b"\xfd7zXZ"):
        return cast(BinaryIO, lzma.open(path))
    return path.open("rb")


def open_collection(path: Path, given: str) -> Collection:
    """The folder or archive at a path.

    given   what the person wrote, for the error
    raises  UsageError   if it is another kind of file
    """
    if path.is_dir():
        return Folder(path)
    try:
        if zipfile.is_zipfile(path):
            return Zip(path)
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise DataError(f"can't open {given}: {(error.strerror or str(error)).lower()}") from None
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")) or head[257:262] == b"ustar":
        return Tar(path)
    raise UsageError(
        f"{given} is a file, but neither a zip nor a tar archive of pictures",
        "give the folder that holds the pictures, or an archive of it",
    )


def shown(name: str) -> str:
    """A file's name as it can be printed: whatever a terminal might obey or refuse is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)


def _most(path: Path) -> int:
    return path.stat().st_size * _RATIO + _SLACK


def _bomb(path: Path) -> DataError:
    return DataError(
        f"the archive {path} would unpack to more than {_RATIO} times its size, so it is not read",
        "if you trust it, unpack it yourself and give the folder",
    )


def _damaged_archive(path: Path, error: BaseException) -> DataError:
    said = " ".join(str(error).split())[:120] or type(error).__name__
    return DataError(f"the archive {path} is damaged or cut short ({said})", "copy or download it again")
