"""Negative log-likelihood: how many nats a model of known density needs to tell an unseen sample. Lower is better.

A latent variable's integral has no closed form, so p(x) is estimated by importance sampling from the encoder's
guess. The estimate of log p(x) is too low on average, and less so with more draws: 200 are customary.

Source: Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, section 5
"""

from collections.abc import Callable, Iterable
from math import log, sqrt

import torch
from torch import Tensor

from limner.core.random import generator
from limner.losses.divergence import importance_bound
from limner.metrics.interval import Interval

DRAWS = 200
AT_ONCE = 5_000
"""Pairs of a sample and a draw that are weighed at once, so that memory stays bounded."""

Weigh = Callable[[Tensor, Tensor], Tensor]
"""(x (N, …), noise (K, N, latent)) → (K, N) log p(x, z) − log q(z|x), where q makes z of the noise."""


@torch.inference_mode()
def nll(weigh: Weigh, batches: Iterable[Tensor], latent: int, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Mean of −log p(x) over samples, in nats, with the 95 % range of that mean over other samples of the kind.

    weigh    a model's log importance weights
    batches  (N, …) each
    latent   numbers of noise that one draw takes
    draws    importance samples for each x
    seed     of the draws; they are the same for every model of this latent size
    """
    luck = generator(seed, "nll")
    found = []
    for batch in batches:
        for x in batch.split(max(1, AT_ONCE // draws)):
            noise = torch.randn(draws, len(x), latent, generator=luck).to(x.device)
            found.append(-importance_bound(weigh(x, noise).cpu().double()))
    values = torch.cat(found)
    mean, wide = float(values.mean()), 1.96 * float(values.std()) / sqrt(len(values))
    return Interval(mean, mean - wide, mean + wide)


def bits_per_dimension(nats: float, dimensions: int) -> float:
    """Nats a sample as bits for each of its values."""
    return nats / log(2) / dimensions
