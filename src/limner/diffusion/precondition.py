"""Preconditioning: how a network's plain task becomes denoising at every noise level. Pure functions.

A denoiser estimates x₀ from x = x₀ + σ n. Instead of asking a network for that, its input and answer are scaled so that
both have about unit variance whatever σ is: D(x, σ) = skip·x + out·F(inner·x, noise).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Scales(NamedTuple):
    """What belongs to the noise level of each sample, (N,) each.

    skip    how much of the noisy sample is kept
    out     what the network's answer is multiplied with
    inner   what its input is multiplied with
    noise   how it is told the level
    """

    skip: Tensor
    out: Tensor
    inner: Tensor
    noise: Tensor


def edm_scales(sigma: Tensor, sigma_data: float = 0.5) -> Scales:
    """Scales under which the network's target has unit variance at every level.

    sigma       (N,)  above 0
    sigma_data  standard deviation of the data

    Source: Karras et al. 2022, arXiv:2206.00364, table 1, column "Ours"
    """
    total = sigma**2 + sigma_data**2
    return Scales(sigma_data**2 / total, sigma * sigma_data * total.rsqrt(), total.rsqrt(), sigma.log() / 4)


def edm_weight(sigma: Tensor, sigma_data: float = 0.5) -> Tensor:
    """The loss's weight λ(σ), under which every level counts alike: 1 / out².

    sigma    (N,)
    returns  (N,)

    Source: Karras et al. 2022, arXiv:2206.00364, table 1, column "Ours"
    """
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def epsilon_scales(sigma: Tensor, time: Tensor) -> Scales:
    """Scales of a network that tells the noise n, from a sample of unit variance: D = x − σ F.

    sigma    (N,)
    time     (N,)  what the network is told of the level, e.g. the number of its time

    Source: Ho et al. 2020, arXiv:2006.11239, section 3.2; in these words Karras et al. 2022, table 1, column "VP"
    """
    return Scales(torch.ones_like(sigma), -sigma, (1 + sigma**2).rsqrt(), time)


def preconditioned(network: Callable[[Tensor, Tensor], Tensor], x: Tensor, scales: Scales) -> Tensor:
    """D(x, σ), the estimate of the sample without noise.

    network  (N, C, *size), (N,) → (N, C, *size)
    x        (N, C, *size)
    returns  (N, C, *size)
    """
    skip, out, inner, noise = scales
    wide = (-1, *[1] * (x.dim() - 1))
    return skip.view(wide) * x + out.view(wide) * network(inner.view(wide) * x, noise)
