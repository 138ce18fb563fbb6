"""The reader on a small package of the same form; the real one where npm has it."""

import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from limner.core.errors import DataError
from limner.data import fetch
from limner.data.fetch import Pin, Unreachable
from limner.data.sources import open_data

ENTRIES = [
    {"name": "RED APPLE", "unified": "1F34E", "image": "1f34e.png", "short_names": ["apple"], "category":
     "Food & Drink", "subcategory": "food-fruit"},
    {"name": "KEYCAP 2", "unified": "0032-FE0F-20E3", "image": "0032-fe0f-20e3.png", "short_names": ["two"],
     "category": "Symbols", "subcategory": "keycap"},
    {"name": "Sark Flag", "unified": "1F1E8-1F1F6", "image": "1f1e8-1f1f6.png", "short_names": ["flag-sark"],
     "category": "Flags", "subcategory": "country-flag"},
]  # fmt: skip


def _archive(folder, names, side, encode, entries=None):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        contents = {"package/README.md": b"hello"}
        for name in names:
            clear = Image.new("RGBA", (side, side), (255, 0, 0, 0))
            clear.putpixel((0, 0), (255, 0, 0, 255))
            contents[folder + name] = encode(clear, name.rpartition(".")[2].upper(), lossless=True)
        if entries is not None:
            contents["package/emoji.json"] = json.dumps(entries).encode()
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def npm(monkeypatch, encode):
    """A registry of the test's own: package name → archive; what was asked for."""
    images = [entry["image"] for entry in ENTRIES]
    served = {
        "emoji-datasource-google": _archive("package/img/google/64/", [*images, "odd.png"], 64, encode, ENTRIES),
        "@lobehub/fluent-emoji-3d": _archive(
            "package/assets/", ["1f34e.webp", "0032-fe0f-20e3.webp", "1f999.webp"], 256, encode
        ),
    }
    asked = []

    def pack(package, version, sha256, folder):
        asked.append(package)
        path = folder / "package.tgz"
        path.write_bytes(served[package])
        return path

    monkeypatch.setattr(fetch, "npm_pack", pack)
    return asked


def test_pictures_captions_and_categories(npm, drain):
    events, dataset = drain(open_data("emoji"))
    assert dataset.captions == (
        "red apple, apple, food fruit", "keycap 2, two, keycap", "sark flag, flag sark, country flag"
    )  # fmt: skip
    assert [dataset.manifest.classes[label] for label in dataset.labels] == ["Food & Drink", "Symbols", "Flags"]
    assert dataset.samples.shape == (3, 3, 64, 64)
    assert dataset.samples[0, :, 0, 0].tolist() == [255, 0, 0]
    assert (dataset.samples[:, :, 1:, 1:] == 255).all()  # transparent parts are laid on white
    assert events[0].text == "emoji: fetching the registry package emoji-datasource-google 16.0.0 (74 MB) with npm"
    assert dataset.manifest.describe() == "emoji: 3 train images, 64×64 px, colour, 10 classes, with captions"
    assert "Apache-2.0" in dataset.manifest.licence and "Noto" in dataset.manifest.attribution


def test_it_is_fetched_once_and_keeps_its_captions_at_another_size(npm, drain):
    drain(open_data("emoji"))
    _, small = drain(open_data("emoji", size=32))
    assert npm == ["emoji-datasource-google"]
    assert small.samples.shape == (3, 3, 32, 32) and small.captions[0].startswith("red apple")


def test_fluent_emoji_take_their_names_from_the_other_package(npm, drain):
    _, dataset = drain(open_data("emoji-fluent"))
    assert npm == ["@lobehub/fluent-emoji-3d", "emoji-datasource-google"]
    assert [caption.partition(",")[0] for caption in dataset.captions] == ["red apple", "keycap 2"]
    assert dataset.samples.shape == (2, 3, 256, 256)


def test_without_npm_one_line_says_so(monkeypatch, drain):
    monkeypatch.setattr(fetch.shutil, "which", lambda name: None)
    with pytest.raises(DataError) as error:
        drain(open_data("emoji"))
    assert str(error.value) == (
        "no network and no cached copy of emoji: npm, which fetches it, is not installed (it comes with Node.js)\n"
        "hint: connect once and run this again, or copy the cache folder from a machine that has it (LIMNER_CACHE)"
    )


def test_another_archive_than_the_pinned_one_is_refused(monkeypatch, drain, cache):
    def corrupt(package, version, sha256, folder):
        Pin(package, "sha256", sha256, 0).check(b"torn", "the package registry")

    monkeypatch.setattr(fetch, "npm_pack", corrupt)
    with pytest.raises(DataError, match="the download of emoji-datasource-google from the package registry is corrupt"):
        drain(open_data("emoji"))
    assert [path.name for path in (cache / "packs").iterdir()] == [".emoji.lock"]


def test_the_real_sets_have_the_published_counts(real_emoji):
    """1,911 emoji in Emoji 16 as its data file has them, and an apple is red."""
    google, twitter = real_emoji
    assert len(google) == len(twitter) == 1911 and google.captions == twitter.captions
    assert np.bincount(google.labels).tolist() == [169, 386, 5, 159, 131, 218, 85, 264, 224, 270]
    apple = google.captions.index("red apple, apple, food fruit")
    for dataset in real_emoji:
        red, green, blue = dataset.samples[apple, :, 20:44, 20:44].reshape(3, -1).mean(1)
        assert red > 180 and green < 110 and blue < 110


@pytest.fixture(scope="module")
def real_emoji():
    """The real sets, if this machine has them already: the registry is not asked for 136 MB by a test."""
    from limner.data.cache import cache_folder, finish

    if not all((cache_folder() / "packs" / name).is_dir() for name in ("emoji", "emoji-twitter")):
        pytest.skip("emoji are not in this machine's cache (limner prepare emoji; limner prepare emoji-twitter)")
    return [finish(open_data(name)) for name in ("emoji", "emoji-twitter")]


def test_npm_is_asked_in_its_own_words(monkeypatch, tmp_path):
    content = b"an archive"

    def run(command, **_):
        assert command[1] == "pack" and "thing@1.0" in command and "--ignore-scripts" in command
        assert not any("://" in part for part in command)
        (tmp_path / "thing-1.0.tgz").write_bytes(content)
        return fetch.subprocess.CompletedProcess(command, 0, "thing-1.0.tgz\n", "")

    monkeypatch.setattr(fetch.shutil, "which", lambda name: "/usr/bin/npm")
    monkeypatch.setattr(fetch.subprocess, "run", run)
    path = fetch.npm_pack("thing", "1.0", hashlib.sha256(content).hexdigest(), tmp_path)
    assert path.read_bytes() == content


def test_what_npm_says_is_passed_on(monkeypatch, tmp_path):
    def run(command, **_):
        return fetch.subprocess.CompletedProcess(command, 1, "", "npm warn old\nnpm error 404 no such thing\n")

    monkeypatch.setattr(fetch.shutil, "which", lambda name: "/usr/bin/npm")
    monkeypatch.setattr(fetch.subprocess, "run", run)
    with pytest.raises(Unreachable, match=r"npm can't fetch thing 1.0 \(npm error 404 no such thing\)"):
        fetch.npm_pack("thing", "1.0", "0" * 64, tmp_path)
