"""Resampling against the convolutions that define it."""

import torch
from torch.nn.functional import conv2d, conv_transpose2d

from limner.nn.resample import doubled, halved

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)
FILTER = (TAPS[:, None] * TAPS / 64)[None, None]


def test_doubling_is_a_transposed_convolution():
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    one_by_one = conv_transpose2d(x.reshape(6, 1, 5, 4), 4 * FILTER, stride=2, padding=1)
    torch.testing.assert_close(doubled(x), one_by_one.reshape(2, 3, 10, 8))


def test_halving_is_a_convolution():
    x = torch.randn(2, 3, 10, 8, dtype=torch.float64)
    one_by_one = conv2d(x.reshape(6, 1, 10, 8), FILTER, stride=2, padding=1)
    torch.testing.assert_close(halved(x), one_by_one.reshape(2, 3, 5, 4))


def test_the_two_are_each_other_s_transpose_up_to_four():
    x, y = torch.randn(1, 1, 4, 6, dtype=torch.float64), torch.randn(1, 1, 8, 12, dtype=torch.float64)
    torch.testing.assert_close((doubled(x) * y).sum(), 4 * (x * halved(y)).sum())


def test_a_flat_map_stays_flat_inside():
    assert torch.allclose(doubled(torch.ones(1, 1, 6, 6))[..., 1:-1, 1:-1], torch.ones(1, 1, 10, 10))
