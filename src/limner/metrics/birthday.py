"""Birthday test: how many different pictures can the generator make? Among n of N, about n²/2N pairs are equal.

In a room of 23 people two often share a birthday, though a year has 365 days: twins tell how large the support is.
What counts as twins is a distance, taken from real data by `twin_distance`; look at the pairs it finds.

Source: Arora, Risteski & Zhang 2018, "Do GANs learn the distribution?", ICLR
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from limner.metrics.interval import LEVEL, Interval
from limner.metrics.neighbours import COLUMNS, ROWS, blocks, nearest, squared_distances

ROUNDING = 1e-9
"""Slack on a squared distance, so that exact copies count as twins at distance 0."""


@dataclass(frozen=True)
class Birthday:
    """What the test found.

    samples  how many were compared, each with each
    twins    pairs closer than the distance
    support  how many different, equally likely pictures would give as many twins, with its Poisson interval;
             without twins the value and the upper end are infinite, and the lower end is what can be said
    """

    samples: int
    twins: int
    support: Interval


def twin_distance(real: Tensor, share: float = 0.001) -> float:
    """The distance at which samples count as twins: one that a small share of real images has to another real one.

    real    (N, …)  distinct real images or their features
    share   of images whose nearest neighbour lies within the distance
    """
    return float(nearest(real, real, same=True)[0][:, 0].quantile(share))


def birthday(samples: Tensor, distance: float) -> Birthday:
    """Counts twins among samples and says how large the generator's support would be.

    samples  (N, …)  images or their features
    distance below which (or at which) two samples are twins
    """
    flat = samples.flatten(1).double()
    near = sum(
        int((squared_distances(some, others) <= distance**2 + ROUNDING).sum())
        for _, some in blocks(flat, ROWS)
        for _, others in blocks(flat, COLUMNS)
    )
    twins = (near - len(flat)) // 2  # Each pair was met twice, and each sample met itself.
    pairs = len(flat) * (len(flat) - 1) / 2
    low, high = poisson_interval(twins)
    support = Interval(pairs / twins if twins else inf, pairs / high, pairs / low if low else inf)
    return Birthday(len(flat), twins, support)


def poisson_interval(count: int, level: float = LEVEL) -> tuple[float, float]:
    """The means of Poisson distributions for which such a count is not unlikely.

    Source: Garwood 1936, "Fiducial limits for the Poisson distribution"
    """
    tail = (1 - level) / 2
    high = _rising_root(lambda mean: 1 - tail - _upper(count + 1, mean), count)
    return (_rising_root(lambda mean: tail - _upper(count, mean), count) if count else 0.0), high


def _upper(shape: float, mean: float) -> float:
    """P(X ≥ shape) of a Poisson variable."""
    return float(
        torch.special.gammainc(torch.tensor(shape, dtype=torch.float64), torch.tensor(mean, dtype=torch.float64))
    )


def _rising_root(falls: Callable[[float], float], count: int) -> float:
    low, high = 0.0, 2.0 * count + 20
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if falls(middle) > 0 else (low, middle)
    return (low + high) / 2
