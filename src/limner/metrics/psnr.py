"""PSNR: how close a restored picture is to the original, pixel by pixel, in dB. Higher is closer; equal is infinite.

Super-resolution tables measure Y alone, in studio range, with `scale` px cropped from each side: `luma`, `cropped`.
Say which convention a figure uses; they differ by more than methods do.
"""

import torch
from torch import Tensor


def psnr(a: Tensor, b: Tensor, peak: float = 255.0) -> Tensor:
    """10 log10(peak² / mean squared difference).

    a, b    (N, C, H, W)  values from 0 to peak
    returns (N,)  dB, float64
    """
    error = (a.double() - b.double()).square().flatten(1).mean(1)
    return 10 * torch.log10(peak**2 / error)


def luma(x: Tensor) -> Tensor:
    """Y as super-resolution tables take it: ITU-R BT.601 in studio range, 16 to 235, not rounded.

    x       (N, 3, H, W)  RGB from 0 to 255; grey (N, 1, H, W) is taken for Y as it is
    returns (N, 1, H, W)  float64
    """
    x = x.double()
    if x.shape[1] == 1:
        return x
    weights = x.new_tensor([65.481, 128.553, 24.966]) / 255
    return 16 + (x * weights.view(3, 1, 1)).sum(1, keepdim=True)


def cropped(x: Tensor, border: int) -> Tensor:
    """Without its outermost px.

    x       (N, C, H, W)
    border  px on each side; tables use the scale
    returns (N, C, H − 2 border, W − 2 border)
    """
    return x[..., border : x.shape[-2] - border, border : x.shape[-1] - border]
