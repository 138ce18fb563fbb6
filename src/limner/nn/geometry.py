"""Sizes of a convolution, that its forms share."""

from typing import NamedTuple

Pair = tuple[int, int]


class Geometry(NamedTuple):
    """Sizes of a convolution, height then width; the big side is its input, or the output of its transpose."""

    big: Pair
    small: Pair
    kernel: Pair
    stride: Pair
    left: Pair
