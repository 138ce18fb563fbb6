"""Writing files so that a crash, a full disk or a kill leaves either the old file or the new one, never a torn one."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from limner.core.errors import LimnerError, UsageError


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """An open binary file that takes its name only when all of it is on the disk.

    The bytes go to a temporary file in the same folder; leaving the block flushes, syncs and renames it. On any
    error the temporary file is removed and what stood at `path` stays.

    raises LimnerError   if the disk is full or the place cannot be written
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise unwritable(path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise unwritable(path, error) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write(path: Path, content: bytes | str) -> None:
    """Write a whole small file atomically (see `atomic`). Text is written as UTF-8."""
    with atomic(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder survive a power cut, where the system can: not on Windows, nor on all networks."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            with suppress(OSError):
                os.fsync(handle)
        finally:
            os.close(handle)


def refuse_existing(path: Path, force: bool) -> None:
    """Outputs are never overwritten without being told to. A lock alone is nothing that could be lost.

    raises UsageError   if something stands at `path` and `force` is not set
    """
    there = path.is_dir() and any(entry.name != ".lock" for entry in path.iterdir())
    if not force and (path.is_file() or there):
        raise UsageError(f"{path} exists already", "give another --out, or --force to overwrite it")


def unwritable(path: Path, error: OSError) -> LimnerError:
    """The error a person sees when the system refuses a write."""
    reason = error.strerror or str(error)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return LimnerError(
        f"cannot write {path}: {reason.lower()}", f"{'free space or ' * full}choose another place with --out"
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
