"""Warping against SciPy's and PyTorch's own resampling."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from limner.nn.warp import warp


def affine(seed=0, count=3):
    random = torch.Generator().manual_seed(seed)
    turn = torch.rand(count, generator=random, dtype=torch.float64) * 6
    matrix = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], 1).view(-1, 2, 2)
    matrix = matrix * (0.7 + torch.rand(count, 2, 1, generator=random, dtype=torch.float64))
    return torch.cat([matrix, torch.rand(count, 2, 1, generator=random, dtype=torch.float64) * 4 - 2], 2)


@pytest.mark.parametrize(("outside", "mode"), [("zero", "grid-constant"), ("reflect", "mirror")])
def test_equals_scipy_s_affine_transform(outside, mode):
    x, matrix = torch.randn(3, 2, 9, 12, dtype=torch.float64), affine()
    made = warp(x, matrix, outside)
    swap = np.array([[0, 1], [1, 0]])  # SciPy's points are (row, column), ours (column, row).
    middle = np.array([4.0, 5.5])
    for i in range(3):
        linear = swap @ matrix[i, :, :2].numpy() @ swap
        offset = swap @ matrix[i, :, 2].numpy() + middle - linear @ middle
        for channel in range(2):
            expected = ndimage.affine_transform(x[i, channel].numpy(), linear, offset, order=1, mode=mode)
            np.testing.assert_allclose(made[i, channel].numpy(), expected, atol=1e-12)


def test_a_quarter_turn_is_exact():
    x = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64).expand(2, -1, -1)
    torch.testing.assert_close(warp(x, turn, "zero"), x.rot90(1, (2, 3)))


def test_gradients_of_gradients_exist():
    x = torch.randn(2, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    matrix = affine(1, 2)
    assert torch.autograd.gradcheck(lambda x: warp(x, matrix, "reflect"), x)
    assert torch.autograd.gradgradcheck(lambda x: warp(x, matrix, "zero") ** 2, x)


def test_a_turn_keeps_the_middle():
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1.0
    angle = math.pi / 5
    turn = torch.tensor([[[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]]])
    assert warp(x, turn, "zero")[0, 0, 2, 2] == pytest.approx(1.0)
