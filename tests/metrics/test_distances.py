"""Fréchet and kernel distance against closed forms, scipy and torchmetrics."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn

from limner.metrics.fid import Moments, frechet_distance
from limner.metrics.kid import kernel_distance, squared_mmd


def cloud(count: int, dimensions: int, seed: int) -> Tensor:
    """Correlated vectors with a mean of their own."""
    luck = torch.Generator().manual_seed(seed)
    mix = torch.randn(dimensions, dimensions, generator=luck)
    return torch.randn(count, dimensions, generator=luck) @ mix + torch.randn(dimensions, generator=luck)


class Eye(nn.Module):
    """Gives torchmetrics our vectors as they are."""

    num_features = 12

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, : self.num_features]


def test_two_normal_distributions() -> None:
    a, b = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 4.0, 1.0]).double()
    shift = torch.tensor([1.0, -2.0, 0.5]).double()
    one = Moments(101, torch.zeros(3).double(), torch.diag(a) * 100)
    two = Moments(1001, shift, torch.diag(b) * 1000)
    # |shift|² + (1 − 2)² + (2 − 2)² + (3 − 1)²
    assert frechet_distance(one, two) == pytest.approx(5.25 + 1 + 0 + 4, abs=1e-12)


def test_equal_sets_are_at_zero() -> None:
    x = Moments.of(cloud(300, 40, 0))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-8)
    few = Moments.of(cloud(5, 40, 1))
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-8)


def test_frechet_equals_scipy() -> None:
    x, y = cloud(400, 24, 2), cloud(500, 24, 3)
    a, b = (np.cov(z.double().numpy(), rowvar=False) for z in (x, y))
    mean = (x.double().mean(0) - y.double().mean(0)).square().sum().item()
    expected = mean + np.trace(a) + np.trace(b) - 2 * np.trace(scipy.linalg.sqrtm(a @ b)).real
    assert frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(expected, rel=1e-9)


def test_frechet_equals_torchmetrics() -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    x, y = cloud(300, 12, 4), cloud(200, 12, 5)
    theirs = FrechetInceptionDistance(feature=Eye(), input_img_size=(12, 1, 1)).set_dtype(torch.float64)
    theirs.update(x.view(-1, 12, 1, 1), real=True)
    theirs.update(y.view(-1, 12, 1, 1), real=False)
    assert frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(theirs.compute().item(), rel=1e-5)


def test_fewer_samples_than_dimensions() -> None:
    x, y = cloud(10, 64, 6).double(), cloud(7, 64, 7).double()
    # With S = AᵀA and T = BᵀB, tr √(ST) is the sum of the singular values of A Bᵀ.
    a, b = ((z - z.mean(0)) / (len(z) - 1) ** 0.5 for z in (x, y))
    shared = torch.linalg.svdvals(a @ b.T).sum()
    expected = (x.mean(0) - y.mean(0)).square().sum() + a.square().sum() + b.square().sum() - 2 * shared
    assert frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("batch", [1, 7, 100, 1000])
def test_moments_do_not_depend_on_the_batch(batch: int) -> None:
    x = cloud(333, 8, 8) + 1000  # a mean far from 0, where sums of squares would lose digits
    moments = Moments.empty(8)
    for part in x.split(batch):
        moments.update(part)
    assert moments.count == 333
    torch.testing.assert_close(moments.covariance, torch.from_numpy(np.cov(x.double().numpy(), rowvar=False)))
    torch.testing.assert_close(moments.mean, x.double().mean(0))


def test_merging_moments_equals_one_pass() -> None:
    x = cloud(100, 6, 9)
    merged = Moments.of(x[:30])
    merged.merge(Moments.empty(6))
    merged.merge(Moments.of(x[30:]))
    whole = Moments.of(x)
    assert merged.count == whole.count
    torch.testing.assert_close(merged.scatter, whole.scatter, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(merged.mean, whole.mean, rtol=1e-12, atol=1e-12)


def test_one_sample_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="2 samples"):
        _ = Moments.of(torch.zeros(1, 3)).covariance


def test_kernel_distance_equals_torchmetrics() -> None:
    from torchmetrics.image.kid import poly_mmd

    x, y = cloud(60, 10, 10).double(), cloud(60, 10, 11).double()
    assert squared_mmd(x, y).item() == pytest.approx(poly_mmd(x, y).item(), rel=1e-10)
    whole = kernel_distance(x, y, subsets=2, size=1000)
    assert whole.mean == pytest.approx(squared_mmd(x, y).item(), rel=1e-10)
    assert whole.std == pytest.approx(0, abs=1e-6 * whole.mean)


def test_kernel_distance_is_unbiased() -> None:
    luck = torch.Generator().manual_seed(0)
    x, y = (torch.randn(4000, 4, generator=luck) for _ in range(2))
    same = kernel_distance(x, y, subsets=200, size=50)
    assert abs(same.mean) < 4 * same.std / 200**0.5
    assert kernel_distance(x, y + 1, subsets=20, size=50).mean > 10 * abs(same.mean)
    assert kernel_distance(x, y, seed=1, subsets=3) == kernel_distance(x, y, seed=1, subsets=3)
