"""Which samples make up a batch: a pure function of the seed and the step, so that resuming has nothing to replay."""

from functools import lru_cache

import numpy as np

from limner.core.errors import UsageError
from limner.core.random import permutation


def batch_indices(seed: int, step: int, batch: int, count: int) -> np.ndarray:
    """The samples of one step. Epochs follow each other without end, each in an order of its own.

    A batch may reach over the border of two epochs, so that every batch is full.

    seed     the run's seed
    step     counted from 0
    batch    samples a step
    count    samples in the data set
    returns  (batch,)   int64
    raises   UsageError   if a batch is larger than the data set
    """
    if batch > count:
        raise UsageError(f"a batch of {batch:,} is larger than the data set of {count:,}", f"give --batch {count}")
    epoch, start = divmod(step * batch, count)
    head = _order(seed, count, epoch)[start : start + batch]
    missing = batch - len(head)
    return np.concatenate([head, _order(seed, count, epoch + 1)[:missing]]) if missing else head


@lru_cache(maxsize=2)
def _order(seed: int, count: int, epoch: int) -> np.ndarray:
    order = permutation(seed, count, "order", epoch)
    order.setflags(write=False)
    return order
