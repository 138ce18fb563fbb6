"""Signal: what is made."""

from typing import Self

from pydantic import Field, model_validator

from limner.core.errors import UsageError
from limner.core.settings import Settings


class Signal(Settings):
    """What a method makes and learns from: tensors (N, C, *size) with values in [-1, 1].

    A picture has size (H, W); a point has size () and its coordinates are the channels.
    """

    channels: int = Field(ge=1)
    """Channels: 1 grey, 3 colour; for points, the number of coordinates."""
    size: tuple[int, ...] = ()
    """Extent of each axis in px: (), (L,), (H, W) or (D, H, W)."""
    classes: int = Field(default=0, ge=0)
    """How many classes the labels name; 0 where there are no labels."""
    text: int = Field(default=0, ge=0)
    """How many numbers stand for a caption; 0 where there are no captions."""
    scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """For points: the original coordinate is the value times this."""

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if any(extent < 1 for extent in self.size) or len(self.size) > 3:
            raise ValueError(f"size must be 0 to 3 positive extents, not {self.size}")
        return self

    @property
    def rank(self) -> int:
        """Number of axes: 0 points, 1 sequences, 2 pictures, 3 volumes."""
        return len(self.size)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: (C, *size)."""
        return (self.channels, *self.size)

    @property
    def values(self) -> int:
        """How many numbers one sample has."""
        count = self.channels
        for extent in self.size:
            count *= extent
        return count

    def picture_size(self, method: str) -> int:
        """The side of a square power-of-two picture, for methods that need one.

        raises UsageError   if the signal is no picture, not square, or its side not a power of two >= 8
        """
        side = self.size[0] if self.rank == 2 else 0
        if self.rank != 2 or self.size[1] != side or side < 8 or side & (side - 1):
            power = 1 << max(3, (max(self.size, default=32) - 1).bit_length())
            raise UsageError(
                f"{method} needs square pictures with a power-of-two side of 8 px or more, not {self.describe()}",
                f"give --size {power}" if self.rank else "limner train gan makes points",
            )
        return side

    def halvings(self) -> int:
        """How often a picture can be halved exactly until its shorter side is 4 to 7 px; 0 where it cannot."""
        if self.rank != 2:
            return 0
        times = max(0, (min(self.size) // 4).bit_length() - 1)
        return 0 if any(side % (1 << times) for side in self.size) else times

    def describe(self) -> str:
        """In words, e.g. '28×28 px, grey' or 'points with 2 coordinates'."""
        if self.rank == 0:
            return f"points with {self.channels} coordinates"
        colour = {1: "grey", 3: "colour"}.get(self.channels, f"{self.channels} channels")
        return "×".join(map(str, self.size)) + f" px, {colour}"
