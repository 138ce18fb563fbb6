"""Precision, recall, density, coverage: are the samples real-looking, and is all that is real among them?

Precision and density ask of the fakes (quality); recall and coverage of the variety. Each real (for recall: fake)
sample owns a ball that reaches to its k-th nearest neighbour of its own kind. Coverage and density suffer less from
outliers. Two halves of real data do not score 1: print that row beside.

Source: Kynkäänniemi et al. 2019, arXiv:1904.06991; Naeem et al. 2020, arXiv:2002.09797
"""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from limner.metrics.interval import Interval, bootstrap
from limner.metrics.neighbours import COLUMNS, ROWS, blocks, nearest, squared_distances


@dataclass(frozen=True)
class PRDC:
    """Four shares, each with the range in which it would lie, 95 times of 100, were the fakes drawn anew.

    For precision and density, which are means over the fakes, the range is bootstrapped. For recall and coverage it
    comes from leaving out each tenth of the fakes in turn (jackknife). The balls stay as they are.

    precision  share of fakes inside some real's ball
    recall     share of reals inside some fake's ball
    density    reals' balls around a fake, over k: 1 is as dense as real data, more is denser
    coverage   share of reals with a fake inside their ball
    """

    precision: Interval
    recall: Interval
    density: Interval
    coverage: Interval


NEIGHBOURS = 5
"""Which neighbour a ball reaches to."""
_PARTS = 10


def coverage(real: Tensor, fake: Tensor) -> float:
    """Share of reals with a fake inside their ball: the coverage of `prdc` alone, for watching.

    real    (N, D)  more than NEIGHBOURS
    fake    (M, D)
    """
    radius = nearest(real, real, NEIGHBOURS, same=True)[0][:, -1]
    return float((nearest(real, fake)[0][:, 0] < radius).double().mean())


def prdc(real: Tensor, fake: Tensor, k: int = NEIGHBOURS, seed: int = 0) -> PRDC:
    """Precision, recall, density and coverage of features. Memory does not grow with the product of the counts.

    real    (N, D)
    fake    (M, D)
    k       which neighbour a ball reaches to
    seed    of the bootstrap
    raises  ValueError   with k samples or fewer on a side
    """
    real, fake = real.double(), fake.double()
    real_radius = nearest(real, real, k, same=True)[0][:, -1].square()
    fake_radius = nearest(fake, fake, k, same=True)[0][:, -1].square()
    inside = real.new_zeros(len(fake), dtype=torch.int64)
    parts = min(_PARTS, len(fake))
    recalled = real.new_zeros(parts, len(real), dtype=torch.bool)
    closest = real.new_full((parts, len(real)), torch.inf)
    for row, some in blocks(real, ROWS):
        rows = slice(row, row + len(some))
        for column, others in blocks(fake, COLUMNS):
            columns = slice(column, column + len(others))
            d = squared_distances(some, others)
            inside[columns] += (d < real_radius[rows, None]).sum(0)
            within = d < fake_radius[None, columns]
            for i in range(parts):
                mine = slice((i - column) % parts, None, parts)
                if len(others[mine]):
                    recalled[i, rows] |= within[:, mine].any(1)
                    closest[i, rows] = torch.minimum(closest[i, rows], d[:, mine].amin(1))
    return PRDC(
        precision=bootstrap(inside > 0, seed),
        recall=_jackknife(recalled),
        density=bootstrap(inside.double() / k, seed),
        coverage=_jackknife(closest < real_radius),
    )


def _jackknife(reached: Tensor) -> Interval:
    """Share of reals that any part of the fakes reaches.

    reached  (parts, N)

    Source: Efron & Stein 1981, "The jackknife estimate of variance"
    """
    by = reached.sum(0)
    value = float((by > 0).double().mean())
    without = (by[None] - reached.to(by.dtype) > 0).double().mean(1)
    wide = 1.96 * sqrt(len(reached) - 1) * float(without.std(correction=0))
    return Interval(value, max(0.0, value - wide), min(1.0, value + wide))
