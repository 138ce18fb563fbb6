"""The discriminator's performance: how well does it tell real from fake, and does it only know its training images?

A discriminator that is right half the time has met its match, or never learnt: look at the samples too. The gap
between training images and held-out real ones shows over-fitting: it should be near 0.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from limner.metrics.interval import Interval, bootstrap
from limner.metrics.ranks import roc_auc


@dataclass(frozen=True)
class Calibration:
    """When it says 80 % real, are 80 % real? Real and fake weigh the same, however many there are of each.

    said     (bins,)  mean probability of being real that it gave, in each bin of probability; NaN where empty
    true     (bins,)  share of the bin that was real; NaN where empty
    weight   (bins,)  share of all samples in the bin
    error    mean |said − true|, by weight (expected calibration error)

    Source: Guo et al. 2017, arXiv:1706.04599
    """

    said: Tensor
    true: Tensor
    weight: Tensor
    error: float


@dataclass(frozen=True)
class Discriminator:
    """How a discriminator did.

    train        share of its training images taken for real
    held_out     share of unseen real images taken for real
    fake         share of fakes taken for fake
    auc          chance that an unseen real image scores above a fake
    gap          mean score of training images less that of held-out ones, in standard deviations of the latter
    memory       chance that a training image scores above a held-out one: .5 is ideal, 1 is learning by heart
    calibration  of held-out images against fakes
    """

    train: Interval
    held_out: Interval
    fake: Interval
    auc: Interval
    gap: float
    memory: Interval
    calibration: Calibration


def discriminator(train: Tensor, held_out: Tensor, fake: Tensor, bins: int = 10, seed: int = 0) -> Discriminator:
    """The performance of a discriminator from its logits, which are positive where it says real.

    train    (N,)  of training images
    held_out (M,)  of real images it never saw
    fake     (K,)  of generated images
    """
    spread = held_out.double().std().clamp_min(torch.finfo(torch.float64).tiny)
    return Discriminator(
        train=bootstrap(train > 0, seed),
        held_out=bootstrap(held_out > 0, seed),
        fake=bootstrap(fake <= 0, seed),
        auc=roc_auc(held_out, fake, seed),
        gap=float((train.double().mean() - held_out.double().mean()) / spread),
        memory=roc_auc(train, held_out, seed),
        calibration=calibration(held_out, fake, bins),
    )


def calibration(real: Tensor, fake: Tensor, bins: int = 10) -> Calibration:
    """The calibration curve over equal bins of probability.

    real    (N,)  logits
    fake    (M,)  logits
    """
    said = torch.cat([real, fake]).double().sigmoid()
    true = torch.cat([torch.ones(len(real)), torch.zeros(len(fake))]).double().to(said)
    weight = torch.where(true > 0, true.new_tensor(0.5 / len(real)), true.new_tensor(0.5 / len(fake)))
    place = (said * bins).long().clamp_max(bins - 1)
    total, said_sum, true_sum = (
        said.new_zeros(bins).index_add_(0, place, x) for x in (weight, weight * said, weight * true)
    )
    return Calibration(said_sum / total, true_sum / total, total, float((said_sum - true_sum).abs().sum()))
