"""Precision, recall, density, coverage: are the samples real-looking, and is all that is real among them?

Precision and density ask of the fakes (quality); recall and coverage of the variety. Each real (for recall: fake)
sample owns a ball that reaches to its k-th nearest neighbour of its own kind. Coverage and density suffer less from
outliers. Two halves of real data do not score 1: print that row beside.

Source: Kynkäänniemi et al. 2019, arXiv:1904.06991; Naeem et al. 2020, arXiv:2002.09797
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from limner.metrics.interval import Interval, bootstrap
from limner.metrics.neighbours import COLUMNS, ROWS, blocks, nearest, squared_distances


@dataclass(frozen=True)
class PRDC:
    """Four shares with bootstrap intervals over the samples (the balls stay as they are).

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
    recalled = real.new_zeros(len(real), dtype=torch.bool)
    closest = real.new_full((len(real),), torch.inf)
    for row, some in blocks(real, ROWS):
        rows = slice(row, row + len(some))
        for column, others in blocks(fake, COLUMNS):
            columns = slice(column, column + len(others))
            d = squared_distances(some, others)
            inside[columns] += (d < real_radius[rows, None]).sum(0)
            recalled[rows] |= (d < fake_radius[None, columns]).any(1)
            closest[rows] = torch.minimum(closest[rows], d.amin(1))
    return PRDC(
        precision=bootstrap(inside > 0, seed),
        recall=bootstrap(recalled, seed),
        density=bootstrap(inside.double() / k, seed),
        coverage=bootstrap(closest < real_radius, seed),
    )
