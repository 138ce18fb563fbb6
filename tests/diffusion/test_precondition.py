"""Preconditioning against the paper's table, and against what it was made for: unit variances at every level."""

import pytest
import torch

from limner.diffusion.precondition import edm_scales, edm_weight, epsilon_scales, preconditioned

SIGMA = torch.tensor([0.002, 0.1, 0.5, 3.0, 80.0], dtype=torch.float64)


def test_the_paper_s_formulas():
    s, d = SIGMA, 0.5
    skip, out, inner, noise = edm_scales(s)
    torch.testing.assert_close(skip, d**2 / (s**2 + d**2))
    torch.testing.assert_close(out, s * d / (d**2 + s**2).sqrt())
    torch.testing.assert_close(inner, 1 / (s**2 + d**2).sqrt())
    torch.testing.assert_close(noise, s.log() / 4)
    torch.testing.assert_close(edm_weight(s) * out**2, torch.ones_like(s))


@pytest.mark.parametrize("sigma", SIGMA.tolist())
def test_input_and_target_have_unit_variance(sigma):
    """Of data of the stated spread, whatever their shape: the weighted loss of a network that says 0 is then 1."""
    luck = torch.Generator().manual_seed(0)
    clean = 0.5 * torch.where(torch.rand(200_000, 1, generator=luck, dtype=torch.float64) < 0.5, -1.0, 1.0)
    noisy = clean + sigma * torch.randn(200_000, 1, generator=luck, dtype=torch.float64)
    each = torch.full((200_000,), sigma, dtype=torch.float64)
    skip, out, inner, _ = (scale[:, None] for scale in edm_scales(each))
    assert (inner * noisy).var().item() == pytest.approx(1, rel=0.02)
    assert ((clean - skip * noisy) / out).var().item() == pytest.approx(1, rel=0.02)


def test_a_perfect_teller_of_noise_gives_the_picture():
    clean, noise = torch.randn(5, 1, 4, 4), torch.randn(5, 1, 4, 4)
    sigma, time = torch.tensor([0.01, 0.1, 1.0, 10.0, 100.0]), torch.arange(5)
    noisy = clean + sigma[:, None, None, None] * noise
    seen = []

    def network(x, told):
        seen.append((x, told))
        return noise

    found = preconditioned(network, noisy, epsilon_scales(sigma, time))
    torch.testing.assert_close(found, clean, atol=1e-4, rtol=0)
    kept = 1 / (1 + sigma**2)
    scaled = kept.sqrt()[:, None, None, None] * clean + (1 - kept).sqrt()[:, None, None, None] * noise
    torch.testing.assert_close(seen[0][0], scaled, atol=1e-5, rtol=1e-5)
    assert seen[0][1] is time
