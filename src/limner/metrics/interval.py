"""How sure a figure is: an interval from resampling, a spread over parts."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from limner.core.random import stream

DRAWS = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure, and the range in which it would lie 95 times of 100 were the samples drawn anew."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Spread:
    """A mean over parts, and the standard deviation between the parts (of the population: divided by their number)."""

    mean: float
    std: float


def bootstrap(values: Tensor, seed: int = 0, draws: int = DRAWS) -> Interval:
    """The mean of values, with its percentile bootstrap interval.

    values  (N,)  one figure a sample; numbers or booleans

    Source: Efron 1979, "Bootstrap methods: another look at the jackknife"
    """
    given = values.double().cpu().numpy()
    luck = np.random.Generator(np.random.PCG64(stream(seed, "bootstrap")))
    means = np.array([given[luck.integers(len(given), size=len(given))].mean() for _ in range(draws)])
    return percentile(float(given.mean()), means)


def percentile(value: float, drawn: np.ndarray) -> Interval:
    """The middle 95 % of what resampling gave, around the figure itself."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def spread(values: Tensor) -> Spread:
    """Mean and standard deviation over parts.

    values  (parts,)
    """
    return Spread(float(values.mean()), float(values.std(correction=0)))
