"""PSNR, SSIM, MS-SSIM and the bicubic of super-resolution tables: known answers and independent libraries."""

import numpy as np
import pytest
import skimage.color
import skimage.data
import skimage.metrics
import torch
from torch import Tensor

from limner.metrics.bicubic import imresize
from limner.metrics.psnr import cropped, luma, psnr
from limner.metrics.ssim import ms_ssim, ssim


def picture(name: str) -> Tensor:
    """(1, C, H, W) uint8, cropped to even sides."""
    x = torch.from_numpy(np.asarray(getattr(skimage.data, name)()))
    x = (x[None] if x.dim() == 2 else x.permute(2, 0, 1))[None]
    return x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]


@pytest.mark.parametrize(("name", "expected"), [("astronaut", 31.70), ("chelsea", 35.23), ("camera", 29.89)])
def test_bicubic_by_two_of_y_alone(name: str, expected: float) -> None:
    y = (luma(picture(name)) + 0.5).floor().to(torch.uint8)
    restored = imresize(imresize(y, 0.5), 2)
    assert psnr(cropped(y, 2), cropped(restored, 2)).item() == pytest.approx(expected, abs=0.005)


def test_imresize_agrees_with_torch_away_from_the_border() -> None:
    x = picture("camera")[..., 100:200, 100:200].double()
    theirs = torch.nn.functional.interpolate(x, scale_factor=0.5, mode="bicubic", antialias=True)
    torch.testing.assert_close(cropped(imresize(x, 0.5), 4), cropped(theirs, 4), rtol=1e-6, atol=1e-3)


def test_imresize_by_hand() -> None:
    constant = torch.full((1, 1, 7, 5), 3.0)
    for scale in (0.25, 0.5, 1 / 3, 1.0, 2.0, 3.5):
        resized = imresize(constant, scale)
        assert resized.shape[-2:] == (-(-7 * scale // 1), -(-5 * scale // 1))
        torch.testing.assert_close(resized, torch.full_like(resized, 3))
    # Halfway between samples Keys' cubic takes −1/16, 9/16, 9/16, −1/16; at quarters ×2 it takes these:
    step = torch.tensor([0.0, 0, 0, 1, 1, 1]).double().view(1, 1, 1, 6).expand(1, 1, 6, 6)
    weights = (-0.0703125, 0.8671875, 0.2265625, -0.0234375)
    assert imresize(step, 2)[0, 0, 0, 5].item() == pytest.approx(weights[2] + weights[3])


def test_psnr() -> None:
    a = torch.zeros(2, 1, 4, 4)
    b = torch.stack([torch.full((1, 4, 4), 5.0), torch.zeros(1, 4, 4)])
    assert psnr(a, b).tolist() == pytest.approx([20 * np.log10(255 / 5), np.inf])
    x, y = picture("astronaut"), picture("astronaut").flip(-1)
    theirs = skimage.metrics.peak_signal_noise_ratio(x[0].numpy(), y[0].numpy())
    assert psnr(x, y).item() == pytest.approx(theirs, abs=1e-10)


def test_luma_equals_skimage() -> None:
    x = picture("astronaut")
    theirs = skimage.color.rgb2ycbcr(x[0].permute(1, 2, 0).numpy())[..., 0]
    np.testing.assert_allclose(luma(x)[0, 0].numpy(), theirs, atol=1e-11)


def test_ssim_equals_skimage() -> None:
    y = luma(picture("chelsea"))
    noisy = (y + 12 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 255)
    convention = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    theirs = skimage.metrics.structural_similarity(y[0, 0].numpy(), noisy[0, 0].numpy(), **convention)
    assert ssim(y, noisy).item() == pytest.approx(theirs, abs=1e-11)
    assert ssim(y, y).item() == pytest.approx(1)


def test_ms_ssim_equals_pytorch_msssim() -> None:
    import pytorch_msssim

    x = picture("astronaut")[..., :401, :333].double()
    y = (x + 25 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 255)
    window = torch.exp(-(torch.arange(-5, 6).double() ** 2) / (2 * 1.5**2))  # theirs would be of single precision
    window = (window / window.sum()).expand(3, 1, 1, 11)
    theirs = pytorch_msssim.ms_ssim(x, y, data_range=255, win=window)
    assert ms_ssim(x, y).item() == pytest.approx(theirs.item(), abs=1e-10)
    theirs = pytorch_msssim.ssim(x, y, data_range=255, win=window)
    assert ssim(x, y).item() == pytest.approx(theirs.item(), abs=1e-10)
    with pytest.raises(ValueError, match="160 px"):
        ms_ssim(x[..., :100], y[..., :100])


def test_batches_do_not_matter() -> None:
    luck = torch.Generator().manual_seed(0)
    a, b = (255 * torch.rand(3, 3, 170, 170, generator=luck) for _ in range(2))
    for metric in (psnr, ssim, ms_ssim):
        torch.testing.assert_close(metric(a, b)[1:2], metric(a[1:2], b[1:2]), rtol=1e-10, atol=0)
