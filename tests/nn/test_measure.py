"""Measurements against closed forms, the adjoint, SciPy's blur, and scikit-image's Radon transform."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.transform import radon, rotate

from limner.core.errors import UsageError
from limner.core.signal import Signal
from limner.nn import measure

SIGNAL = Signal(channels=2, size=(12, 9))
LINEAR = ("block-pixels:0.4", "keep-patch:5", "conv-noise:0.8,0", "pad-rotate-project")


def pictures(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def chances(*shape, seed=1):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("text", LINEAR)
def test_brightness_is_measured_linearly_and_gradients_are_the_adjoint(text):
    """With b = x + 1: A(αb + βc) = αAb + βAc, and ⟨Ab, y⟩ = ⟨b, Aᵀy⟩ where Aᵀ is what backward applies."""
    found = measure.measurement(text, SIGNAL)
    u = chances(3, found.draws)

    def bright(b):
        return found.apply(b - 1, u) + 1

    b, c, y = pictures(3, 2, 12, 9), pictures(3, 2, 12, 9, seed=2), pictures(3, 2, 12, 9, seed=3)
    torch.testing.assert_close(bright(0.3 * b - 2 * c), 0.3 * bright(b) - 2 * bright(c))
    b.requires_grad_()
    (adjoint,) = torch.autograd.grad((bright(b) * y).sum(), b)
    assert (bright(b) * y).sum().item() == pytest.approx((b * adjoint).sum().item())
    assert torch.autograd.gradcheck(bright, b)
    torch.testing.assert_close(bright(torch.zeros(3, 2, 12, 9, dtype=torch.float64)).abs().max().item(), 0.0)


@pytest.mark.parametrize("name", ["block-pixels", "keep-patch", "conv-noise"])
def test_what_a_hint_proposes_suits_the_pictures(name):
    small = Signal(channels=1, size=(8, 8))
    with pytest.raises(UsageError) as error:
        measure.measurement(f"{name}:99", small)
    measure.measurement(error.value.hint.split(" ")[0], small)


@pytest.mark.parametrize("text", [*LINEAR, "conv-noise:1,0.4"])
def test_a_measured_picture_has_its_shape_and_does_not_depend_on_others(text):
    found = measure.measurement(text, SIGNAL)
    x, u = pictures(4, 2, 12, 9).float(), chances(4, found.draws).float()
    made = found.apply(x, u)
    assert made.shape == x.shape and made.dtype == x.dtype
    torch.testing.assert_close(found.apply(x[1:2], u[1:2]), made[1:2])


def test_as_many_values_are_blocked_as_said_and_the_others_stay():
    x = pictures(50, 1, 20, 20)
    made = measure.block_pixels(x, chances(50, 400), 0.3)
    blocked = made == -1
    assert blocked.double().mean().item() == pytest.approx(0.3, abs=4 * (0.21 / 20_000) ** 0.5)
    assert torch.equal(made[~blocked], x[~blocked])


def test_a_patch_is_kept_at_every_place_alike_often():
    u = torch.stack([chances(6000), chances(6000, seed=2)], 1)
    made = measure.keep_patch(torch.ones(6000, 1, 6, 5, dtype=torch.float64), u, 4)
    assert ((made == 1).flatten(1).sum(1) == 16).all()
    first = (made[:, 0] == 1).flatten(1).double().argmax(1)
    counts = torch.bincount(first, minlength=30).view(6, 5)[:3, :2].flatten()
    assert counts.sum() == 6000
    assert (counts - 1000).abs().max() < 5 * (6000 * (1 / 6) * (5 / 6)) ** 0.5


def test_the_blur_is_scipy_s_and_the_noise_is_normal():
    x, std = pictures(2, 1, 12, 9), 0.4
    plain = measure.conv_noise(x, chances(2, 108), 1.0, 0.0)
    for picture, found in zip(x, plain, strict=True):
        expected = ndimage.gaussian_filter(picture[0].numpy() + 1, 1.0, mode="constant", truncate=3.0) - 1
        np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-12)
    many = torch.zeros(400, 1, 12, 9, dtype=torch.float64)
    noise = measure.conv_noise(many, chances(400, 108), 1.0, std) - measure.conv_noise(many, chances(400, 108), 1.0, 0)
    assert noise.mean().item() == pytest.approx(0, abs=5 * std / 43_200**0.5)
    assert noise.std().item() == pytest.approx(std, rel=0.02)


def test_blur_and_noise_are_exact_for_bfloat16_too():
    x, u = pictures(2, 1, 12, 9).bfloat16(), chances(2, 108)
    with torch.autocast("cpu", torch.bfloat16):
        found = measure.conv_noise(x, u, 1.0, 0.4)
    torch.testing.assert_close(found, measure.conv_noise(x.double(), u, 1.0, 0.4).float(), atol=1e-5, rtol=0)


def test_the_projection_s_angle_is_exact_for_bfloat16_too():
    x, u = pictures(4, 1, 64, 64).float(), chances(4, 1).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = measure.pad_rotate_project(x, u)
    assert torch.equal(found, measure.pad_rotate_project(x, u))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.6])
def test_the_projection_is_that_of_a_turned_picture(share):
    """scikit-image turns the padded picture bilinearly; its columns' means are pooled to the width."""
    x = pictures(1, 1, 12, 12)
    made = measure.pad_rotate_project(x, torch.tensor([[share]], dtype=torch.float64))[0, 0]
    padded = np.pad(x[0, 0].numpy() + 1, ((2, 3), (2, 3)))  # ceil(√2 · 12) = 17 px
    angle = 360 * share
    turned = rotate(padded, angle, order=1, mode="constant", cval=0, preserve_range=True, clip=False)
    line = turned.mean(0)
    pooled = [line[int(np.floor(i * 17 / 12)) : int(np.ceil((i + 1) * 17 / 12))].mean() for i in range(12)]
    np.testing.assert_allclose(made[0].numpy() + 1, pooled, atol=1e-6)
    assert torch.equal(made, made[:1].expand(12, -1)), "each row is the same"


def test_the_projection_is_near_the_radon_transform():
    """Of a smooth blob, where interpolation hardly matters."""
    place = np.arange(24) - 11.5
    blob = np.exp(-((place[:, None] - 3) ** 2 + (place[None] + 2) ** 2) / 18)
    made = measure.pad_rotate_project(torch.from_numpy(blob)[None, None] - 1, torch.tensor([[0.15]]).double())
    sums = radon(blob, [-0.15 * 360], circle=False)[:, 0]  # 34 values; its angles go the other way round
    pooled = torch.nn.functional.adaptive_avg_pool1d(torch.from_numpy(sums)[None] / 34, 24)[0]
    # Its middle lies half a pixel elsewhere.
    assert np.corrcoef(pooled, made[0, 0, 0])[0, 1] > 0.99
    assert (made[0, 0, 0] + 1).mean().item() == pytest.approx(float(pooled.mean()), rel=0.02)


@pytest.mark.parametrize(("text", "message"), [
    ("block-pixel:0.5", "there is no measurement 'block-pixel'"),
    ("block-pixels", "does not say how"), ("block-pixels:1.5", "does not say how"), ("keep-patch:9", "does not say"),
    ("keep-patch:2.5", "does not say how"), ("conv-noise:1", "does not say"), ("conv-noise:a,b", "does not say how"),
    ("pad-rotate-project:3", "does not say how"),
])  # fmt: skip
def test_what_is_not_a_measurement_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        measure.measurement(text, SIGNAL)
