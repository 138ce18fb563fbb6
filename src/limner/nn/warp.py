"""Pictures moved, turned and scaled by arithmetic and gathering alone, so that gradients of gradients exist."""

from typing import Literal

import torch
from torch import Tensor


def warp(x: Tensor, matrix: Tensor, outside: Literal["zero", "reflect"]) -> Tensor:
    """Each picture resampled bilinearly where its own affine map points.

    x        (N, C, H, W)
    matrix   (N, 2, 3)     from a made pixel's place (column, row, 1), in px from the centre, to its source's
    outside  what lies beyond the border: 0, or the picture mirrored at the centres of its outermost pixels
    returns  (N, C, H, W)
    """
    height, width = x.shape[2:]
    middle = matrix.new_tensor([(width - 1) / 2, (height - 1) / 2])
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    place = torch.stack(
        [columns.expand(height, -1) - middle[0], rows[:, None].expand(-1, width) - middle[1]], -1
    ).flatten(0, 1)
    # Autocast would round places to bfloat16's 8 bits.
    with torch.autocast(x.device.type, enabled=False):
        source = place.to(matrix) @ matrix[:, :, :2].mT + matrix[:, None, :, 2] + middle
    result: Tensor | None = None
    corner = source.floor()
    fraction = source - corner
    for right in (0, 1):
        for below in (0, 1):
            column, row = (corner[..., 0] + right).long(), (corner[..., 1] + below).long()
            weight = (fraction[..., 0] if right else 1 - fraction[..., 0]) * (
                fraction[..., 1] if below else 1 - fraction[..., 1]
            )
            if outside == "reflect":
                column, row = _mirrored(column, width), _mirrored(row, height)
            else:
                inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
                weight, column, row = weight * inside, column.clamp(0, width - 1), row.clamp(0, height - 1)
            part = gathered(x, row * width + column) * weight[:, None]
            result = part if result is None else result + part
    assert result is not None
    return result.view(x.shape)


def gathered(x: Tensor, index: Tensor) -> Tensor:
    """The pixels at flat places.

    x        (N, C, H, W)
    index    (N, M)        row · W + column
    returns  (N, C, M)
    """
    return x.flatten(2).gather(2, index[:, None].expand(-1, x.shape[1], -1))


def _mirrored(index: Tensor, count: int) -> Tensor:
    """Indices brought into 0 … count − 1 by mirrors at both ends."""
    period = max(1, 2 * (count - 1))
    folded = index % period
    return torch.minimum(folded, period - folded)
