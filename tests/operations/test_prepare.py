import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.core.errors import DataError, LimnerError, UsageError
from limner.core.events import Finished, Note, Saved, Warned
from limner.data.pack import open_pack
from limner.operations.prepare import Prepare, prepare


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def pets(tmp_path):
    """Six pictures in two classes, and one that is none."""
    chance = np.random.default_rng(0)
    for name in ("cat/1", "cat/2", "cat/3", "dog/1", "dog/2", "dog/3"):
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (20, 30, 3), np.uint8)).save(tmp_path / "pets" / f"{name}.png")
    (tmp_path / "pets" / "cat" / "broken.png").write_bytes(b"")
    return tmp_path / "pets"


def _run(**choices):
    return list(prepare(Prepare(**choices)))


def test_a_folder_becomes_a_pack(pets, tmp_path):
    *events, saved, finished = _run(source="pets", size=16, out=tmp_path / "out", licence="CC0-1.0", attribution="Ann")
    assert Warned("cat/broken.png is empty: left out") in events
    assert saved == Saved("pack", tmp_path / "out")
    assert isinstance(finished, Finished) and finished.next == (f"limner train dcgan --data {tmp_path}/out",)
    assert finished.values["count"] == 6 and finished.values["skipped"] == 1
    assert finished.values["classes"] == ["cat", "dog"] and finished.values["size"] == [16, 16]
    json.dumps(finished.record())
    manifest = open_pack(tmp_path / "out").manifest
    assert (manifest.licence, manifest.attribution, manifest.fit) == ("CC0-1.0", "Ann", "crop")


def test_two_runs_make_the_same_bytes(pets, tmp_path):
    for name in ("a", "b"):
        _run(source=str(pets), size=16, out=tmp_path / name)
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in "ab")
    assert first == second and set(first) == {"manifest.json", "samples.bin", "labels.bin", "files.jsonl"}


def test_without_out_it_goes_where_training_looks(pets):
    from limner.data.cache import finish
    from limner.data.sources import open_data

    finished = _run(source=str(pets), size=16)[-1]
    dataset = finish(open_data(str(pets), size=16))
    place = Path(finished.values["pack"])
    assert open_pack(place).manifest == dataset.manifest and place.name.startswith("pets-")


@pytest.mark.parametrize(("flag", "value"), [("licence", "CC0-1.0"), ("attribution", "Ann"), ("limit", 100)])
def test_what_training_would_not_find_in_the_cache_needs_out(pets, flag, value):
    with pytest.raises(UsageError) as error:
        _run(source=str(pets), size=16, **{flag: value})
    assert str(error.value) == (
        f"--{flag} is for a pack of its own: training from the pictures themselves would not know of it\n"
        "hint: add --out PACK, and train with --data PACK"
    )


def test_the_folder_that_one_is_in_can_become_the_pack(pets, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for force in (False, True):
        _run(source=str(pets), size=16, out=Path(), force=force)
        assert open_pack(tmp_path / "here").manifest.size == (16, 16)


def test_an_existing_pack_needs_force(pets, tmp_path):
    _run(source=str(pets), size=16, out=tmp_path / "out")
    with pytest.raises(UsageError) as error:
        _run(source=str(pets), size=8, out=tmp_path / "out")
    assert str(error.value) == f"{tmp_path}/out exists already\nhint: give another --out, or --force to overwrite it"
    _run(source=str(pets), size=8, out=tmp_path / "out", force=True)
    assert open_pack(tmp_path / "out").manifest.size == (8, 8)


def test_force_does_not_delete_a_persons_pictures(pets):
    with pytest.raises(UsageError, match="which is not part of a pack, so it is not replaced"):
        _run(source=str(pets), size=8, out=pets, force=True)
    assert len(list(pets.rglob("*.png"))) == 7


def test_colour_and_fit_are_as_asked(pets, tmp_path):
    _run(source=str(pets), size=16, out=tmp_path / "out", colour="grey", fit="pad")
    dataset = open_pack(tmp_path / "out")
    assert dataset.manifest.channels == 1 and dataset.manifest.fit == "pad"
    assert (dataset.samples[:, :, :2] == 255).all()


def test_the_limit_leaves_large_pictures_out(pets, tmp_path):
    Image.new("L", (1100, 1000)).save(pets / "cat" / "large.png")
    events = _run(source=str(pets), size=16, out=tmp_path / "out", limit=1)
    assert Warned("cat/large.png is 1100×1000 px, more than the limit of 1 Mpx: left out") in events


def test_a_built_in_set_and_a_pack_of_it(tmp_path):
    _run(source="digits", out=tmp_path / "a")
    _run(source=str(tmp_path / "a"), size=16, colour="colour", out=tmp_path / "b")
    dataset = open_pack(tmp_path / "b")
    assert dataset.samples.shape == (1797, 3, 16, 16) and dataset.manifest.licence == "BSD-3-Clause"


def test_points_need_a_place():
    with pytest.raises(UsageError) as error:
        _run(source="ring")
    assert str(error.value) == (
        "'ring' is drawn in a moment, so there is nothing to prepare\nhint: give --out to have a pack"
    )


def test_a_failed_preparation_leaves_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        _run(source="empty", out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_what_a_killed_preparation_left_is_named(pets, tmp_path):
    (tmp_path / ".out.partial-0123abcd").mkdir()
    events = _run(source=str(pets), size=16, out=tmp_path / "out")
    assert (
        Note(f"{tmp_path}/.out.partial-0123abcd was left by a preparation that was killed; it may be deleted") in events
    )


def test_an_unwritable_place_is_one_sentence(pets, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LimnerError, match=r"cannot write .*file/out: "):
        _run(source=str(pets), size=16, out=tmp_path / "file" / "out")


def test_a_wrong_setting_is_named():
    with pytest.raises(UsageError) as error:
        Prepare.read({"source": "x", "siz": 3})
    assert str(error.value) == "unknown setting 'siz'\nhint: did you mean 'size'?"


def test_every_setting_has_its_help():
    assert all(field.description for field in Prepare.model_fields.values())


def test_the_request_needs_no_torch():
    code = "import sys, limner.operations.prepare; sys.exit(any(m in sys.modules for m in ('torch', 'PIL', 'numpy')))"
    subprocess.run([sys.executable, "-c", code], check=True)
