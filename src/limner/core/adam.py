"""Adam as a pure function, for methods that look ahead at another player's moves and differentiate through them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limner.core.config import Adam

_TINY = 1e-30
"""Under the root: a weight that was never moved has a square of 0, where a root has no slope."""


@dataclass(frozen=True)
class Pace:
    """How a player would move next.

    rate      the learning rate of this moment
    betas     β1 and β2 of this moment
    eps       added to the denominator
    steps     moves made so far
    mean      memory of each weight's gradient, by name
    square    memory of its square
    """

    rate: float
    betas: tuple[float, float]
    eps: float
    steps: int
    mean: Mapping[str, Tensor]
    square: Mapping[str, Tensor]

    @classmethod
    def fresh(cls, settings: Adam, weights: Mapping[str, Tensor]) -> "Pace":
        """Before the first move."""
        nothing = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        return cls(settings.lr, (settings.beta1, settings.beta2), settings.eps, 0, nothing, nothing)


def moved(weights: Mapping[str, Tensor], slopes: Mapping[str, Tensor], pace: Pace) -> tuple[dict[str, Tensor], Pace]:
    """A player's weights after one more move, and how it would go on. Both can be differentiated to any order.

    weights  by name
    slopes   the loss's gradient with respect to each

    Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1
    """
    (beta1, beta2), t = pace.betas, pace.steps + 1
    mean = {name: torch.lerp(slope, pace.mean[name], beta1) for name, slope in slopes.items()}
    square = {name: torch.lerp(slope.square(), pace.square[name], beta2) for name, slope in slopes.items()}
    result = {}
    for name, weight in weights.items():
        root = (square[name] / (1 - beta2**t) + _TINY).sqrt()
        result[name] = weight - pace.rate * mean[name] / (1 - beta1**t) / (root + pace.eps)
    return result, replace(pace, steps=t, mean=mean, square=square)
