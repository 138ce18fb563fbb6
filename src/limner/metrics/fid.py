"""Fréchet distance: how far two clouds of features lie apart, each taken for a normal distribution. 0 is equal.

Over the canonical Inception with 50,000 samples it is FID; over other eyes it is FD-digits, FD-efficientnet …
(`Features.frechet_name`). It is biased: fewer samples read higher. Compare equal counts only.

Source: Heusel et al. 2017, arXiv:1706.08500, eq. 6; Dowson & Landau 1982
"""

from typing import Self

import torch
from torch import Tensor


class Moments:
    """Count, mean and scatter of a stream of vectors, in float64. Merging parts equals one pass.

    count    vectors seen
    mean     (D,)
    scatter  (D, D)  sum of the outer products of deviations from the mean

    Source: Chan, Golub & LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances"
    """

    def __init__(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        self.count, self.mean, self.scatter = count, mean, scatter

    @classmethod
    def empty(cls, dimensions: int, device: torch.device | str = "cpu") -> Self:
        """Moments of nothing yet."""
        zeros = torch.zeros(dimensions, dtype=torch.float64, device=device)
        return cls(0, zeros, zeros.new_zeros(dimensions, dimensions))

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """Moments of vectors at hand.

        features (N, D)
        """
        features = features.double()
        mean = features.mean(0)
        apart = features - mean
        return cls(len(features), mean, apart.T @ apart)

    def update(self, features: Tensor) -> None:
        """Takes in more vectors.

        features (N, D)
        """
        if len(features):
            self.merge(Moments.of(features))

    def merge(self, other: "Moments") -> None:
        """Takes in another part, as if its vectors had been seen here."""
        if not other.count:
            return
        total = self.count + other.count
        shift = other.mean - self.mean
        self.scatter = self.scatter + other.scatter + torch.outer(shift, shift) * (self.count * other.count / total)
        self.mean = self.mean + shift * (other.count / total)
        self.count = total

    @property
    def covariance(self) -> Tensor:
        """(D, D)  unbiased.

        raises ValueError   with fewer than two vectors
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs 2 samples or more, not {self.count}")
        return self.scatter / (self.count - 1)

    def root(self) -> Tensor:
        """A matrix R with R Rᵀ = covariance.

        returns (D, r)  r ≤ count − 1: with few samples the covariance has no more directions, and what the
                        eigenvalues show beyond them is rounding, whose square root would not be small
        """
        values, vectors = torch.linalg.eigh(self.covariance)
        rank = min(len(values), self.count - 1)
        root: Tensor = vectors[:, -rank:] * values[-rank:].clamp_min(0).sqrt()
        return root


def frechet_distance(a: Moments, b: Moments) -> float:
    """|μa − μb|² + tr(Σa + Σb − 2 √(Σa Σb)).

    With Σ = R Rᵀ the trace of √(Σa Σb) is the sum of the singular values of Raᵀ Rb, which needs no root of a
    matrix that is not symmetric, and stays exact with fewer samples than dimensions.
    """
    shared = torch.linalg.svdvals(a.root().T @ b.root()).sum()
    distance = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * shared
    return max(float(distance), 0.0)
