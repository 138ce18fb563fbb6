"""Binarise: grey pictures as pixels that are on or off, for models of binary data.

The scheme is part of a result: likelihoods of the same model differ by nats from one scheme to another.

Source: Salakhutdinov & Murray 2008, "On the quantitative analysis of deep belief networks" (pixels drawn by their grey)
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Scheme = Literal["none", "threshold", "fixed", "dynamic"]


def binarise(x: Tensor, scheme: Scheme, uniform: Callable[[int, int], Tensor] | None = None) -> Tensor:
    """Pictures as 0 and 1.

    x        (N, D)   in [-1, 1]
    scheme   none       grey levels in [0, 1], as they are
             threshold  on where a pixel is brighter than the middle
             fixed      each pixel drawn once, on with its grey level as the chance: the same picture always gives
                        the same draw, in training and in tests
             dynamic    each pixel drawn anew each time
    uniform  gives numbers in [0, 1) of a shape, for dynamic
    returns  (N, D)   float32
    raises   ValueError   if dynamic is asked for without `uniform`
    """
    grey = (x + 1) / 2
    if scheme == "none":
        return grey
    if scheme == "threshold":
        return (grey > 0.5).to(x.dtype)
    if scheme == "fixed":
        return (fixed_uniform(grey) < grey).to(x.dtype)
    if uniform is None:
        raise ValueError("dynamic binarisation needs random numbers")
    return (uniform(len(x), x.shape[1]) < grey).to(x.dtype)


def fixed_uniform(grey: Tensor) -> Tensor:
    """Numbers in [0, 1) that follow from a picture's bytes and each pixel's place alone, on every machine.

    grey     (N, D)  in [0, 1]
    returns  (N, D)  float32
    """
    place = torch.arange(1, grey.shape[1] + 1, dtype=torch.int32, device=grey.device)
    # A name for the picture: its bytes, each weighed by its place. Sums and products wrap at 32 bits, as meant.
    weights = _mixed(place * _signed(0x9E3779B9))
    name = _mixed(((grey * 255).round().to(torch.int32) * weights).sum(1, keepdim=True, dtype=torch.int32))
    drawn = _mixed(name + place * _signed(0x9E3779B9))
    return ((drawn >> 8) & 0xFFFFFF).to(torch.float32) / (1 << 24)


def _mixed(x: Tensor) -> Tensor:
    """32 bits, each of which depends on all: MurmurHash3's last step."""
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * _signed(0x85EBCA6B)
    x = x ^ ((x >> 13) & 0x7FFFF)
    x = x * _signed(0xC2B2AE35)
    return x ^ ((x >> 16) & 0xFFFF)


def _signed(bits: int) -> int:
    return bits - (1 << 32) if bits >= 1 << 31 else bits
