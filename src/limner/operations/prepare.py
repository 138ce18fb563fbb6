"""Prepare: pictures become a pack that training maps into memory."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from limner.core.errors import command
from limner.core.events import Event, Finished, Note, Saved
from limner.core.files import refuse_existing
from limner.core.settings import Settings

if TYPE_CHECKING:
    from limner.data.dataset import Dataset


class Prepare(Settings):
    """What to pack, and how."""

    source: str
    """A folder of pictures, a zip or tar of them, a built-in set, or a pack to change the size of."""
    size: int | None = Field(default=None, ge=1, le=4096)
    """Side of the packed pictures in px; pictures that are all of one size may stay as they are."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How pictures of another shape are brought to the size: the middle, the whole on white, or out of shape."""
    colour: Literal["auto", "grey", "colour"] = "auto"
    """Channels of the packed pictures; auto takes colour if any of them has it."""
    split: Literal["train", "test"] = "train"
    """Which part, of a built-in set or of a folder that holds folders called train and test."""
    out: Path | None = None
    """Where the pack goes; into limner's cache where it is not given, where training finds it again."""
    licence: str = ""
    """Licence of your pictures, e.g. CC-BY-4.0. It travels with every model that learns from the pack; needs --out."""
    attribution: str = ""
    """Whom to name when the pictures, or what was learnt from them, is shown; needs --out."""
    limit: float = Field(default=64, gt=0, le=170)
    """Most megapixels (of 2²⁰ px) a picture may have; larger ones are left out, before they fill the memory.
    Another than the usual needs --out."""
    force: bool = False
    """Replace a pack that is there."""


def prepare(request: Prepare) -> Iterator[Event]:
    """Pack a source. Every file that can't be used is named; the last event is Finished.

    raises UsageError   if there is no such source, or `out` can't be replaced
           DataError    if there are too few pictures, or they can't be packed
    """
    if request.out is not None:
        refuse_existing(request.out, request.force)
        yield from _leftovers(request.out)
    dataset, place = yield from _packed(request)
    manifest = dataset.manifest
    yield Saved("pack", place)
    yield Finished(
        "prepare",
        {
            "pack": str(place),
            "name": manifest.name,
            "count": manifest.count,
            "skipped": manifest.skipped,
            "channels": manifest.channels,
            "size": list(manifest.size),
            "classes": list(manifest.classes),
            "sha256": manifest.sha256,
            "summary": manifest.describe(),
        },
        (command("train", "dcgan", "--data", place),),
    )


def _packed(request: Prepare) -> "Generator[Event, None, tuple[Dataset, Path]]":
    from limner.data.folder import Choices
    from limner.data.sources import prepare_pack

    choices = Choices(
        size=request.size,
        channels={"auto": None, "grey": 1, "colour": 3}[request.colour],
        fit=request.fit,
        split=request.split,
        licence=request.licence,
        attribution=request.attribution,
        pixels=int(request.limit * (1 << 20)),
    )
    return (yield from prepare_pack(request.source, request.out, choices))


def _leftovers(out: Path) -> Iterator[Event]:
    """Name what an earlier preparation left when it was killed. It is not ours to delete outside the cache."""
    out = out.resolve()
    if out.parent.is_dir():
        for path in sorted(out.parent.glob(f".{out.name}.partial-*")):
            yield Note(f"{path} was left by a preparation that was killed; it may be deleted")
