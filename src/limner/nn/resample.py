"""Doubling and halving of feature maps through a low-pass filter, so that no pattern of the grid appears."""

import torch
from torch import Tensor
from torch.nn.functional import pad


def doubled(x: Tensor) -> Tensor:
    """Twice the height and width: between two values, three parts of the nearer and one of the farther.

    x        (N, C, H, W)    with zeros around it
    returns  (N, C, 2H, 2W)

    Source: Karras et al. 2020, arXiv:1912.04958, the filter [1, 3, 3, 1] in its authors' code; R3GAN's code comes to
    the same, [1, 2, 1] convolved with [1, 1]
    """
    for axis in (2, 3):
        x = _along(x, axis)
        near = x.narrow(axis, 1, x.shape[axis] - 2) * 0.75
        before, after = (x.narrow(axis, i, x.shape[axis] - 2) * 0.25 for i in (0, 2))
        x = torch.stack([near + before, near + after], axis + 1).flatten(axis, axis + 1)
    return x


def halved(x: Tensor) -> Tensor:
    """Half the height and width, by the same filter: [1, 3, 3, 1] / 8 around each pair of values.

    x        (N, C, 2H, 2W)   with zeros around it
    returns  (N, C, H, W)
    """
    for axis in (2, 3):
        count = x.shape[axis] // 2
        pairs = _along(x, axis).unflatten(axis, (count + 1, 2))
        first, second = pairs.select(axis + 1, 0), pairs.select(axis + 1, 1)
        inner = second.narrow(axis, 0, count) + first.narrow(axis, 1, count)
        outer = first.narrow(axis, 0, count) + second.narrow(axis, 1, count)
        x = 0.375 * inner + 0.125 * outer
    return x


def _along(x: Tensor, axis: int) -> Tensor:
    """A zero before and after, along one of the two axes."""
    return pad(x, (0, 0, 1, 1) if axis == 2 else (1, 1, 0, 0))
