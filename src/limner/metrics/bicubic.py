"""Bicubic resize as MATLAB's imresize does it: the one that super-resolution tables make their inputs with.

Other libraries' bicubic differs in kernel, border or antialiasing, by up to 2 dB in a table.

Source: Keys 1981, "Cubic convolution interpolation for digital image processing" (a = −1/2)
"""

from math import ceil

import torch
from torch import Tensor


def imresize(x: Tensor, scale: float) -> Tensor:
    """A picture `scale` times as large, antialiased when smaller, with mirrored borders.

    x       (N, C, H, W)  floating, or uint8
    returns (N, C, ⌈H scale⌉, ⌈W scale⌉)  float64; of uint8, rounded half up to uint8
    """
    tall, wide = (_weights(extent, scale).to(x.device) for extent in x.shape[-2:])
    y = tall @ x.double() @ wide.T
    return (y + 0.5).floor().clamp(0, 255).to(torch.uint8) if x.dtype == torch.uint8 else y


def _weights(extent: int, scale: float) -> Tensor:
    """(⌈extent × scale⌉, extent)  what each new pixel takes of each old one, float64."""
    stretch = min(scale, 1.0)
    width = 4 / stretch
    centre = (torch.arange(ceil(extent * scale), dtype=torch.float64) + 0.5) / scale - 0.5
    first = (centre - width / 2).floor().long()
    taps = first[:, None] + torch.arange(ceil(width) + 2)
    weights = _cubic((centre[:, None] - taps) * stretch)
    weights = weights / weights.sum(1, keepdim=True)
    mirrored = taps.remainder(2 * extent)
    mirrored = torch.where(mirrored < extent, mirrored, 2 * extent - 1 - mirrored)
    return weights.new_zeros(len(centre), extent).scatter_add_(1, mirrored, weights)


def _cubic(x: Tensor) -> Tensor:
    x = x.abs()
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return torch.where(x <= 1, near, torch.where(x <= 2, far, 0))
