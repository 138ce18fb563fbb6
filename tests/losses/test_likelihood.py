"""Log-likelihoods against torch.distributions and scipy, in float64."""

import scipy.stats
import torch
from torch.distributions import Bernoulli, Normal

from limner.losses.likelihood import bernoulli, discretised_logistic, gaussian

LUCK = torch.Generator().manual_seed(0)


def drawn(*shape):
    return torch.randn(*shape, generator=LUCK, dtype=torch.float64)


def test_bernoulli():
    logits, x = 3 * drawn(6, 9), (drawn(6, 9) > 0).double()
    torch.testing.assert_close(bernoulli(logits, x), Bernoulli(logits=logits).log_prob(x).sum(1))


def test_gaussian():
    mean, scale, x = drawn(4, 5, 3), drawn(4, 5, 3), drawn(5, 3)
    torch.testing.assert_close(gaussian(mean, scale, x), Normal(mean, scale.exp()).log_prob(x).sum(-1))


def every_byte(mean, log_scale):
    """(256,) log P of each byte."""
    levels = (torch.arange(256, dtype=torch.float64) / 127.5 - 1)[:, None]
    return discretised_logistic(torch.tensor([mean], dtype=torch.float64), torch.tensor(log_scale).double(), levels)


def test_a_byte_s_chance_is_the_distribution_s_mass_in_its_bin():
    mean, log_scale = 0.3, -2.0
    edges = (torch.arange(255, dtype=torch.float64) + 0.5) / 127.5 - 1
    below = scipy.stats.logistic.cdf(edges.numpy(), loc=mean, scale=torch.tensor(log_scale).double().exp().item())
    mass = torch.tensor([0.0, *below, 1.0]).double().diff()
    torch.testing.assert_close(every_byte(mean, log_scale).exp(), mass, atol=1e-12, rtol=1e-7)


def test_the_chances_of_all_bytes_sum_to_one():
    for mean, log_scale in [(0.0, 0.0), (-0.99, -5.0), (1.0, -7.0), (0.5, 3.0)]:
        torch.testing.assert_close(every_byte(mean, log_scale).exp().sum(), torch.tensor(1.0).double())


def test_far_off_and_narrow_it_stays_finite_with_a_slope():
    mean = torch.full((1, 3), 0.9, requires_grad=True)
    log_scale = torch.tensor(-9.0, requires_grad=True)
    found = discretised_logistic(mean, log_scale, torch.tensor([[-1.0, -0.5, 1.0]]))
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(mean.grad).all() and (mean.grad[0, :2] < 0).all()
    assert torch.isfinite(log_scale.grad)
