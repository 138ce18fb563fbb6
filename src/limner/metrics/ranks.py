"""Ranks: how often a value of one set is larger than one of another. .5: neither; 1: always."""

import numpy as np
from torch import Tensor

from limner.core.random import stream
from limner.metrics.interval import DRAWS, Interval, percentile


def roc_auc(positive: Tensor, negative: Tensor, seed: int = 0, draws: int = DRAWS) -> Interval:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    positive (N,)  scores
    negative (M,)  scores
    returns  with its bootstrap interval, both sets resampled

    Source: Hanley & McNeil 1982, "The meaning and use of the area under a receiver operating characteristic curve"
    """
    sets = [x.detach().double().cpu().numpy() for x in (positive, negative)]
    levels, place = np.unique(np.concatenate(sets), return_inverse=True)
    places = place[: len(sets[0])], place[len(sets[0]) :]
    luck = np.random.Generator(np.random.PCG64(stream(seed, "roc auc")))

    def area(above: np.ndarray, below: np.ndarray) -> float:
        won, lost = (np.bincount(x, minlength=len(levels)).astype(np.float64) for x in (above, below))
        return float(won @ (np.cumsum(lost) - lost / 2)) / (len(above) * len(below))

    drawn = [area(*(x[luck.integers(len(x), size=len(x))] for x in places)) for _ in range(draws)]
    return percentile(area(*places), np.array(drawn))
