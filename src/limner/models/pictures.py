"""Pictures: what generating returns. A notebook shows them as a grid."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limner.core.errors import UsageError
from limner.data.images import grid, save_picture, to_bytes, to_image


@dataclass(frozen=True)
class Pictures:
    """Some pictures and the recipe they were made by.

    array   (N, C, H, W) uint8
    recipe  method, model hash, seed, settings; written into every PNG
    """

    array: np.ndarray
    recipe: Mapping[str, Any]

    @classmethod
    def of(cls, samples: Tensor, recipe: Mapping[str, Any]) -> "Pictures":
        """From samples (N, C, H, W) in [-1, 1]; points (N, 2) are drawn as one scatter picture."""
        return cls(to_bytes(scatter(samples) if samples.dim() == 2 else samples), recipe)

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int) -> Image.Image:
        return to_image(self.array[index])

    def __iter__(self) -> Iterator[Image.Image]:
        return (self[i] for i in range(len(self)))

    def grid(self, columns: int | None = None) -> Image.Image:
        """All of them on one sheet, about square unless `columns` says otherwise."""
        return to_image(grid(self.array, columns))

    def save(self, path: str | Path, columns: int | None = None) -> Path:
        """Save the sheet as a PNG that carries the recipe.

        raises UsageError   if the file is called otherwise
               LimnerError  if it can't be written
        """
        if Path(path).suffix.lower() != ".png":
            raise UsageError(
                f"samples are written as .png, and {path} is called otherwise", "give a name ending in .png"
            )
        save_picture(grid(self.array, columns), Path(path), self.recipe)
        return Path(path)

    def save_each(self, folder: Path, first: int = 0, each: Sequence[Mapping[str, Any]] = ()) -> None:
        """Save each as a PNG of its own, numbered from `first`: 000000.png …

        each  what a picture's recipe says besides, picture by picture
        """
        for i, (picture, own) in enumerate(zip(self.array, each or [{}] * len(self), strict=True), first):
            save_picture(picture, folder / f"{i:06d}.png", {**self.recipe, **own, "index": i})

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.grid().save(buffer, "PNG")
        return buffer.getvalue()


def joined(parts: Sequence[Pictures]) -> Pictures:
    """Pictures of one recipe as one."""
    return Pictures(np.concatenate([part.array for part in parts]), parts[0].recipe)


def scatter(points: Tensor, side: int = 256) -> Tensor:
    """Points in [-1, 1]² as a picture, dark on white.

    points  (N, 2)  x to the right, y upwards
    returns (1, 1, side, side) in [-1, 1]
    """
    column, row = ((points.clamp(-1, 1) + 1) / 2 * (side - 1)).round().long().T
    sheet = torch.ones(side, side)
    sheet[side - 1 - row, column] = -1
    return sheet[None, None]


def between(a: Tensor, b: Tensor, count: int) -> Tensor:
    """A walk from one noise to another along the sphere, where normal noise of many dimensions lies.

    a, b     (latent,)
    returns  (count, latent), from a to b

    Source: White 2016, arXiv:1609.04468, section 2.1
    """
    angle = torch.arccos((a / a.norm() @ (b / b.norm())).clamp(-1, 1))
    t = torch.linspace(0, 1, count)[:, None]
    # Alike or opposite: there is no one way around.
    if torch.sin(angle).abs() < 1e-4:
        return torch.lerp(a, b, t)
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
