"""Perceptual distance: how different two pictures look to a network that knows photographs. 0 is equal.

The published LPIPS form without its learned weights: features of several layers are brought to unit length at every
place, and their squared differences averaged over places and added over layers. The network is part of the name:
values over one network say nothing about values over another, nor about published LPIPS.

Source: Zhang et al. 2018, arXiv:1801.03924, equation 1, with all weights 1
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_EPS = 1e-10


def perceptual(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Distance between the feature maps of pictures.

    a, b    of each layer (N, C, H, W)
    returns (N,)  float64
    """
    parts = [(_unit(x) - _unit(y)).square().sum(1).mean((1, 2)) for x, y in zip(a, b, strict=True)]
    return torch.stack(parts).sum(0)


def _unit(x: Tensor) -> Tensor:
    x = x.cpu().double()
    return x / (x.square().sum(1, keepdim=True).sqrt() + _EPS)
