import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from limner.core.errors import DataError, UsageError
from limner.data.pack import building, check_sums, open_pack, write_pack


@pytest.fixture
def pack(tmp_path):
    """Five labelled pictures, packed."""
    samples = np.arange(5 * 3 * 4 * 6, dtype=np.uint8).reshape(5, 3, 4, 6)
    with building(tmp_path / "pack") as folder:
        write_pack(folder, samples, np.array([0, 1, 1, 0, 1]), name="toy", source="here", classes=("a", "b"))
    return tmp_path / "pack"


def test_what_is_packed_comes_back(pack):
    dataset = open_pack(pack)
    assert dataset.samples.shape == (5, 3, 4, 6) and dataset.samples[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert dataset.labels.tolist() == [0, 1, 1, 0, 1] and dataset.manifest.classes == ("a", "b")
    assert isinstance(dataset.samples.base, np.memmap) and not dataset.samples.flags.writeable
    check_sums(dataset)


def test_points_come_back_as_floats(tmp_path):
    points = np.array([[0.5, -0.25], [1, -1]], np.float32)
    with building(tmp_path / "p") as folder:
        write_pack(folder, points, None, name="p", source="here")
    dataset = open_pack(tmp_path / "p")
    assert dataset.samples.tolist() == points.tolist() and dataset.labels is None
    assert dataset.take(np.array([1]))["x"].tolist() == [[1, -1]]


def test_nothing_temporary_is_left(pack):
    assert [path.name for path in pack.parent.iterdir()] == ["pack"]
    assert sorted(path.name for path in pack.iterdir()) == ["labels.bin", "manifest.json", "samples.bin"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError, GeneratorExit])
def test_an_interrupted_build_leaves_nothing(tmp_path, failure):
    with pytest.raises(failure), building(tmp_path / "pack") as folder:
        (folder / "samples.bin").write_bytes(b"half")
        raise failure
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_build_leaves_the_old_pack(pack):
    with pytest.raises(KeyboardInterrupt), building(pack):
        raise KeyboardInterrupt
    assert len(open_pack(pack)) == 5


def test_a_pack_is_replaced_whole(pack):
    with building(pack) as folder:
        write_pack(folder, np.zeros((2, 1, 2, 2), np.uint8), None, name="new", source="here")
    assert open_pack(pack).manifest.name == "new" and not (pack / "labels.bin").exists()
    assert [path.name for path in pack.parent.iterdir()] == ["pack"]


def test_an_empty_folder_is_filled_and_stays(tmp_path, monkeypatch):
    target = tmp_path / "mount"
    target.mkdir()
    rename = Path.rename

    def busy(self, other):
        if self == target:
            raise OSError(errno.EBUSY, "Device or resource busy")
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", busy)
    with pytest.raises(KeyboardInterrupt), building(target) as folder:
        (folder / "samples.bin").write_bytes(b"half")
        raise KeyboardInterrupt
    assert list(target.iterdir()) == []
    with building(target) as folder:
        write_pack(folder, np.zeros((2, 1, 2, 2), np.uint8), None, name="new", source="here")
    assert open_pack(target).manifest.name == "new" and [path.name for path in tmp_path.iterdir()] == ["mount"]
    assert sorted(path.name for path in target.iterdir()) == ["manifest.json", "samples.bin"]


def test_a_pack_in_a_mount_point_is_refused_before_the_work(pack, monkeypatch):
    monkeypatch.setattr(Path, "is_mount", lambda path: path == pack)
    with pytest.raises(UsageError) as error, building(pack):
        raise AssertionError
    assert str(error.value) == (
        f"{pack} is a mount point, so the pack in it can't be replaced\nhint: choose a folder in it"
    )


def test_what_is_not_a_pack_is_not_replaced(tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").write_bytes(b"")
    with pytest.raises(UsageError) as error, building(tmp_path / "holiday"):
        raise AssertionError
    assert str(error.value) == (
        f"{tmp_path}/holiday holds beach.jpg, which is not part of a pack, so it is not replaced\n"
        "hint: choose another --out"
    )
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="file is a file, not a folder"), building(tmp_path / "file"):
        raise AssertionError


def test_a_full_disk_is_one_sentence(tmp_path):
    with pytest.raises(DataError) as error, building(tmp_path / "pack"):
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")
    assert str(error.value) == (
        f"cannot write {tmp_path}/pack: no space left on device\n"
        "hint: free space, or choose another place with --out (for the cache: the environment variable LIMNER_CACHE)"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_a_file_can_not_hold_a_pack(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot write .*file/pack: "), building(tmp_path / "file" / "pack"):
        raise AssertionError


def _say(pack):
    with pytest.raises(DataError) as error:
        open_pack(pack)
    return str(error.value)


def test_each_damage_has_its_sentence(pack):
    again = "\nhint: prepare the data again; --force replaces the pack"
    samples, labels, manifest = pack / "samples.bin", pack / "labels.bin", pack / "manifest.json"
    whole = samples.read_bytes()
    samples.write_bytes(whole[:-1])
    assert _say(pack) == f"the pack {pack} is damaged: samples.bin has 359 bytes, not 360{again}"
    samples.write_bytes(whole)
    labels.unlink()
    assert _say(pack) == f"the pack {pack} is damaged: labels.bin is missing{again}"
    np.array([0, 1, 2, 0, 0]).tofile(labels)
    assert _say(pack) == f"the pack {pack} is damaged: its labels name more than its 2 classes{again}"
    text = manifest.read_text()
    for content in ("", "[]", "{}", '{"format": null}', text[:-9], "[" * 100_000, '{"format": 0}', "\udce4"):
        manifest.write_text(content, errors="surrogateescape")
        assert _say(pack) == f"the pack {pack} is damaged: manifest.json is not a pack's manifest{again}"
    manifest.write_text(json.dumps(json.loads(text) | {"count": -1}))
    assert _say(pack).startswith(f"the pack {pack} is damaged: setting 'count' in ")
    manifest.write_text(json.dumps(json.loads(text) | {"size": [1 << 40, 1 << 40]}))
    assert "samples.bin has 360 bytes, not " in _say(pack)
    manifest.unlink()
    assert _say(pack) == f"the pack {pack} is damaged: manifest.json can't be read (no such file or directory){again}"


def test_a_newer_pack_is_named_as_such(pack):
    manifest = pack / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 2, "novelty": 1}))
    assert _say(pack) == (
        f"the pack {pack} has format 2, and this limner reads up to 1\nhint: update limner, or prepare the data again"
    )


def test_a_flipped_bit_is_found_when_asked_for(pack):
    with (pack / "samples.bin").open("rb+") as file:
        file.seek(17)
        file.write(b"\xff")
    with pytest.raises(DataError, match=r"the data set 'toy' is damaged: samples.bin has SHA-256 \w{12}…, not "):
        check_sums(open_pack(pack))


def test_files_are_as_readable_as_others(pack):
    umask = os.umask(0)
    os.umask(umask)
    assert pack.stat().st_mode & 0o777 == 0o777 & ~umask


def test_files_of_others_in_a_nested_pack_are_not_lost(pack, tmp_path):
    parts = tmp_path / "parts"
    parts.mkdir()
    pack.rename(parts / "train")
    notes = parts / "train" / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(UsageError, match="holds train, which is not part of a pack"), building(parts):
        pass
    assert notes.read_text() == "mine"
    notes.unlink()
    with building(parts) as folder:
        write_pack(folder, np.zeros((2, 1, 2, 2), np.uint8), None, name="new", source="here")
    assert open_pack(parts).manifest.name == "new"


@pytest.mark.skipif(os.name != "posix", reason="links need no rights there")
def test_a_pack_behind_a_link_is_replaced_and_the_link_stays(pack, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(pack)
    with building(link) as folder:
        write_pack(folder, np.zeros((2, 1, 2, 2), np.uint8), None, name="new", source="here")
    assert link.is_symlink() and open_pack(pack).manifest.name == "new"


def test_extents_of_a_crafted_manifest_are_refused(pack):
    manifest = json.loads((pack / "manifest.json").read_text())
    for size in ([4, 6, 1, 1], [0, 6]):
        (pack / "manifest.json").write_text(json.dumps(manifest | {"size": size}))
        with pytest.raises(DataError):
            open_pack(pack)
