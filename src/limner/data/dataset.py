"""Dataset: samples that a method learns from, and the manifest that says what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from limner.core.errors import DataError, UsageError
from limner.core.settings import Settings
from limner.core.signal import Signal
from limner.data.stack import Stack

if TYPE_CHECKING:
    from torch import Tensor

TEXT = 384
"""Numbers that stand for a caption, see limner.features.captions."""
_ASIDE, _ASIDE_MOST = 0.1, 1000  # the share of the samples that is set aside, and the most
FORMAT = 1
"""The version of the pack's layout. A pack of a later one is refused."""


class Manifest(Settings):
    """What a data set is and where it came from. It travels with the model."""

    format: int = FORMAT
    """Version of the pack's layout."""
    name: str
    """What the set is called, e.g. mnist."""
    split: str = "train"
    """Which part of the set this is: train or test."""
    source: str
    """Who served it, in words."""
    count: int = Field(ge=1)
    """Number of samples."""
    channels: int = Field(ge=1)
    """Channels of a sample: 1 grey, 3 colour; for points, the number of coordinates."""
    size: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(), max_length=3)
    """Extent of each axis in px; none for points."""
    dtype: Literal["uint8", "float32"] = "uint8"
    """How a value is stored: pictures as bytes, points as floats in [-1, 1]."""
    scale: float = Field(default=1.0, gt=0)
    """For points: the original coordinate is the stored value times this."""
    classes: tuple[str, ...] = ()
    """Class names in the order of the labels; none where there are no labels."""
    fit: str = ""
    """How pictures were brought to the size: crop, pad or stretch; empty where they were left as they are."""
    decoder: str = ""
    """What decoded JPEGs, with versions: another may round otherwise. Empty where there were none."""
    skipped: int = Field(default=0, ge=0)
    """Files that were left out; files.jsonl says why."""
    licence: str = ""
    """Licence of the data, if known."""
    attribution: str = ""
    """Whom to name when the data, or what was learnt from them, is shown."""
    sha256: str
    """SHA-256 of the packed samples."""
    labels_sha256: str = ""
    """SHA-256 of the labels, little-endian int64; empty where there are none."""
    captions_sha256: str = ""
    """SHA-256 of the captions, a JSON list in UTF-8; empty where there are none."""

    @property
    def signal(self) -> Signal:
        """What a method makes that learns from these data."""
        text = TEXT if self.captions_sha256 else 0
        return Signal(channels=self.channels, size=self.size, classes=len(self.classes), text=text, scale=self.scale)

    def describe(self) -> str:
        """In words, e.g. 'mnist: 55,000 train images, 28×28 px, grey, 10 classes'."""
        kind = f"images, {self.signal.describe()}" if self.size else self.signal.describe()
        labelled = f", {len(self.classes):,} classes" if self.classes else ""
        captioned = ", with captions" if self.captions_sha256 else ""
        return f"{self.name}: {self.count:,} {self.split} {kind}{labelled}{captioned}"


@dataclass(frozen=True)
class Dataset:
    """Samples, held as a memory map where they are many, and their labels.

    manifest  what they are
    samples   (count, C, *size)  uint8 pictures, or float32 points in [-1, 1]
    labels    (count,)           int64, or None
    captions  what each sample shows, in words; empty where nobody said
    text      (count, TEXT)      float32, the captions as vectors; None where nobody asked for them
    rows      (n,)               the numbers of those that are meant; None for all of them
    """

    manifest: Manifest
    samples: np.ndarray | Stack
    labels: np.ndarray | None = None
    captions: Sequence[str] = ()
    text: np.ndarray | None = None
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return self.manifest.count if self.rows is None else len(self.rows)

    @property
    def signal(self) -> Signal:
        """What a method makes that learns from these data."""
        return self.manifest.signal

    def numbers(self, indices: np.ndarray) -> np.ndarray:
        """Where samples stand in `samples`, `labels`, `captions` and `text`, some of which may not be meant."""
        return indices if self.rows is None else self.rows[indices]

    def take(self, indices: np.ndarray) -> dict[str, Tensor]:
        """A batch.

        indices  (N,)           which samples
        returns  "x"            (N, C, *size)  float32 in [-1, 1]
                 "label"        (N,)           int64, where there are labels
                 "text"         (N, TEXT)      float32, where captions were embedded
        """
        import torch

        indices = self.numbers(indices)
        x = torch.from_numpy(self.samples[indices])
        if x.dtype == torch.uint8:
            x = x.to(torch.float32).div_(127.5).sub_(1.0)
        batch = {"x": x}
        if self.labels is not None:
            batch["label"] = torch.from_numpy(self.labels[indices])
        if self.text is not None:
            batch["text"] = torch.from_numpy(self.text[indices])
        return batch

    def shard(self, text: str) -> Dataset:
        """One of several parts of the same size, each a random choice that no other shares a sample with.

        text    "2/4" for the second of four; empty for all samples
        raises  UsageError   if there is no such part
        """
        from limner.core.random import permutation

        if not text:
            return self
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= len(self)):
            raise UsageError(
                f"'{text}' is no part of {len(self):,} samples", "give --shard 2/4, for example, for the second of four"
            )
        rows = np.arange(len(self)) if self.rows is None else self.rows
        # Whatever the run's seed, so that the parts of several runs have nothing in common.
        order = rows[permutation(0, len(rows), "shard")]
        return replace(self, rows=np.sort(order[int(number) - 1 :: int(of)]))

    def without(self, others: Dataset) -> Dataset:
        """The samples that are not among some others of the same set."""
        assert others.rows is not None
        rows = np.arange(self.manifest.count) if self.rows is None else self.rows
        return replace(self, rows=np.setdiff1d(rows, others.rows))

    def aside(self, seed: int) -> tuple[Dataset, Dataset]:
        """Most of the samples, and a random tenth of them, at most 1,000, that training does not see.

        seed    the same seed sets the same aside
        """
        from limner.core.random import permutation

        rows = np.arange(len(self)) if self.rows is None else self.rows
        order = rows[permutation(seed, len(rows), "aside")]
        count = max(1, min(_ASIDE_MOST, int(len(rows) * _ASIDE)))
        return replace(self, rows=np.sort(order[count:])), replace(self, rows=np.sort(order[:count]))

    def need_classes(self, who: str) -> None:
        """Make sure that there are labels.

        who     who needs them, for the error
        raises  DataError   if there are none
        """
        if self.labels is None:
            raise DataError(
                f"{who} needs classes, and '{self.manifest.name}' has no labels",
                "put the pictures of each class in a subfolder of its own",
            )
