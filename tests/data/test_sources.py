import numpy as np
import pytest

from limner.core.errors import DataError, UsageError
from limner.core.events import Note
from limner.data import cache as cache_module
from limner.data import sources
from limner.data.builtin import BUILT_IN
from limner.data.folder import Choices
from limner.data.pack import building, open_pack, write_pack
from limner.data.sources import open_data, prepare_pack


def _say(drain, source, **choices):
    with pytest.raises((DataError, UsageError)) as error:
        drain(open_data(str(source), **choices))
    return type(error.value), str(error.value)


def test_an_unknown_name_gets_the_nearest(drain, tmp_path):
    assert _say(drain, "mnits") == (
        UsageError, "there is no data set 'mnits', nor a folder or archive of that name\nhint: did you mean 'mnist'?"
    )  # fmt: skip
    assert _say(drain, "zzz")[1].endswith("hint: there are: " + ", ".join(sorted(BUILT_IN)))
    (tmp_path / "my-cats").mkdir()
    assert _say(drain, "mycats")[1].endswith("hint: did you mean 'my-cats'?")


def test_a_missing_folder_gets_the_nearest(drain, tmp_path):
    (tmp_path / "cats").mkdir()
    assert _say(drain, "./catz") == (DataError, "there is no folder or archive ./catz\nhint: did you mean 'cats'?")
    assert _say(drain, "cast.zip")[1].startswith("there is no folder or archive cast.zip\nhint: ")
    assert _say(drain, f"{tmp_path}/none/cats")[1] == (
        f"there is no folder {tmp_path}/none, so no {tmp_path}/none/cats\nhint: check the path"
    )


def test_a_file_instead_of_a_folder(drain, tmp_path, encode):
    (tmp_path / "photo.jpg").write_bytes(encode((8, 8), "JPEG"))
    assert _say(drain, "photo.jpg") == (
        UsageError,
        "photo.jpg is a file, but neither a zip nor a tar archive of pictures\n"
        "hint: give the folder that holds the pictures, or an archive of it",
    )


def test_opening_again_fetches_and_packs_nothing(mnist, monkeypatch, drain):
    monkeypatch.undo()  # back to the person's cache
    monkeypatch.setattr(sources, "write_pack", None)
    monkeypatch.setattr(cache_module, "check_sums", None)
    events, dataset = drain(open_data("mnist"))
    assert len(events) == 1
    assert events[0] == Note(f"{dataset.manifest.describe()}; source: {dataset.manifest.source}")


def test_a_built_in_set_in_another_size_and_colour(drain):
    _, digits = drain(open_data("digits"))
    _, large = drain(open_data("digits", size=16, channels=3))
    assert large.samples.shape == (1797, 3, 16, 16) and (large.labels == digits.labels).all()
    assert (large.samples[:, 0] == large.samples[:, 2]).all()
    assert abs(large.samples.mean() - digits.samples.mean()) < 2
    assert large.manifest.licence == digits.manifest.licence and large.manifest.name == "digits"
    assert drain(open_data("digits", size=8, channels=1))[1].manifest == digits.manifest


def test_points_have_no_size(drain):
    assert _say(drain, "ring", size=32) == (
        UsageError, "'ring' holds points, which have neither size nor colour\nhint: leave --size and --colour out"
    )  # fmt: skip
    assert drain(open_data("ring", channels=None))[1].manifest.name == "ring"


def test_points_have_no_colour(drain):
    assert _say(drain, "ring", channels=3)[0] is UsageError


def test_a_pack_is_a_source(drain, tmp_path):
    _, (made, _) = drain(prepare_pack("digits", tmp_path / "pack", Choices(size=16)))
    _, dataset = drain(open_data(str(tmp_path / "pack")))
    assert dataset.manifest == made.manifest == open_pack(tmp_path / "pack").manifest
    assert _say(drain, tmp_path / "pack", split="test") == (
        UsageError,
        f"{tmp_path}/pack has no test part: it is a pack of the train part\n"
        "hint: prepare the other part with --split test",
    )


def _flip(pack):
    with (pack / "samples.bin").open("rb+") as file:
        file.write(b"\x77")


def test_a_flipped_bit_in_a_pack_is_found(drain, tmp_path):
    drain(prepare_pack("digits", tmp_path / "pack", Choices()))
    _flip(tmp_path / "pack")
    said = "the data set 'digits' is damaged: samples.bin has SHA-256 "
    assert _say(drain, tmp_path / "pack")[1].startswith(said)
    assert _say(drain, tmp_path / "pack", size=16)[1].startswith(said)


def test_a_pack_is_compared_with_its_checksums_once_and_again_when_it_changed(drain, tmp_path, monkeypatch):
    pack, read = tmp_path / "pack", []
    drain(prepare_pack("digits", pack, Choices()))
    check_sums = cache_module.check_sums
    monkeypatch.setattr(cache_module, "check_sums", lambda dataset: read.append(dataset) or check_sums(dataset))
    for _ in range(3):
        drain(open_data(str(pack)))
    assert len(read) == 1
    _flip(pack)
    for _ in range(2):
        assert "is damaged" in _say(drain, pack)[1]
    assert len(read) == 3


def test_where_nothing_can_be_remembered_a_pack_is_compared_each_time(drain, tmp_path, cache):
    drain(prepare_pack("digits", tmp_path / "pack", Choices()))
    (cache / "checked").rename(cache / "away")
    (cache / "checked").write_text("")
    assert drain(open_data(str(tmp_path / "pack")))[1].manifest.name == "digits"


def test_a_flipped_bit_in_the_cache_is_found_and_the_pack_made_again(drain, cache):
    _, before = drain(open_data("digits"))
    _flip(cache / "packs" / "digits" / "train")
    events, after = drain(open_data("digits"))
    assert any("samples.bin has SHA-256" in e.text and e.text.endswith("it is made again") for e in events)
    assert sources.sum_of(after.samples) == before.manifest.sha256


def test_a_pack_of_points(drain, tmp_path):
    drain(prepare_pack("grid", tmp_path / "grid", Choices()))
    _, dataset = drain(open_data(str(tmp_path / "grid")))
    _, drawn = drain(open_data("grid"))
    assert (dataset.samples == drawn.samples).all() and dataset.manifest == drawn.manifest


def test_what_has_a_licence_takes_no_other(drain, tmp_path):
    with pytest.raises(UsageError, match="'digits' has its licence and attribution already"):
        drain(prepare_pack("digits", tmp_path / "pack", Choices(licence="mine")))


@pytest.mark.parametrize("record", BUILT_IN.values(), ids=BUILT_IN)
def test_every_record_is_whole(record):
    assert record.about and record.licence and record.splits[0] == "train" and len(set(record.classes)) > 1


@pytest.mark.parametrize("name", ["digits", "ring", "grid"])
def test_labels_fit_the_classes(name, drain):
    _, dataset = drain(open_data(name))
    assert sorted(np.unique(dataset.labels)) == list(range(len(dataset.manifest.classes)))


def test_packs_of_the_same_pictures_and_other_labels_stay_apart(tmp_path, drain):
    samples = np.random.default_rng(0).integers(256, size=(6, 1, 8, 8), dtype=np.uint8)
    for place, labels, classes in (
        ("a", [0, 0, 0, 1, 1, 1], ("cat", "dog")),
        ("b", [1, 0, 1, 0, 1, 0], ("zebra", "yak")),
    ):
        with building(tmp_path / place) as folder:
            write_pack(folder, samples, np.array(labels), name="pets", source="here", classes=classes)
    cats, zebras = (drain(open_data(str(tmp_path / place), size=4))[1] for place in "ab")
    assert cats.manifest.classes == ("cat", "dog") and zebras.manifest.classes == ("zebra", "yak")
    assert zebras.labels.tolist() == [1, 0, 1, 0, 1, 0]
