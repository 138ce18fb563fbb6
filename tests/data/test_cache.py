import threading

import pytest

from limner.core.errors import DataError
from limner.core.events import Note
from limner.data.cache import cache_folder, cached, finish


def _build(content, log=None):
    def build(folder):
        yield Note("building")
        if log is not None:
            log.append(content)
        (folder / "manifest.json").write_text(content)

    return build


def test_the_variable_chooses_the_place(cache, monkeypatch):
    assert cache_folder() == cache
    monkeypatch.delenv("LIMNER_CACHE")
    assert cache_folder().name == "limner"


def test_it_is_built_once(cache, drain):
    log = []
    events, folder = drain(cached("thing", _build("a", log)))
    assert events == [Note("building")] and folder == cache / "packs" / "thing"
    assert drain(cached("thing", _build("b", log))) == ([], folder)
    assert log == ["a"] and (folder / "manifest.json").read_text() == "a"


def test_anew_builds_what_is_there(drain):
    drain(cached("thing", _build("a")))
    _, folder = drain(cached("thing", _build("b"), anew=True))
    assert (folder / "manifest.json").read_text() == "b"


def test_one_builds_and_the_other_waits(drain):
    log, inside, go = [], threading.Event(), threading.Event()

    def slow(folder):
        yield Note("slow")
        inside.set()
        assert go.wait(10)
        log.append("slow")

    first = threading.Thread(target=lambda: finish(cached("thing", slow)))
    first.start()
    assert inside.wait(10)
    waiting = cached("thing", _build("second", log))
    assert next(waiting) == Note("another limner is preparing thing: waiting for it")
    go.set()
    drain(waiting)
    first.join()
    assert log == ["slow"]


def test_leaving_in_the_middle_frees_the_lock_and_leaves_nothing(cache, drain):
    begun = cached("thing", _build("a"))
    next(begun)
    begun.close()
    assert [path.name for path in (cache / "packs").iterdir()] == [".thing.lock"]
    drain(cached("thing", _build("b")))


def test_what_a_killed_build_left_is_swept_and_nothing_else(cache, drain):
    packs = cache / "packs"
    for name in (".thing.partial-0123abcd", ".thing.old-0123abcd", ".thing.partial-mine", ".other.partial-0123abcd"):
        (packs / name).mkdir(parents=True)
    drain(cached("thing", _build("a")))
    left = {path.name for path in packs.iterdir()}
    assert left == {".thing.lock", "thing", ".thing.partial-mine", ".other.partial-0123abcd"}


def test_a_cache_that_can_not_be_written_is_one_sentence(tmp_path, monkeypatch, drain):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError) as error:
        drain(cached("thing", _build("a")))
    assert error.value.message == f"cannot write {tmp_path}/file/packs/thing: not a directory"
    assert "LIMNER_CACHE" in error.value.hint
