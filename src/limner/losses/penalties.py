"""What a discriminator's slopes cost it. Pure functions of scores and samples, one value a sample.

Each goes backward twice: once to the samples for the slope, and once more to the weights. So each score must depend on
its own sample alone; batch normalisation in the discriminator would mix them.
"""

import torch
from torch import Tensor

_TINY = 1e-12
"""Under the root, whose own slope has no end at 0."""


def zero_centred(score: Tensor, x: Tensor) -> Tensor:
    """|∇D|², the squared slope of the discriminator at each sample: R1 at real samples, R2 at fakes.

    score   (N,)           the discriminator's score of each x
    x       (N, C, *size)  the samples; must require grad
    returns (N,)           summed over a sample
    raises  RuntimeError   if x does not require grad

    Source: Mescheder et al. 2018, arXiv:1801.04406
    """
    (slope,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    return slope.flatten(1).square().sum(1)


def unit_slope(score: Tensor, x: Tensor) -> Tensor:
    """(|∇D| − 1)²: how far the critic's slope at each sample is from 1, the penalty of WGAN-GP.

    score   (N,)           the critic's score of each x
    x       (N, C, *size)  the samples, between real ones and fakes (see `between`); must require grad
    returns (N,)
    raises  RuntimeError   if x does not require grad

    Source: Gulrajani et al. 2017, arXiv:1704.00028
    """
    return ((zero_centred(score, x) + _TINY).sqrt() - 1).square()


def share(penalty: Tensor, loss: Tensor) -> Tensor:
    """How much of what the discriminator minimises is penalty, from 0 to 1: worth logging, and without a gradient.

    penalty  (N,)  weighted
    loss     (N,)  the rest, of any sign
    returns  ()
    """
    weight = penalty.detach().float().mean()
    return weight / (weight + loss.detach().float().abs().mean() + _TINY)


def between(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """A point on the straight line from each fake to a real sample, ready for a penalty.

    real, fake  (N, C, *size)
    share       (N,)           in [0, 1]: how far along
    returns     (N, C, *size)  a leaf that requires grad, of the real samples' type

    Source: Gulrajani et al. 2017, arXiv:1704.00028, algorithm 1
    """
    share = share.reshape(-1, *[1] * (real.dim() - 1)).to(real.dtype)
    # Under autocast fakes come in the networks' precision, and real samples as they were read.
    return torch.lerp(fake.detach().to(real.dtype), real.detach(), share).requires_grad_()
