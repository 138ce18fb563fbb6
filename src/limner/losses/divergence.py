"""How far distributions lie from each other, and bounds of likelihoods. Pure functions, in nats, one value a sample."""

from math import log

import torch
from torch import Tensor


def standard_normal_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of a normal distribution with a diagonal covariance from the standard normal one.

    mean          (N, D)
    log_variance  (N, D)
    returns       (N,)   Σ (μ² + σ² − 1 − log σ²) / 2

    Source: Kingma & Welling 2014, arXiv:1312.6114, appendix B
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def importance_bound(log_weights: Tensor) -> Tensor:
    """The log of the mean of importance weights w = p(x, z) / q(z|x): a lower bound of log p(x), tighter with more.

    log_weights  (K, N)   log w of K draws of z for each x
    returns      (N,)     with one draw an estimate of the evidence lower bound

    Source: Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, section 3
    """
    return torch.logsumexp(log_weights, 0) - log(len(log_weights))
