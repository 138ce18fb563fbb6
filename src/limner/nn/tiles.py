"""Convolutions of short kernels in tiles: as many products as a tile has points, and not one for each tap.

Four outputs of a kernel of three taps follow from six inputs. Seen as polynomials, the outputs are coefficients of a
product, and a polynomial of that degree is known from its values at six points: six products in place of twelve, and
in two dimensions 36 in place of 144. A stride s splits inputs into s phases, each with its own share of the taps, so a
4×4 kernel of stride 2 has two taps an axis, and five points give four outputs.

With B for a tile, G for a kernel and A for the outputs, each the values at the points as a small matrix,

    small = Aᵀ (Bᵀ big · G w)

for each pair of channels, where big is a tile of it; tiles overlap by the taps less one. The transpose goes in by A and
out by B, and adds up what overlaps. Points are small fractions and their sums are exact in float64; in float32 a
result is off by some 1e-6 of its size.

Source: Winograd 1980, Arithmetic Complexity of Computations; Lavin & Gray 2016, arXiv:1509.09308
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.nn.geometry import Geometry, Pair
from limner.nn.moved import moved

_POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
"""Points beside infinity, best first: of five, these have the least rounding among small fractions."""
OUTPUTS = 4
"""Of a tile, on each axis."""
LONGEST = 3
"""Taps of a phase: for more there are no points left that round well."""


class Points(NamedTuple):
    """The matrices of one axis.

    big     (points, inputs)
    kernel  (points, taps)
    small   (points, outputs)
    """

    big: Tensor
    kernel: Tensor
    small: Tensor


@lru_cache(maxsize=16)
def points(taps: int) -> Points:
    """The values of polynomials that give OUTPUTS outputs of so many taps, in float64."""
    with torch.inference_mode(False), torch.device("cpu"):
        p = torch.tensor(_POINTS[: OUTPUTS + taps - 2], dtype=torch.float64)
        count = len(p) + 1
        big, kernel, small = (torch.zeros(count, n, dtype=torch.float64) for n in (count, taps, OUTPUTS))
        for i, point in enumerate(p):
            others = torch.cat([p[:i], p[i + 1 :]])
            kernel[i] = point ** torch.arange(taps) / (point - others).prod()
            small[i] = point ** torch.arange(OUTPUTS)
            big[i, :-1] = _with_roots(others)
        kernel[-1, -1] = small[-1, -1] = 1
        big[-1] = _with_roots(p)
        # Rows may be scaled as long as their three factors make one; alike in size they round best.
        sizes = torch.stack([m.norm(dim=1) for m in (big, kernel, small)])
        big, kernel, small = (
            m * (sizes.prod(0) ** (1 / 3) / size)[:, None] for m, size in zip((big, kernel, small), sizes, strict=True)
        )
        return Points(big, kernel, small)


def _with_roots(roots: Tensor) -> Tensor:
    """Coefficients of the polynomial with these roots, the constant first."""
    found = roots.new_ones(1)
    for root in roots:
        found = F.pad(found, (1, 0)) - root * F.pad(found, (0, 1))
    return found


@lru_cache(maxsize=64)
def _both(taps: Pair, dtype: torch.dtype) -> Points:
    """The matrices of both axes together."""
    with torch.inference_mode(False), torch.device("cpu"):
        y, x = points(taps[0]), points(taps[1])
        return Points(*(torch.kron(a, b).to(dtype) for a, b in zip(y, x, strict=True)))


class Plan(NamedTuple):
    """How a convolution is laid out: taps of a phase, tiles, and zeros after the big side, each by axis."""

    taps: Pair
    tiles: Pair
    after: Pair


def plan(g: Geometry) -> Plan:
    """The layout of a geometry."""
    taps = [-(-kernel // stride) for kernel, stride in zip(g.kernel, g.stride, strict=True)]
    tiles = [-(-small // OUTPUTS) for small in g.small]
    after = [
        (OUTPUTS * many + tap - 1) * stride - left - big
        for many, tap, stride, left, big in zip(tiles, taps, g.stride, g.left, g.big, strict=True)
    ]
    return Plan((taps[0], taps[1]), (tiles[0], tiles[1]), (after[0], after[1]))


class Layout(NamedTuple):
    """Tiles of a picture, by axis: how many, their inputs in each phase, and the stride."""

    tiles: Pair
    inputs: Pair
    stride: Pair


def _taken(x: Tensor, layout: Layout) -> Tensor:
    (down, across), (h, w), (sy, sx) = layout
    x = x.unfold(1, h * sy, OUTPUTS * sy).unfold(2, w * sx, OUTPUTS * sx)[:, :down, :across]
    x = x.unflatten(5, (w, sx)).unflatten(4, (h, sy)).permute(0, 1, 2, 4, 6, 5, 7, 3)
    return x.reshape(*x.shape[:5], -1)


def _laid(x: Tensor, layout: Layout) -> Tensor:
    (down, across), (h, w), (sy, sx) = layout
    channels = x.shape[-1] // (sy * sx)
    x = x.view(len(x), down, across, h, w, sy, sx, channels).permute(0, 1, 3, 5, 2, 4, 6, 7)
    # A last, empty tile on each axis takes what the one before it reaches over.
    whole = x.new_empty(len(x), down + 1, OUTPUTS, sy, across + 1, OUTPUTS, sx, channels)
    whole[:, -1] = whole[:, :, :, :, -1] = 0
    over_h, over_w = h - OUTPUTS, w - OUTPUTS
    whole[:, :-1, :, :, :-1] = x[:, :, :OUTPUTS, :, :, :OUTPUTS]
    whole[:, 1:, :over_h, :, :-1] += x[:, :, OUTPUTS:, :, :, :OUTPUTS]
    whole[:, :-1, :, :, 1:, :over_w] += x[:, :, :OUTPUTS, :, :, OUTPUTS:]
    whole[:, 1:, :over_h, :, 1:, :over_w] += x[:, :, OUTPUTS:, :, :, OUTPUTS:]
    height, width = ((OUTPUTS * (many - 1) + size) * s for many, size, s in zip(*layout, strict=True))
    return whole.flatten(4, 6).flatten(1, 3)[:, :height, :width]


def _cut(x: Tensor, layout: Layout) -> Tensor:
    """(N, H, W, C) → (N, tiles, tiles, inputs, inputs, s·s·C): tiles that overlap, with phases beside the channels."""
    return moved(x, partial(_taken, layout=layout), partial(_laid, layout=layout))


def _add(x: Tensor, layout: Layout) -> Tensor:
    """The transpose of _cut: tiles are laid down, and what overlaps is added up."""
    return moved(x, partial(_laid, layout=layout), partial(_taken, layout=layout))


def _phases(weight: Tensor, stride: Pair) -> Tensor:
    """(S, B, h·s, w·s) → (S, h·w, s·s·B)."""
    (n, c, height, width), (sy, sx) = weight.shape, stride
    x = weight.permute(0, 2, 3, 1).reshape(n, height // sy, sy, width // sx, sx, c)
    return x.transpose(2, 3).reshape(n, -1, sy * sx * c)


def _through(matrix: Tensor, x: Tensor) -> Tensor:
    """matrix (A, B) times each of x (N, B, C): (N, A, C)."""
    return torch.bmm(matrix.expand(len(x), *matrix.shape), x)


def _kernel(weight: Tensor, g: Geometry, p: Plan, m: Points) -> Tensor:
    """weight (S, B, *kernel) at the points, with the phases of the big side beside its channels: (points, S, P·B)."""
    missing = [tap * stride - kernel for tap, stride, kernel in zip(p.taps, g.stride, g.kernel, strict=True)]
    phases = _phases(F.pad(weight, (0, missing[1], 0, missing[0])), g.stride)
    return _through(m.kernel, phases).transpose(0, 1)


def _layout(p: Plan, g: Geometry) -> Layout:
    return Layout(p.tiles, (OUTPUTS + p.taps[0] - 1, OUTPUTS + p.taps[1] - 1), g.stride)


def tile_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    """Convolution of x (N, B, *g.big) with weight (S, B, *g.kernel): (N, S, *g.small), tile by tile."""
    p = plan(g)
    m = _both(p.taps, x.dtype)
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, g.left[1], p.after[1], g.left[0], p.after[0]))
    cut = _cut(x, _layout(p, g))
    values = _through(m.big, cut.flatten(3, 4).flatten(0, 2)).transpose(0, 1)
    products = torch.bmm(values, _kernel(weight, g, p, m).mT)
    made = _through(m.small.mT, products.transpose(0, 1))
    y = made.view(len(x), *p.tiles, OUTPUTS, OUTPUTS, -1).transpose(2, 3).flatten(3, 4).flatten(1, 2)
    y = y[:, : g.small[0], : g.small[1]].permute(0, 3, 1, 2)
    return y if bias is None else y + bias[:, None, None]


def tile_conv_transpose2d(x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    """Transposed convolution of x (N, S, *g.small) with weight (S, B, *g.kernel): (N, B, *g.big), tile by tile."""
    p = plan(g)
    m = _both(p.taps, x.dtype)
    rest = [OUTPUTS * many - small for many, small in zip(p.tiles, g.small, strict=True)]
    x = F.pad(x, (0, rest[1], 0, rest[0])).permute(0, 2, 3, 1)
    cut = x.reshape(len(x), p.tiles[0], OUTPUTS, p.tiles[1], OUTPUTS, -1).transpose(2, 3)
    values = _through(m.small, cut.flatten(3, 4).flatten(0, 2)).transpose(0, 1)
    products = torch.bmm(values, _kernel(weight, g, p, m))
    layout = _layout(p, g)
    made = _through(m.big.mT, products.transpose(0, 1)).view(len(x), *p.tiles, *layout.inputs, -1)
    y = _add(made, layout).permute(0, 3, 1, 2)
    if min(p.after) < 0:  # output_padding reaches beyond the last tap
        y = F.pad(y, (0, max(0, -p.after[1]), 0, max(0, -p.after[0])))
    y = y[..., g.left[0] : g.left[0] + g.big[0], g.left[1] : g.left[1] + g.big[1]]
    # Layers that follow are several times slower on a part of something larger.
    y = y.contiguous(memory_format=torch.channels_last)
    return y if bias is None else y + bias[:, None, None]
