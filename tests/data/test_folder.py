import json
import os
import re
import shutil
import tarfile
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from limner.core.errors import DataError, UsageError
from limner.core.events import Note, Progress, Warned
from limner.data import folder as module
from limner.data.folder import Choices
from limner.data.images import decode, jpeg_decoder
from limner.data.pack import open_pack
from limner.data.sources import open_data, open_parts, prepare_pack


def _say(drain, source, **choices):
    with pytest.raises((DataError, UsageError)) as error:
        drain(open_data(str(source), **choices))
    return str(error.value)


def _files(dataset_folder):
    return [json.loads(line) for line in (dataset_folder / "files.jsonl").read_text().splitlines()]


def _pack(cache):
    (pack,) = [path for path in (cache / "packs").iterdir() if path.is_dir()]
    return pack


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_pictures_come_in_order_of_name(tmp_path, fill, drain, encode):
    fill(tmp_path, {"b.png": (8, 8), "sub/a.png": (8, 8), "C.PNG": encode((8, 8), seed=2)})
    _, dataset = drain(open_data(str(tmp_path)))
    expected = [Image.open(tmp_path / name) for name in ("C.PNG", "b.png", "sub/a.png")]
    assert (dataset.samples == np.stack([np.asarray(image).transpose(2, 0, 1) for image in expected])).all()
    assert dataset.labels is None and dataset.manifest.fit == ""


def test_class_folders_become_labels(tmp_path, fill, drain, cache):
    fill(
        tmp_path / "pets", {"dog/1.png": (8, 8), "cat/old/1.png": (8, 8), "cat/2.png": (8, 8), ".hidden/3.png": (8, 8)}
    )
    _, dataset = drain(open_data(str(tmp_path / "pets")))
    assert dataset.manifest.classes == ("cat", "dog") and dataset.labels.tolist() == [0, 0, 1]
    assert [(line["file"], line["class"]) for line in _files(_pack(cache))] == [
        ("cat/2.png", "cat"), ("cat/old/1.png", "cat"), ("dog/1.png", "dog"),
    ]  # fmt: skip
    assert dataset.manifest.name == "pets" and dataset.manifest.source == "the folder pets"


def test_a_folder_around_it_all_is_no_class(tmp_path, fill, drain):
    fill(tmp_path / "x", {"all/a.png": (8, 8), "all/b.png": (8, 8)})
    assert drain(open_data(str(tmp_path / "x")))[1].labels is None
    fill(tmp_path / "y", {"all/cat/a.png": (8, 8), "all/dog/b.png": (8, 8)})
    assert drain(open_data(str(tmp_path / "y")))[1].manifest.classes == ("cat", "dog")


def test_loose_pictures_beside_class_folders_are_told(tmp_path, fill, drain):
    fill(tmp_path, {"cat/1.png": (8, 8), "dog/2.png": (8, 8), "loose.png": (8, 8)})
    events, dataset = drain(open_data(str(tmp_path)))
    assert dataset.labels is None
    assert Warned("1 of 3 images lie in no class folder, e.g. loose.png: the pack has no labels") in events


def test_folders_called_train_and_test_are_parts(tmp_path, fill, drain):
    fill(
        tmp_path / "d",
        {f"{part}/{label}/{i}.png": (8, 8) for part in ("train", "val") for label in "ab" for i in (1, 2)},
    )
    train, test = (drain(open_data(str(tmp_path / "d"), split=split))[1] for split in ("train", "test"))
    assert train.manifest.classes == test.manifest.classes == ("a", "b")
    assert (train.samples != test.samples).any() and len(train) == len(test) == 4
    fill(tmp_path / "e", {"1.png": (8, 8), "2.png": (8, 8)})
    assert _say(drain, tmp_path / "e", split="test") == (
        f"{tmp_path}/e has no test part\nhint: put its pictures in a folder named test inside it"
    )


@pytest.mark.parametrize("stray", ["single_prediction/x.png", "preview.png"])
def test_what_lies_beside_train_and_test_is_told_and_in_neither(tmp_path, fill, drain, stray):
    fill(tmp_path, {**{f"{part}/{label}/1.png": (8, 8) for part in ("train", "test") for label in "ab"}, stray: (8, 8)})
    for split in ("train", "test"):
        events, data = drain(open_data(str(tmp_path), split=split))
        assert len(data) == 2 and data.manifest.classes == ("a", "b")
        said = f"1 image ({stray} …) beside the folders train and test of {tmp_path}: left out of both"
        assert Warned(said) in events


def test_of_two_folders_for_one_part_the_other_is_told(tmp_path, fill, drain):
    fill(tmp_path, {f"{part}/{i}.png": (8, 8) for part in ("train", "training", "val", "valid") for i in (1, 2)})
    for split in ("train", "test"):
        events, data = drain(open_data(str(tmp_path), split=split))
        said = f"4 images (training/1.png …) beside the folders train and test of {tmp_path}: left out of both"
        assert len(data) == 2 and Warned(said) in events
    fill(tmp_path / "usual", {f"{part}/{i}.png": (8, 8) for part in ("train", "val", "test") for i in (1, 2)})
    assert not any(isinstance(event, Warned) for event in drain(open_data(str(tmp_path / "usual")))[0])


def test_a_class_called_train_beside_others_is_a_class(tmp_path, fill, drain):
    fill(tmp_path, {f"{label}/{i}.png": (8, 8) for label in ("car", "train") for i in (1, 2)})
    assert drain(open_data(str(tmp_path)))[1].manifest.classes == ("car", "train")


def test_labels_of_a_test_part_with_other_classes_are_left_out(tmp_path, fill, drain):
    fill(tmp_path, {f"{place}/{i}.png": (8, 8) for place in ("train/ant", "train/cat", "test/cat") for i in (1, 2)})
    _, (train, test) = drain(open_parts(str(tmp_path)))
    assert train.labels is not None and test.labels is None and len(test) == 2


def test_a_test_part_that_cannot_be_used_is_told_and_does_without(tmp_path, fill, drain):
    fill(tmp_path / "one", {"train/1.png": (8, 8), "train/2.png": (8, 8), "test/1.png": (8, 8)})
    fill(
        tmp_path / "odd", {f"{part}/{i}.png": (side, side) for part, side in (("train", 8), ("test", 9)) for i in "ab"}
    )
    fill(tmp_path / "two", {f"train/{i}.png": (8, 8) for i in "ab"} | {"test/a.png": (8, 8), "test/b.png": (9, 9)})
    for name, why in {
        "one": f"only one image in {tmp_path}/one",
        "odd": "it holds 9×9 px, colour, and the other part 8×8 px, colour",
        "two": f"the images in {tmp_path}/two have 2 sizes, from 8×8 to 9×9 px",
    }.items():
        events, (data, held_out) = drain(open_parts(str(tmp_path / name)))
        assert len(data) == 2 and held_out is None
        assert Warned(f"the test part of {tmp_path}/{name} can't be used: {why}") in events


def test_what_has_no_test_part_needs_no_word_about_it(tmp_path, fill, drain):
    fill(tmp_path, {"1.png": (8, 8), "2.png": (8, 8)})
    events, (_, held_out) = drain(open_parts(str(tmp_path)))
    assert held_out is None and not any(isinstance(event, Warned) for event in events)


def test_runs_and_packs_of_limner_below_a_folder_are_passed_over(tmp_path, fill, drain):
    fill(tmp_path, {f"{label}/{i}.png": (8, 8) for label in ("cat", "dog") for i in (1, 2)})
    _, before = drain(open_data(str(tmp_path)))
    drain(prepare_pack(str(tmp_path), tmp_path / "packed", Choices()))
    run = tmp_path / "runs" / "gan-001"
    fill(run, {"settings.json": b"{}", "log.jsonl": b"", "losses.png": (9, 9), "grids/epoch-001.png": (30, 30)})
    events, found = drain(open_data(str(tmp_path)))
    assert found.manifest == before.manifest and found.manifest.classes == ("cat", "dog")
    fill(tmp_path, {"dog/3.png": (8, 8)})
    events, found = drain(open_data(str(tmp_path)))
    assert len(found) == 5 and found.manifest.classes == ("cat", "dog")
    assert Warned("is a run of limner: passed over: runs/gan-001") in events
    assert Warned("is a pack: passed over: packed") in events


def test_a_run_that_is_named_itself_is_a_folder_of_pictures(tmp_path, fill, drain):
    fill(tmp_path / "run", {"settings.json": b"{}", "log.jsonl": b"", "grids/a.png": (8, 8), "grids/b.png": (8, 8)})
    assert len(drain(open_data(str(tmp_path / "run")))[1]) == 2


def test_of_many_refusals_of_one_kind_the_first_are_named(tmp_path, fill, drain):
    fill(tmp_path / "cats", {"a.png": (8, 8), "b.png": (8, 8)})
    for i in range(7):
        (tmp_path / "cats" / f"link{i}").symlink_to(tmp_path, target_is_directory=True)
    (told,) = [event for event in drain(open_data(str(tmp_path / "cats")))[0] if isinstance(event, Warned)]
    assert told.text.startswith("is a link to a folder: not followed: link") and told.text.endswith(" and 2 more")


def test_colour_is_taken_if_any_picture_has_it(tmp_path, fill, drain, encode):
    grey = encode(np.full((8, 8), 7, np.uint8))
    fill(tmp_path / "g", {"a.png": grey, "b.png": grey})
    assert drain(open_data(str(tmp_path / "g")))[1].manifest.channels == 1
    fill(tmp_path / "g", {"c.png": (8, 8)})
    assert drain(open_data(str(tmp_path / "g")))[1].manifest.channels == 3
    events, dataset = drain(open_data(str(tmp_path / "g"), channels=1))
    assert dataset.manifest.channels == 1 and Note("colour, made grey: c.png") in events


def test_mixed_sizes_come_to_the_one_that_is_asked_for(tmp_path, fill, drain):
    fill(tmp_path, {"a.png": (20, 30), "b.jpg": (64, 48), "c.webp": (9, 9), "d.tif": (33, 5), "e.bmp": (16, 16)})
    for fit in ("crop", "pad", "stretch"):
        events, dataset = drain(open_data(str(tmp_path), size=16, fit=fit))
        assert dataset.samples.shape == (5, 3, 16, 16) and dataset.manifest.fit == fit
        assert Note("smaller than 16×16 px, so enlarged: c.webp, d.tif") in events


def test_odd_and_unreadable_files_are_named(tmp_path, fill, drain, cache, encode):
    deep = encode(np.zeros((8, 8), np.uint16))
    good = encode((8, 8))
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    moving = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    noisy = encode((64, 64), "JPEG")
    fill(tmp_path, {"a.png": good, "deep.png": deep, "cut.jpg": noisy[:1500], "empty.png": b"", "anim.gif": moving})
    fill(tmp_path, {"page.jpg": b"<html>", "notes.txt": b"hello", "nul\n.png": b"\0"})
    events, dataset = drain(open_data(str(tmp_path), size=8))
    texts = [event.text for event in events if isinstance(event, Note | Warned)]
    for line in (
        "cut.jpg is cut short: left out",
        "empty.png is empty: left out",
        "page.jpg is a web page or drawing, not a picture: left out",
        "nul\\n.png is no picture of a known format, or its header is damaged: left out",
        "has 16 bits: brought to 8: deep.png",
        "has several frames: the first is used: anim.gif",
    ):
        assert line in texts
    assert len(dataset) == 3 and dataset.manifest.skipped == 4
    listed = _files(_pack(cache))
    assert [line["file"] for line in listed[:3]] == ["a.png", "anim.gif", "deep.png"]
    assert {line["file"]: line["left out"] for line in listed[3:]}["cut.jpg"] == "is cut short"
    assert len(listed[0]["sha256"]) == 64 and listed[1]["note"] == "has several frames: the first is used"


def test_damaged_pictures_in_between_leave_no_gaps(tmp_path, fill, drain, encode):
    names = [f"{i:02}.png" for i in range(30)]
    fill(tmp_path, {name: (8, 8) for name in names})
    for i in (0, 7, 8, 29):
        whole = (tmp_path / names[i]).read_bytes()
        (tmp_path / names[i]).write_bytes(whole[: len(whole) // 2])
    _, dataset = drain(open_data(str(tmp_path)))
    kept = [name for i, name in enumerate(names) if i not in (0, 7, 8, 29)]
    expected = np.stack([np.asarray(Image.open(tmp_path / name)).transpose(2, 0, 1) for name in kept])
    assert (dataset.samples == expected).all() and dataset.manifest.skipped == 4


# --- the same again ---------------------------------------------------------------------------------------------------


@pytest.fixture
def pets(tmp_path, fill):
    return fill(tmp_path / "pets", {f"{label}/{i}.jpg": (20 + i, 30) for label in ("cat", "dog") for i in range(5)})


def test_a_folder_is_prepared_once(pets, drain, monkeypatch):
    first, dataset = drain(open_data(str(pets), size=16))
    assert any(isinstance(event, Progress) for event in first)
    monkeypatch.setattr(module, "decode", None)
    second, again = drain(open_data(str(pets), size=16))
    assert second == [Note("pets: 10 train images, 16×16 px, colour, 2 classes; source: the folder pets")]
    assert again.manifest == dataset.manifest


def test_a_changed_folder_or_choice_is_prepared_anew(pets, drain, fill):
    sums = {drain(open_data(str(pets), size=16, fit=fit))[1].manifest.sha256 for fit in ("crop", "pad")}
    fill(pets, {"cat/new.jpg": (20, 30)})
    sums.add(drain(open_data(str(pets), size=16))[1].manifest.sha256)
    assert len(sums) == 3


def test_a_damaged_pack_in_the_cache_is_made_again(pets, drain, cache):
    drain(open_data(str(pets), size=16))
    (_pack(cache) / "samples.bin").write_bytes(b"")
    events, dataset = drain(open_data(str(pets), size=16))
    assert any(
        "samples.bin has 0 bytes, not 7,680; it is made again" in e.text for e in events if isinstance(e, Warned)
    )
    assert len(dataset) == 10


def test_packs_are_the_same_bytes_whatever_the_order_of_the_disk(pets, tmp_path, cache, drain, monkeypatch):
    drain(open_data(str(pets), size=16))
    first = {path.name: path.read_bytes() for path in _pack(cache).iterdir()}
    shutil.rmtree(cache / "packs")
    shutil.copytree(pets, tmp_path / "elsewhere" / "pets")
    walk = os.walk

    def backwards(*args, **kwargs):
        for here, folders, files in walk(*args, **kwargs):
            folders.sort(reverse=True)
            yield here, folders, sorted(files, reverse=True)

    monkeypatch.setattr(os, "walk", backwards)
    monkeypatch.setattr(module, "_cores", lambda: 5)
    drain(open_data(str(tmp_path / "elsewhere" / "pets"), size=16))
    assert {path.name: path.read_bytes() for path in _pack(cache).iterdir()} == first


@pytest.mark.parametrize("cores", [1, 4])
def test_jpegs_are_the_same_bytes_with_any_number_of_workers(tmp_path, fill, drain, encode, monkeypatch, cores):
    fill(tmp_path, {f"{i:02}.jpg": (40 + i, 90 - i) for i in range(12)})
    monkeypatch.setattr(module, "_cores", lambda: cores)
    _, dataset = drain(open_data(str(tmp_path), size=16))
    expected = [decode((tmp_path / f"{i:02}.jpg").read_bytes(), size=(16, 16)) for i in range(12)]
    assert (np.asarray(dataset.samples) == np.stack(expected)).all()


def test_the_decoder_of_jpegs_is_recorded_and_that_of_others_is_not(tmp_path, fill, drain):
    fill(tmp_path / "a", {"1.jpg": (8, 8), "2.png": (8, 8)})
    fill(tmp_path / "b", {"1.png": (8, 8), "2.png": (8, 8)})
    assert drain(open_data(str(tmp_path / "a")))[1].manifest.decoder == jpeg_decoder()
    assert drain(open_data(str(tmp_path / "b")))[1].manifest.decoder == ""


def _archives(pets, tmp_path):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for path in sorted(pets.rglob("*.jpg"), reverse=True):
            archive.write(path, path.relative_to(tmp_path))
    with tarfile.open(tmp_path / "pets.tar.gz", "w:gz") as archive:
        archive.add(pets, "pets")
    return tmp_path / "pets.zip", tmp_path / "pets.tar.gz"


def test_an_archive_works_like_a_folder(pets, tmp_path, drain):
    _, folder = drain(open_data(str(pets), size=16))
    for path in _archives(pets, tmp_path):
        _, dataset = drain(open_data(str(path), size=16))
        assert dataset.manifest.sha256 == folder.manifest.sha256 and dataset.manifest.name == "pets"
        assert dataset.manifest.labels_sha256 == folder.manifest.labels_sha256
        assert dataset.manifest.source.endswith(path.name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pets", "pets.tar.gz", "pets.zip"]


def test_a_damaged_member_is_named_and_the_rest_is_packed(pets, tmp_path, drain):
    path, _ = _archives(pets, tmp_path)
    whole = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        place = archive.infolist()[3].header_offset + 400
        name = archive.infolist()[3].filename
    whole[place] ^= 0xFF
    path.write_bytes(whole)
    events, dataset = drain(open_data(str(path), size=16))
    assert len(dataset) == 9
    assert any(e.text.startswith(name) and "crc-32" in e.text for e in events if isinstance(e, Warned))


def test_an_encrypted_member_is_named(tmp_path, fill, drain, encode):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in "abc":
            archive.writestr(f"{name}.png", encode((8, 8), seed=ord(name)))
    data = path.read_bytes()
    at = data.index(b"PK\x01\x02") + 8
    path.write_bytes(data[:at] + b"\x01" + data[at + 1 :])
    events, dataset = drain(open_data(str(path)))
    assert len(dataset) == 2 and any("a.png can't be read (file" in e.text for e in events if isinstance(e, Warned))


@pytest.mark.skipif(os.name != "posix", reason="names are text there")
@pytest.mark.parametrize("ending", ["", ".zip"])
def test_a_name_that_is_no_utf_8(tmp_path, fill, drain, ending):
    path = tmp_path / os.fsdecode(b"caf\xe9" + ending.encode())
    if ending:
        fill(tmp_path / "x", {"a.png": (8, 8), "b.png": (8, 8)})
        shutil.make_archive(str(tmp_path / "x"), "zip", tmp_path / "x")
        (tmp_path / "x.zip").rename(path)
    else:
        fill(path, {"a.png": (8, 8), "b.png": (8, 8)})
    _, dataset = drain(open_data(str(path)))
    assert dataset.manifest.name == "caf\\udce9" and len(dataset) == 2


# --- interruption -----------------------------------------------------------------------------------------------------


def test_leaving_in_the_middle_leaves_nothing(tmp_path, fill, cache, monkeypatch):
    fill(tmp_path, {f"{i}.png": (8, 8) for i in range(40)})
    monkeypatch.setattr(module, "_EVERY", 0)
    threads = threading.active_count()
    packing = open_data(str(tmp_path))
    for event in packing:
        if isinstance(event, Progress) and event.what == "pack" and event.done == 5:
            break
    assert any(".partial-" in path.name for path in (cache / "packs").iterdir())
    packing.close()
    assert [path.suffix for path in (cache / "packs").iterdir()] == [".lock"]
    assert threading.active_count() == threads


def test_progress_tells_rate_and_time_left(tmp_path, fill, drain, monkeypatch):
    monkeypatch.setattr(module, "_EVERY", 0)
    fill(tmp_path, {f"{i}.png": (8, 8) for i in range(4)})
    events, _ = drain(open_data(str(tmp_path)))
    told = [event for event in events if isinstance(event, Progress) and event.what == "pack"]
    assert [(event.done, event.total, event.unit) for event in told] == [(i, 4, "images") for i in (1, 2, 3, 4)]
    assert all(event.rate > 0 and event.left >= 0 for event in told) and told[-1].left == 0


# --- errors, word for word --------------------------------------------------------------------------------------------

LISTED = ".jpg .png .webp .bmp .tif .gif"


def test_an_empty_folder(tmp_path, drain, monkeypatch):
    (tmp_path / "cats").mkdir()
    monkeypatch.chdir(tmp_path)
    assert _say(drain, "./cats") == (
        f"no images in ./cats (found 0 of {LISTED}; saw no files at all)\n"
        "hint: give a folder or archive that holds pictures"
    )


def test_a_folder_without_images(tmp_path, fill, drain, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "cats", {f"{i}.heic": b"x" for i in range(14)})
    assert _say(drain, "./cats") == (
        f"no images in ./cats (found 0 of {LISTED}; saw 14 .heic)\nhint: convert them to .jpg or .png first"
    )
    fill(tmp_path / "text", {"a.txt": b"", "b.txt": b"", "c.md": b"", "README": b""})
    assert "(found 0 of .jpg .png .webp .bmp .tif .gif; saw 2 .txt, 1 .md, 1 without an ending)" in _say(
        drain, "./text"
    )


def test_a_folder_of_links_to_folders(tmp_path, fill, drain):
    fill(tmp_path / "real", {"cat/a.png": (8, 8), "dog/b.png": (8, 8)})
    (tmp_path / "linked").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "linked" / name).symlink_to(tmp_path / "real" / name, target_is_directory=True)
    with pytest.raises(DataError) as error:
        next(open_data(str(tmp_path / "linked")))
    assert re.fullmatch(
        f"no images in {tmp_path}/linked \\(found 0 of {LISTED}; saw no files at all; 2 passed over, "
        "e.g. (cat|dog), which is a link to a folder: not followed\\)\n"
        "hint: give the folder that the link leads to, or put the folder itself in its place",
        str(error.value),
    )


def test_one_image_only(tmp_path, fill, drain):
    fill(tmp_path / "one", {"a.png": (8, 8)})
    hint = "hint: a method learns from many pictures: add some, hundreds or better thousands"
    assert _say(drain, tmp_path / "one") == f"only one image in {tmp_path}/one\n{hint}"
    fill(tmp_path / "one", {"b.png": b""})
    assert _say(drain, tmp_path / "one") == f"only one image in {tmp_path}/one (left out: 1)\n{hint}"


def test_no_readable_image(tmp_path, fill, drain, encode):
    cut = encode((64, 64), "JPEG")[:1500]
    fill(tmp_path / "bad", {"c.png": b"", "a.jpg": cut, "b.jpg": cut})
    assert _say(drain, tmp_path / "bad", size=8) == (
        f"no readable images in {tmp_path}/bad: 3 left out, e.g. a.jpg, which is cut short\n"
        "hint: open one of them in a viewer, and copy or download them again"
    )


def test_mixed_sizes_without_a_rule(tmp_path, fill, drain):
    fill(tmp_path / "mix", {"a.png": (20, 30), "b.png": (480, 640), "c.png": (64, 64), "d.png": (64, 64)})
    assert _say(drain, tmp_path / "mix") == (
        f"the images in {tmp_path}/mix have 3 sizes, from 30×20 to 640×480 px\n"
        "hint: give --size 64, and --fit crop, pad or stretch"
    )


def test_a_full_disk_is_seen_before_the_work(tmp_path, fill, drain, monkeypatch, cache):
    fill(tmp_path / "x", {"a.png": (8, 8), "b.png": (8, 8)})
    usage = shutil._ntuple_diskusage(1000, 900, 100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert _say(drain, tmp_path / "x", size=1024) == (
        f"the pack needs 6 MB, and {cache}/packs has 0 MB free\n"
        "hint: free space, choose another place with --out, or a smaller --size"
    )


def test_an_unreadable_folder_is_named(tmp_path, fill, drain):
    fill(tmp_path, {"a.png": (8, 8), "b.png": (8, 8), "closed/c.png": (8, 8)})
    found = module.Collection.__subclasses__()[0](tmp_path)
    found._note_unlisted(PermissionError(13, "Permission denied", str(tmp_path / "closed")))
    assert found.refused == [("closed", "can't be listed (permission denied)")]


def test_a_file_that_goes_away_is_left_out(tmp_path, fill, drain, monkeypatch):
    fill(tmp_path, {name: (8, 8) for name in ("a.png", "b.png", "c.png")})
    sizes = module._size

    def remove_first(*args):
        (tmp_path / "a.png").unlink()
        return sizes(*args)

    monkeypatch.setattr(module, "_size", remove_first)
    events, dataset = drain(open_data(str(tmp_path)))
    assert len(dataset) == 2
    assert Warned("a.png can't be read (no such file or directory): left out") in events


def test_a_pack_opens_again(pets, drain, cache):
    _, dataset = drain(open_data(str(pets), size=16))
    assert (open_pack(_pack(cache)).samples == dataset.samples).all()
