"""Memorisation: does the generator copy its training images?

For each sample the nearest training image is found, to be shown side by side. Held-out images tell what distance is
natural: if samples lie nearer to the training set than unseen real images do, they were copied.

Source: Meehan, Chaudhuri & Dasgupta 2020, arXiv:2004.05675 (the test over the whole space, without its cells)
"""

from dataclasses import dataclass

from torch import Tensor

from limner.metrics.interval import Interval
from limner.metrics.neighbours import nearest
from limner.metrics.ranks import roc_auc


@dataclass(frozen=True)
class Memorisation:
    """How near samples come to the training images.

    nearer      chance that a sample lies nearer to the training set than a held-out image does: .5 is ideal,
                more means copying, much less means that samples lie off the data
    distance    (N,)  from each sample to its nearest training image
    index       (N,)  which training image that is
    held_out    (M,)  from each held-out image to its nearest training image
    """

    nearer: Interval
    distance: Tensor
    index: Tensor
    held_out: Tensor


def memorisation(samples: Tensor, held_out: Tensor, train: Tensor, seed: int = 0) -> Memorisation:
    """The nearest training images, and how often samples lie nearer to them than held-out images do.

    samples  (N, …)  generated images, or their features
    held_out (M, …)  real images that were not trained on, in the same form
    train    (K, …)  the training images, in the same form
    """
    distance, index = nearest(samples, train)
    natural, _ = nearest(held_out, train)
    return Memorisation(roc_auc(natural[:, 0], distance[:, 0], seed), distance[:, 0], index[:, 0], natural[:, 0])
