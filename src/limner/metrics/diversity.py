"""Diversity ratio: are the samples of one batch as different from each other as real ones? 1 is as different.

The cheapest sign of collapse, for watching during training: 256 samples, milliseconds. It sees the spread only.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_PX = 16


def pooled(x: Tensor) -> Tensor:
    """Averages over 2×2 px (2 samples of a sequence, 2×2×2 of a volume), so that fine noise does not count.

    x       (N, C, *size)
    returns (N, D)  flat; points stay as they are
    """
    rank = x.dim() - 2
    if rank > 0 and min(x.shape[2:]) >= 2:
        pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
        x = pool(x, 2)
    return x.flatten(1)


def thumbnails(x: Tensor) -> Tensor:
    """Averages down to at most 16 px a side, so that shapes count and fine texture does not.

    x       (N, C, *size)
    returns (N, D)  flat; points stay as they are
    """
    if x.dim() > 2 and max(x.shape[2:]) > _PX:
        x = F.interpolate(x, size=[min(extent, _PX) for extent in x.shape[2:]], mode="area")
    return x.flatten(1)


def mean_distance(x: Tensor) -> Tensor:
    """Mean Euclidean distance between the rows of a set, over all pairs.

    x       (N, D)
    returns ()
    """
    return F.pdist(x.float()).mean() if len(x) > 1 else x.new_zeros(())


def diversity_ratio(fake: Tensor, real: Tensor) -> float:
    """Mean distance between the pooled fakes over that between the pooled reals.

    fake    (N, C, *size)  a batch, e.g. 256
    real    (M, C, *size)  as many
    """
    return float(mean_distance(pooled(fake)) / mean_distance(pooled(real)).clamp_min(torch.finfo(torch.float32).tiny))
