"""SSIM: how alike two pictures are in brightness, contrast and structure, window by window. 1 is equal.

The original's convention: Gaussian window of 11 px with σ 1.5, K = (.01, .03), population covariance, windows that
lie inside only. Libraries' defaults differ and give other figures.

Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity";
Wang, Simoncelli & Bovik 2003, "Multiscale structural similarity for image quality assessment"
"""

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, SIGMA = 11, 1.5
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ssim(a: Tensor, b: Tensor, peak: float = 255.0) -> Tensor:
    """Structural similarity, averaged over windows and channels.

    a, b    (N, C, H, W)  values from 0 to peak, at least 11 px each way
    returns (N,)  float64
    """
    structure, brightness = _maps(a.double(), b.double(), peak)
    return (structure * brightness).flatten(1).mean(1)


def ms_ssim(a: Tensor, b: Tensor, peak: float = 255.0) -> Tensor:
    """SSIM over five scales, each half as large as the one before; brightness counts at the last alone.

    a, b    (N, C, H, W)  values from 0 to peak, more than 160 px each way
    returns (N,)  float64
    raises  ValueError   for smaller pictures

    Negative structure is taken for 0, since it has no fractional power.
    """
    if min(a.shape[-2:]) <= (WINDOW - 1) * 2 ** (len(SCALES) - 1):
        raise ValueError(f"MS-SSIM needs more than 160 px each way, not {tuple(a.shape[-2:])}")
    a, b = a.double(), b.double()
    product = a.new_ones(a.shape[:2])
    for scale, weight in enumerate(SCALES):
        structure, brightness = _maps(a, b, peak)
        if scale == len(SCALES) - 1:
            structure = structure * brightness
        product = product * structure.mean((2, 3)).clamp_min(0) ** weight
        padding = [extent % 2 for extent in a.shape[-2:]]
        a, b = (F.avg_pool2d(x, 2, padding=padding) for x in (a, b))
    return product.mean(1)


def _maps(a: Tensor, b: Tensor, peak: float) -> tuple[Tensor, Tensor]:
    """Contrast with structure, and brightness, of every window: each (N, C, H − 10, W − 10)."""
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mean_a, mean_b = _blurred(a), _blurred(b)
    variance_a, variance_b = _blurred(a * a) - mean_a**2, _blurred(b * b) - mean_b**2
    covariance = _blurred(a * b) - mean_a * mean_b
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return structure, (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)


def _blurred(x: Tensor) -> Tensor:
    place = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    window = torch.exp(-(place**2) / (2 * SIGMA**2))
    window = (window / window.sum()).expand(x.shape[1], 1, 1, WINDOW)
    x = F.conv2d(x, window, groups=x.shape[1])
    return F.conv2d(x, window.mT, groups=x.shape[1])
