"""Neighbours: the nearest vectors of a set, in blocks, so that memory does not grow with the sets."""

from collections.abc import Iterator

import torch
from torch import Tensor

ROWS = 2048
COLUMNS = 8192


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances between all rows.

    a       (N, D)
    b       (M, D)
    returns (N, M)  never negative
    """
    squares = a.square().sum(1)[:, None] + b.square().sum(1)[None, :]
    return torch.addmm(squares, a, b.T, alpha=-2).clamp_min_(0)


def blocks(x: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """Consecutive rows of x, each block with the number of its first row."""
    for start in range(0, len(x), size):
        yield start, x[start : start + size]


def nearest(query: Tensor, base: Tensor, k: int = 1, same: bool = False) -> tuple[Tensor, Tensor]:
    """The k nearest of base to each query.

    query   (N, …)  floating; rows are flattened
    base    (M, …)
    k       how many, nearest first
    same    query and base are one set: a row is no neighbour of itself
    returns (N, k)  Euclidean distances, float64
            (N, k)  their row numbers in base
    raises  ValueError   if base has fewer than k rows to offer

    They are found in the precision given, and their distances then computed exactly.
    """
    if len(base) - same < k:
        raise ValueError(f"{k} neighbours of {len(base)} samples were asked for")
    query, base = query.flatten(1), base.flatten(1)
    distances, indices = [], []
    for row, some in blocks(query, ROWS):
        best = some.new_full((len(some), k), torch.inf)
        where = torch.zeros(len(some), k, dtype=torch.int64, device=some.device)
        for column, others in blocks(base, COLUMNS):
            d = squared_distances(some, others)
            if same:
                d[_own(row, column, *d.shape)] = torch.inf
            joined = torch.cat([best, d], 1)
            numbers = torch.arange(column, column + len(others), device=some.device)
            joined_where = torch.cat([where, numbers.expand(len(some), -1)], 1)
            best, chosen = joined.topk(k, largest=False)
            where = joined_where.gather(1, chosen)
        exact = torch.stack([(some.double() - base[where[:, i]].double()).norm(dim=1) for i in range(k)], 1)
        order = exact.argsort(dim=1, stable=True)
        distances.append(exact.gather(1, order))
        indices.append(where.gather(1, order))
    return torch.cat(distances), torch.cat(indices)


def _own(row: int, column: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Places in a block of the full matrix that lie on its diagonal."""
    first = max(row, column)
    numbers = torch.arange(first, max(first, min(row + rows, column + columns)))
    return numbers - row, numbers - column
