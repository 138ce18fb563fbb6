"""Kernel distance (KID): how far two sets of features lie apart, with no assumption on their shape. 0 is equal.

It is unbiased: its mean does not depend on the count, and it may come out slightly below 0 for equal sets.

Source: Bińkowski et al. 2018, arXiv:1801.01401
"""

import torch
from torch import Tensor

from limner.core.random import permutation
from limner.metrics.interval import Spread, spread


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """The cubic kernel (x·y / D + 1)³.

    x       (N, D)
    y       (M, D)
    returns (N, M)
    """
    z = x @ y.T / x.shape[1] + 1
    return z * z * z


def squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Squared maximum mean discrepancy, unbiased.

    x       (N, D)
    y       (M, D)
    returns ()  float64

    Source: Gretton et al. 2012, "A kernel two-sample test", eq. 3
    """
    x, y = x.double(), y.double()
    n, m = len(x), len(y)
    xx, yy = kernel(x, x), kernel(y, y)
    within = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1))
    return within - 2 * kernel(x, y).mean()


def kernel_distance(x: Tensor, y: Tensor, subsets: int = 100, size: int = 1000, seed: int = 0) -> Spread:
    """Mean and standard deviation over random subsets, as KID is published.

    x       (N, D)
    y       (M, D)
    subsets how many pairs of subsets
    size    samples in each; all there are where there are fewer
    """
    size = min(size, len(x), len(y))
    drawn = [
        squared_mmd(*(z[_subset(seed, len(z), size, side, i)] for side, z in (("x", x), ("y", y))))
        for i in range(subsets)
    ]
    return spread(torch.stack(drawn))


def _subset(seed: int, count: int, size: int, side: str, number: int) -> Tensor:
    return torch.from_numpy(permutation(seed, count, "kid", side, number)[:size])
