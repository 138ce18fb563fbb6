import time

import numpy as np
import pytest
import torch

from limner.core.errors import DataError, UsageError
from limner.core.signal import Signal
from limner.data.dataset import Dataset, Manifest


def _pictures(count=4, labels=True):
    samples = np.random.default_rng(0).integers(0, 256, (count, 1, 28, 28), np.uint8)
    classes = ("a", "b") if labels else ()
    manifest = Manifest(name="toy", source="here", count=count, channels=1, size=(28, 28), classes=classes, sha256="")
    return Dataset(manifest, samples, np.arange(count) % 2 if labels else None)


def test_a_byte_becomes_a_number_between_minus_one_and_one():
    dataset = _pictures()
    dataset.samples[1].flat[:4] = [0, 51, 204, 255]
    batch = dataset.take(np.array([1, 0, 1]))
    assert batch["x"].shape == (3, 1, 28, 28) and batch["x"].dtype == torch.float32
    torch.testing.assert_close(batch["x"][0].flatten()[:4], torch.tensor([-1.0, -0.6, 0.6, 1.0]))
    assert batch["x"].min() >= -1 and batch["x"].max() <= 1
    assert batch["label"].tolist() == [1, 0, 1] and batch["label"].dtype == torch.int64


def test_taking_leaves_the_samples_as_they_are():
    dataset = _pictures()
    before = dataset.samples.copy()
    dataset.take(np.array([0]))["x"].zero_()
    assert (dataset.samples == before).all()


def test_without_labels_there_are_none():
    assert set(_pictures(labels=False).take(np.array([0]))) == {"x"}


def test_points_stay_as_they_are():
    manifest = Manifest(name="p", source="", count=2, channels=2, dtype="float32", sha256="")
    dataset = Dataset(manifest, np.array([[0.25, -1], [1, 0]], np.float32))
    assert dataset.take(np.array([1, 0]))["x"].tolist() == [[1, 0], [0.25, -1]]
    assert dataset.signal == Signal(channels=2)
    assert manifest.describe() == "p: 2 train points with 2 coordinates"


def test_signal_and_length_come_from_the_manifest():
    assert _pictures().signal == Signal(channels=1, size=(28, 28), classes=2)
    assert len(_pictures()) == 4
    assert _pictures().manifest.describe() == "toy: 4 train images, 28×28 px, grey, 2 classes"


def test_classes_are_missed_in_one_sentence():
    _pictures().need_classes("cdcgan")
    with pytest.raises(DataError) as error:
        _pictures(labels=False).need_classes("cdcgan")
    assert str(error.value) == (
        "cdcgan needs classes, and 'toy' has no labels\nhint: put the pictures of each class in a subfolder of its own"
    )


def test_twenty_thousand_pictures_a_second():
    dataset = _pictures(5000)
    indices = np.random.default_rng(0).permutation(5000)
    dataset.take(indices[:128])
    fastest = min(_seconds(dataset, indices) for _ in range(3))
    assert 5000 / fastest > 20_000


def _seconds(dataset, indices):
    began = time.perf_counter()
    for start in range(0, len(indices), 128):
        dataset.take(indices[start : start + 128])
    return time.perf_counter() - began


def test_shards_share_nothing_and_leave_nothing_out():
    whole = _pictures(100)
    parts = [whole.shard(f"{number}/3") for number in (1, 2, 3)]
    assert sorted(row for part in parts for row in part.rows) == list(range(len(whole)))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    learned, aside = parts[1].aside(seed=5)
    assert {*learned.rows, *aside.rows} == {*parts[1].rows}
    assert whole.shard("") is whole


@pytest.mark.parametrize("text", ["0/3", "4/3", "2", "a/b", "1/", "1/1000000", "-1/3"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(UsageError, match=f"'{text}' is no part of"):
        _pictures().shard(text)
