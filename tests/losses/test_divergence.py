"""Divergences and bounds against torch.distributions and numbers worked out by hand."""

from math import log

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from limner.losses.divergence import importance_bound, standard_normal_divergence


def test_divergence_from_the_standard_normal():
    mean, log_variance = torch.randn(5, 7, dtype=torch.float64), torch.randn(5, 7, dtype=torch.float64)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(standard_normal_divergence(mean, log_variance), expected)


def test_the_bound_is_the_log_of_the_mean_weight():
    weights = torch.tensor([[1.0, 8.0], [3.0, 8.0]]).log()
    assert importance_bound(weights).tolist() == pytest.approx([log(2), log(8)])


def test_weights_too_large_for_floats():
    assert importance_bound(torch.tensor([[1000.0], [1000.0]])).tolist() == [1000.0]
