"""Log-likelihoods: how well a decoder's answer explains a sample. Pure functions, in nats, one value a sample.

Each takes leading axes that broadcast: an answer (K, N, D) explains samples (N, D) K times over.
"""

from math import log, pi

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

LEVELS = 255
"""Steps between the least and the greatest value of a picture's byte."""


def bernoulli(logits: Tensor, x: Tensor) -> Tensor:
    """log p(x) of pixels that are on or off, each by itself.

    logits   (…, D)
    x        (…, D)  0 or 1. A grey level between weighs both cases: then this is a cross-entropy, not a likelihood
    returns  (…)

    Source: Kingma & Welling 2014, arXiv:1312.6114, appendix C.1
    """
    return (x * logits - softplus(logits)).sum(-1)


def gaussian(mean: Tensor, log_scale: Tensor, x: Tensor) -> Tensor:
    """log p(x) of values spread normally around a mean.

    mean       (…, D)
    log_scale  () or (…, D)  log of the standard deviation
    x          (…, D)
    returns    (…)

    Source: Kingma & Welling 2014, arXiv:1312.6114, appendix C.2
    """
    return (-0.5 * ((x - mean) * torch.exp(-log_scale)).square() - log_scale - 0.5 * log(2 * pi)).sum(-1)


def discretised_logistic(mean: Tensor, log_scale: Tensor, x: Tensor) -> Tensor:
    """log P(x) of pictures' bytes: how much of a logistic distribution falls into each byte's bin.

    The first and the last bin reach to infinity, so that the 256 chances sum to 1.

    mean       (…, D)
    log_scale  () or (…, D)  log of the logistic scale
    x          (…, D)        bytes scaled to [-1, 1]
    returns    (…)

    Source: Kingma et al. 2016, arXiv:1606.04934 (the likelihood of its natural images)
    """
    rise, half = torch.exp(-log_scale), 1 / LEVELS
    upper, lower = (x - mean + half) * rise, (x - mean - half) * rise
    # σ(b) − σ(a) = σ(b) σ(−a) (1 − exp(a − b)), whose logarithm stays exact where the two sigmoids are equal floats.
    inner = logsigmoid(upper) + logsigmoid(-lower) + torch.log(-torch.expm1(-2 * half * rise))
    first, last = x < -1 + half, x > 1 - half
    return torch.where(first, logsigmoid(upper), torch.where(last, logsigmoid(-lower), inner)).sum(-1)
