"""Convolutions by whole rows: the quickest in bfloat16 where the big side has one channel and is not wide.

Processors that multiply matrices of bfloat16 take 32 terms of a sum at once. A patch of one channel has few, 25 under
a 5×5 kernel, and its numbers lie apart and must be copied together first. Here a sum is over all rows of the big side
that an output row meets, five of 28 numbers for that kernel. The kernel lies along them once for each position of the
output, with zeros beside it:

    small[o, p] = Σ_jx big[s·o + j − l, x] · matrix[jx, p]        matrix[jx, p] = w[j, x − s·p + l]

That is five times as many multiplications, most of them with zeros, and only whole rows are copied.
"""

from __future__ import annotations

from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.nn.geometry import Geometry
from limner.nn.moved import moved

WIDEST = 2_560
"""Positions of the big side's row times channels of the small side, beyond which so many multiplications take longer
than patches do; fitted with benchmarks/conv.py on a Xeon with AMX."""


@lru_cache(maxsize=64)
def _places(g: Geometry, dtype: torch.dtype) -> Tensor:
    """Which tap lies where: (width of the big side · width of the small side, taps across), of 0 and 1."""
    with torch.inference_mode(False), torch.device("cpu"):
        big, small, tap = torch.arange(g.big[1]), torch.arange(g.small[1]), torch.arange(g.kernel[1])
        lies = big[:, None, None] == g.stride[1] * small[:, None] + tap - g.left[1]
        return lies.flatten(0, 1).to(dtype)


def _matrix(weight: Tensor, g: Geometry, dtype: torch.dtype) -> Tensor:
    """weight (S, B, *kernel) along the rows: (taps down · width · B, width of the small side · S)."""
    s, b, down, _ = weight.shape
    laid = _places(g, dtype) @ weight.to(dtype).permute(3, 2, 1, 0).flatten(1)
    return laid.view(g.big[1], g.small[1], down, b, s).permute(2, 0, 3, 1, 4).reshape(down * g.big[1] * b, -1)


def _under(x: Tensor, g: Geometry) -> Tensor:
    """The rows that each output row meets: (N, height of the big side, V) → (N, height of the small, taps down, V)."""
    (top, _), (down, _), (stride, _) = g.left, g.kernel, g.stride
    below = (g.small[0] - 1) * stride + down - top - g.big[0]
    return F.pad(x, (0, 0, top, below)).unfold(1, down, stride).transpose(2, 3).contiguous()


def _added(rows: Tensor, g: Geometry) -> Tensor:
    """The transpose of _under: rows that several output rows meet are added up."""
    n, count, down, wide = rows.shape
    (top, _), (stride, _), (height, _) = g.left, g.stride, g.big
    y = rows.new_zeros(n, max(count + (down - 1) // stride, -(-(top + height) // stride)), stride, wide)
    for first in range(0, down, stride):
        part = rows[:, :, first : first + stride]
        y[:, first // stride : first // stride + count, : part.shape[2]] += part
    return y.flatten(1, 2)[:, top : top + height]


def row_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    """Convolution of x (N, B, *g.big) with weight (S, B, *g.kernel): (N, S, *g.small), one product for all rows."""
    under = moved(x.permute(0, 2, 3, 1).flatten(2), partial(_under, g=g), partial(_added, g=g))
    rows = under.flatten(2).flatten(0, 1)
    matrix = _matrix(weight, g, x.dtype)
    y = rows @ matrix if bias is None else torch.addmm(bias.to(x.dtype).repeat(g.small[1]), rows, matrix)
    return y.view(len(x), *g.small, -1).permute(0, 3, 1, 2)


def row_conv_transpose2d(x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    """Transposed convolution of x (N, S, *g.small) with weight (S, B, *g.kernel): (N, B, *g.big), by rows."""
    rows = x.permute(0, 2, 3, 1).reshape(len(x) * g.small[0], -1) @ _matrix(weight, g, x.dtype).T
    y = moved(rows.view(len(x), g.small[0], g.kernel[0], -1), partial(_added, g=g), partial(_under, g=g))
    y = y.unflatten(2, (g.big[1], -1)).permute(0, 3, 1, 2)
    return y if bias is None else y + bias[:, None, None]
