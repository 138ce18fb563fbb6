"""Samplers on distributions whose denoiser is known in closed form: they reach it, and at the order they promise.

Where x₀ ~ N(m, C), the best denoiser is m + C (C + σ² I)⁻¹ (x − m), and the path without chance from σ to σ′ scales the
component along each eigenvector of C, of variance λ, by √((λ + σ′²) / (λ + σ²)).
"""

import pytest
import torch

from limner.diffusion.levels import karras_levels
from limner.diffusion.samplers import (
    SAMPLERS,
    STOCHASTIC,
    ancestral,
    churned_heun,
    euler,
    heun,
    latent,
    posterior,
    sample,
)

MEAN = torch.tensor([0.4, -0.3], dtype=torch.float64)
TURN = torch.linalg.qr(torch.tensor([[1.0, 0.5], [-0.3, 1.0]], dtype=torch.float64))[0]
SPREADS = torch.tensor([0.5, 0.04], dtype=torch.float64)  # the eigenvalues
COVARIANCE = TURN @ torch.diag(SPREADS) @ TURN.T


def denoise(x, sigma):
    gain = TURN @ torch.diag(SPREADS / (SPREADS + sigma[0] ** 2)) @ TURN.T
    return MEAN + (x - MEAN) @ gain


def exact(x, sigma, to):
    scale = torch.sqrt((SPREADS + to**2) / (SPREADS + sigma**2))
    return MEAN + (x - MEAN) @ (TURN @ torch.diag(scale) @ TURN.T)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def error(sampler, steps):
    """Largest error at level .05, over some starts at level 10."""
    levels = karras_levels(steps + 1, 0.05, 10.0)[:-1]
    x = MEAN + 10 * normal(40, 2)
    return float((sampler(denoise, x, levels) - exact(x, 10.0, 0.05)).abs().max())


@pytest.mark.parametrize(("sampler", "order"), [(euler, 1), (heun, 2)])
def test_the_error_falls_at_the_promised_order(sampler, order):
    few, many = error(sampler, 128), error(sampler, 256)
    assert few / many == pytest.approx(2**order, rel=0.05)
    assert many < 0.03


def test_for_as_many_evaluations_heun_beats_euler():
    x = 80 * normal(40, 2)
    by_heun, by_euler = heun(denoise, x, karras_levels(18)), euler(denoise, x, karras_levels(36))
    goal = exact(x, 80.0, 0.0)
    assert (by_heun - goal).abs().mean() < 0.8 * (by_euler - goal).abs().mean()


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_samples_have_the_right_mean_and_covariance(name):
    levels, count = karras_levels(300), 20_000
    z = normal(count, latent(name, 300, 2), seed=1)
    made = sample(name, denoise, z, levels, (2,))
    torch.testing.assert_close(made.mean(0), MEAN, atol=0.02, rtol=0)
    torch.testing.assert_close(made.T.cov(), COVARIANCE, atol=0.03, rtol=0)


@pytest.mark.parametrize("name", ["heun", "ancestral", "churned_heun"])
def test_a_mixture_s_modes_are_found_with_their_weights_and_widths(name):
    centres, weights, width = torch.tensor([-0.8, 0.2, 0.9]), torch.tensor([0.5, 0.2, 0.3]), 0.05

    def denoise(x, sigma):
        variance = width**2 + sigma[:, None] ** 2
        share = torch.softmax(weights.log() - (x - centres) ** 2 / (2 * variance), 1)
        return (share * (centres + width**2 / variance * (x - centres))).sum(1, keepdim=True)

    steps, count = 200, 10_000
    z = torch.randn(count, latent(name, steps, 1), generator=torch.Generator().manual_seed(2))
    made = sample(name, denoise, z, karras_levels(steps), (1,)).flatten()
    nearest = (made[:, None] - centres).abs().argmin(1)
    for mode, (centre, weight) in enumerate(zip(centres, weights, strict=True)):
        own = made[nearest == mode]
        assert len(own) / count == pytest.approx(float(weight), abs=0.02)
        assert own.mean().item() == pytest.approx(float(centre), abs=0.01)
        assert own.std().item() == pytest.approx(width, rel=0.15)


def test_the_posterior_is_ddpm_s():
    """Ho et al., equations 6 and 7, in their own scaled samples and betas."""
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    kept = torch.cumprod(1 - beta, 0)
    t = 400
    clean, scaled, noise = normal(5, 3), normal(5, 3, seed=1), normal(5, 3, seed=2)
    mean = kept[t - 1].sqrt() * beta[t] / (1 - kept[t]) * clean
    mean = mean + (1 - beta[t]).sqrt() * (1 - kept[t - 1]) / (1 - kept[t]) * scaled
    variance = (1 - kept[t - 1]) / (1 - kept[t]) * beta[t]
    now, then = (((1 - kept[i]) / kept[i]).sqrt() for i in (t, t - 1))
    found = posterior(clean, scaled / kept[t].sqrt(), now, then, noise) * kept[t - 1].sqrt()
    torch.testing.assert_close(found, mean + variance.sqrt() * noise)


def test_euler_is_ddim():
    """Song et al., equation 12 with no chance, in scaled samples."""
    kept = torch.tensor([0.3, 0.6], dtype=torch.float64)
    scaled = normal(5, 2)
    now, then = ((1 - kept) / kept).sqrt()
    x = scaled / kept[0].sqrt()
    clean = denoise(x, now.expand(5))
    noise = (scaled - kept[0].sqrt() * clean) / (1 - kept[0]).sqrt()
    expected = kept[1].sqrt() * clean + (1 - kept[1]).sqrt() * noise
    torch.testing.assert_close(euler(denoise, x, [float(now), float(then)]) * kept[1].sqrt(), expected)


def test_no_churn_is_heun():
    levels, noise = karras_levels(9), normal(9, 6, 2)
    x = 80 * normal(6, 2)
    torch.testing.assert_close(churned_heun(denoise, x, levels, noise, churn=0.0), heun(denoise, x, levels))


def test_the_last_level_gives_the_estimate_itself():
    levels = [0.5, 0.0]
    x = normal(4, 2)
    for name, sampler in SAMPLERS.items():
        noise = normal(1, 4, 2) if name == "ancestral" else torch.zeros(1, 4, 2, dtype=torch.float64)
        raised = levels[0] * 2**0.5 if name == "churned_heun" else levels[0]
        torch.testing.assert_close(
            sampler(denoise, x, levels, noise), denoise(x, torch.full((4,), raised, dtype=torch.float64))
        )


@pytest.mark.parametrize("sampler", [ancestral, churned_heun])
def test_chance_must_be_given(sampler):
    with pytest.raises(ValueError, match="noise for each of the 3 levels"):
        sampler(denoise, normal(2, 2), karras_levels(3), None)


def test_each_level_s_noise_matters():
    for name in STOCHASTIC:
        levels = karras_levels(4, 0.1, 10.0)
        z = normal(3, latent(name, 4, 2))
        first = sample(name, denoise, z, levels, (2,))
        moved = z.clone()
        moved[:, 2 * 2 : 3 * 2] += 1  # the second level's
        assert not torch.equal(first, sample(name, denoise, moved, levels, (2,)))
        assert torch.equal(first, sample(name, denoise, z, levels, (2,)))
