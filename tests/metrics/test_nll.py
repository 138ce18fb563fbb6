"""The estimated likelihood against a linear-Gaussian model, whose marginal likelihood has a closed form.

z ~ N(0, I), x|z ~ N(W z + b, s² I), so x ~ N(b, W Wᵀ + s² I). Where the columns of W are at right angles, the exact
posterior of z has a diagonal covariance, and an encoder can know it.
"""

from math import log

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from limner.core.signal import Signal
from limner.metrics.nll import bits_per_dimension, nll
from limner.models.model import build

POINTS, LATENT, SPREAD = 5, 3, 0.4
LENGTHS = torch.tensor([0.9, 0.6, 0.3])


def linear(wrong=0.0):
    """A VAE of one linear layer each way with the exact posterior, off by `wrong`; and the marginal distribution."""
    torch.manual_seed(0)
    method = build("vae", {"latent": LATENT, "width": 4, "likelihood": "gaussian"}, Signal(channels=POINTS))
    w = torch.linalg.qr(torch.randn(POINTS, POINTS))[0][:, :LATENT] * LENGTHS
    b = torch.randn(POINTS)
    decoder, encoder = nn.Linear(LATENT, POINTS), nn.Linear(POINTS, 2 * LATENT)
    with torch.no_grad():
        decoder.weight.copy_(w)
        decoder.bias.copy_(b)
        # The posterior: variance 1 / (1 + |w|² / s²) for each code, mean = variance · Wᵀ(x − b) / s².
        variance = 1 / (1 + LENGTHS**2 / SPREAD**2)
        back = variance[:, None] * w.T / SPREAD**2
        encoder.weight.copy_(torch.cat([back, torch.zeros(LATENT, POINTS)]))
        encoder.bias.copy_(torch.cat([-back @ b + wrong, variance.log() + wrong]))
        method.autoencoder.get_parameter("log_scale").fill_(log(SPREAD))
    method.autoencoder["decoder"], method.autoencoder["encoder"] = decoder, encoder
    return method, MultivariateNormal(b, w @ w.T + SPREAD**2 * torch.eye(POINTS))


def test_with_the_exact_posterior_one_draw_gives_the_exact_likelihood():
    method, marginal = linear()
    x = marginal.sample((50,))
    found = method.weigh(x, torch.randn(1, 50, LATENT))[0]
    torch.testing.assert_close(found, marginal.log_prob(x), atol=1e-4, rtol=0)


def test_with_a_wrong_posterior_draws_come_near_it_from_above():
    method, marginal = linear(wrong=0.5)
    x = marginal.sample((400,))
    exact = -float(marginal.log_prob(x).mean())
    few, many = (nll(method.weigh, [x[:100], x[100:]], LATENT, draws=k).value for k in (1, 2000))
    assert many == pytest.approx(exact, abs=0.02)
    assert few > exact + 0.2


def test_the_range_holds_the_mean_over_all_samples():
    method, marginal = linear()
    x = marginal.sample((2000,))
    found = nll(method.weigh, [x], LATENT, draws=2)
    assert found.low < float(marginal.entropy()) < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * float(marginal.log_prob(x).std()) / 2000**0.5, rel=1e-3)


def test_bits():
    assert bits_per_dimension(8 * log(2), 4) == pytest.approx(2)
