"""The mixture of several generators that lies nearest to real data, by the kernel distance.

The squared distance of a mixture is a quadratic form of its weights, so the best weights are found, not searched.
"""

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor

from limner.metrics.kid import kernel

MOST = 12
"""Generators that weights are found for: the time doubles with each."""


def nearness(x: Tensor, y: Tensor) -> Tensor:
    """The kernel −|x − y|, for points: with it the squared distance is the energy distance's square. The cubic one sees
    moments up to the third, and half the modes of a ring may have all of those right.

    x       (N, D)
    y       (M, D)
    returns (N, M)

    Source: Sejdinovic et al. 2013, arXiv:1207.6076
    """
    return -torch.cdist(x, y)


def kernel_form(
    samples: Sequence[Tensor], real: Tensor, alike: Callable[[Tensor, Tensor], Tensor] = kernel
) -> tuple[Tensor, Tensor, float]:
    """Squared kernel distance of the mixture with weights w: wᵀ A w − 2 bᵀ w + c, each term unbiased.

    samples  for each of k generators (N, D) features
    real     (M, D) features of real data
    alike    the kernel, (N, D) and (M, D) → (N, M)
    returns  A (k, k), b (k,), c; float64
    """
    parts, real = [part.double() for part in samples], real.double()
    within = torch.empty(len(parts), len(parts), dtype=torch.float64)
    for i, one in enumerate(parts):
        for j, other in enumerate(parts[: i + 1]):
            found = alike(one, other)
            own = _without_self(found) if i == j else found.mean()
            within[i, j] = within[j, i] = own
    return within, torch.stack([alike(part, real).mean() for part in parts]), float(_without_self(alike(real, real)))


def best_weights(within: Tensor, across: Tensor) -> Tensor:
    """The weights w ≥ 0 with sum 1 that make wᵀ A w − 2 bᵀ w least.

    On the inside of each face of the simplex the least value is where a linear system says; the best of all faces is
    the answer, also where A is not quite positive for having been estimated.

    within   (k, k)  A, symmetric
    across   (k,)    b
    returns  (k,)    float64
    raises   ValueError   if k is above MOST
    """
    count = len(across)
    if count > MOST:
        raise ValueError(f"weights are found for at most {MOST} generators, not {count}")
    best, least = torch.full((count,), 1 / count, dtype=torch.float64), float("inf")
    for size in range(1, count + 1):
        for face in combinations(range(count), size):
            chosen = list(face)
            system = torch.zeros(size + 1, size + 1, dtype=torch.float64)
            system[:size, :size] = 2 * within[chosen][:, chosen]
            system[size, :size] = system[:size, size] = 1
            right = torch.cat([2 * across[chosen], torch.ones(1, dtype=torch.float64)])
            weights = torch.linalg.lstsq(system, right[:, None], driver="gelsd").solution[:size, 0]
            if weights.min() < -1e-12 or abs(float(weights.sum()) - 1) > 1e-6:
                continue
            full = torch.zeros(count, dtype=torch.float64)
            full[chosen] = weights.clamp_min(0) / weights.clamp_min(0).sum()
            value = float(full @ within @ full - 2 * across @ full)
            if value < least:
                best, least = full, value
    return best


def _without_self(found: Tensor) -> Tensor:
    count = len(found)
    return (found.sum() - found.trace()) / (count * (count - 1))
