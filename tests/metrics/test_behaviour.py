"""Modes, diversity, the discriminator's performance, memorisation: known mixtures and scikit-learn."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score
from torch import Tensor

from limner.metrics import modes
from limner.metrics.discriminator import calibration, discriminator
from limner.metrics.diversity import diversity_ratio, mean_distance, pooled
from limner.metrics.memorisation import memorisation
from limner.metrics.ranks import roc_auc


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ring() -> Tensor:
    angle = torch.arange(8) * (2 * math.pi / 8)
    return torch.stack([angle.cos(), angle.sin()], 1)


def test_perfect_samples_of_a_ring() -> None:
    luck = torch.Generator().manual_seed(0)
    centres = ring()
    shares, divergences = [], []
    for _ in range(20):
        which = torch.randint(0, 8, (2500,), generator=luck)
        found = modes.mixture(centres[which] + 0.01 * torch.randn(2500, 2, generator=luck), centres, 0.01)
        assert found.captured == 8
        shares.append(found.high_quality)
        divergences.append(found.reverse_kl)
    assert np.mean(shares) == pytest.approx(1 - math.exp(-4.5), abs=0.002)  # 98.89 %, within a circle of 3 std
    assert np.mean(divergences) == pytest.approx(7 / 5000, rel=0.4)


def test_collapse_to_one_mode() -> None:
    found = modes.mixture(ring()[:1].repeat(100, 1), ring(), 0.01)
    assert (found.captured, found.high_quality) == (1, 1)
    assert found.reverse_kl == pytest.approx(math.log(8))
    nowhere = modes.mixture(torch.full((10, 2), 5.0), ring(), 0.01)
    assert (nowhere.captured, nowhere.high_quality, nowhere.reverse_kl) == (0, 0, math.inf)


def test_reverse_kl_equals_scipy() -> None:
    counts, real = torch.tensor([5, 0, 3, 2]), torch.tensor([0.4, 0.3, 0.2, 0.1])
    assert modes.reverse_kl(counts) == pytest.approx(scipy.stats.entropy([5, 0, 3, 2], [1] * 4))
    assert modes.reverse_kl(counts, real) == pytest.approx(scipy.stats.entropy([5, 0, 3, 2], real.numpy()), rel=1e-6)
    found = modes.classes(torch.tensor([0, 0, 2, 3]), 5)
    assert found.counts.tolist() == [2, 0, 1, 1, 0]
    assert found.captured == 3


def test_diversity_ratio() -> None:
    x = normal(64, 1, 8, 8)
    assert diversity_ratio(x, x) == 1
    assert diversity_ratio(0.5 * x, x) == pytest.approx(0.5, rel=1e-5)
    assert diversity_ratio(x[:1].repeat(64, 1, 1, 1), x) == 0
    picture = torch.arange(16.0).view(1, 1, 4, 4)
    assert pooled(picture).tolist() == [[2.5, 4.5, 10.5, 12.5]]
    assert pooled(normal(3, 2)).shape == (3, 2)
    assert pooled(normal(3, 1, 6)).shape == (3, 3)
    assert pooled(normal(3, 1, 4, 4, 4)).shape == (3, 8)
    assert mean_distance(torch.tensor([[0.0, 0], [3, 4], [0, 0]])).item() == pytest.approx(10 / 3)


def test_roc_auc_equals_sklearn() -> None:
    a, b = (normal(300) + 0.5).round(decimals=1), normal(200, seed=1).round(decimals=1)  # with ties
    truth = np.r_[np.ones(300), np.zeros(200)]
    found = roc_auc(a, b)
    assert found.value == pytest.approx(roc_auc_score(truth, torch.cat([a, b]).numpy()), abs=1e-12)
    assert found.low < found.value < found.high
    assert roc_auc(a, a, draws=10).value == pytest.approx(0.5)


def test_discriminator_performance() -> None:
    train, held_out, fake = normal(400) + 2, normal(300, seed=1) + 1, normal(500, seed=2) - 1
    found = discriminator(train, held_out, fake)
    assert found.train.value == pytest.approx((train > 0).double().mean().item())
    assert found.held_out.value == pytest.approx((held_out > 0).double().mean().item())
    assert found.fake.value == pytest.approx((fake <= 0).double().mean().item())
    assert found.gap == pytest.approx(1, abs=0.2)
    assert found.memory.value == pytest.approx(scipy.stats.norm.cdf(1 / 2**0.5), abs=0.04)
    assert found.auc.value == pytest.approx(scipy.stats.norm.cdf(2 / 2**0.5), abs=0.03)


def test_calibration_equals_sklearn() -> None:
    real, fake = normal(400) + 1, normal(400, seed=1) - 1
    found = calibration(real, fake, bins=10)
    said = torch.cat([real, fake]).double().sigmoid().numpy()
    true, mean = calibration_curve(np.r_[np.ones(400), np.zeros(400)], said, n_bins=10)
    full = found.weight > 0
    np.testing.assert_allclose(found.true[full].numpy(), true, rtol=1e-6)
    np.testing.assert_allclose(found.said[full].numpy(), mean, rtol=1e-6)
    assert found.weight.sum().item() == pytest.approx(1)
    # Equal numbers of each, so doubling the fakes changes nothing: they weigh as much together.
    assert calibration(real, fake.repeat(2)).error == pytest.approx(found.error, rel=1e-6)


def test_copies_are_found_out() -> None:
    train, held_out = normal(400, 3, 4, 4), normal(200, 3, 4, 4, seed=1)
    honest = memorisation(normal(200, 3, 4, 4, seed=2), held_out, train)
    assert honest.nearer.low < 0.5 < honest.nearer.high
    copied = memorisation(train[37:57] + 0.01, held_out, train)
    assert copied.nearer.value == 1
    assert copied.index.tolist() == list(range(37, 57))
    assert copied.distance[0].item() == pytest.approx(0.01 * 48**0.5, rel=1e-4)
    off = memorisation(10 * normal(50, 3, 4, 4, seed=3), held_out, train)
    assert off.nearer.value < 0.05
