"""Binarisation: each scheme does what it says, and the fixed draw is fair."""

import numpy as np
import pytest
import scipy.stats
import torch

from limner.data.binarise import binarise, fixed_uniform


def pictures(count, level=None):
    """(count, 784) random bytes scaled to [-1, 1]; the first half of the pixels at one level, if it is given."""
    grey = torch.randint(0, 256, (count, 784), generator=torch.Generator().manual_seed(1))
    if level is not None:
        grey[:, :392] = level
    return grey / 127.5 - 1


def test_threshold_and_none():
    x = torch.tensor([[-1.0, 0.0, 0.01, 1.0]])
    assert binarise(x, "threshold").tolist() == [[0, 0, 1, 1]]
    assert binarise(x, "none")[0].tolist() == pytest.approx([0, 0.5, 0.505, 1])


def test_a_pixel_is_on_as_often_as_it_is_bright():
    level = 77
    x = pictures(400, level)
    uniform = torch.rand(400, 784, generator=torch.Generator().manual_seed(2))
    for made in (binarise(x, "fixed"), binarise(x, "dynamic", lambda *shape: uniform)):
        assert set(made.unique().tolist()) == {0, 1}
        on = int(made[:, :392].sum())
        assert scipy.stats.binomtest(on, 400 * 392, level / 255).pvalue > 1e-3


def test_black_stays_off_and_white_on():
    x = torch.cat([torch.full((3, 50), -1.0), torch.full((3, 50), 1.0)], 1)
    assert torch.equal(binarise(x, "fixed"), (x + 1) / 2)


def test_fixed_depends_on_the_picture_alone():
    x = pictures(6)
    whole = binarise(x, "fixed")
    assert torch.equal(torch.cat([binarise(x[i : i + 1], "fixed") for i in range(6)]), whole)


def test_fixed_numbers_are_uniform_and_differ_between_pictures():
    x = pictures(300)
    x[1:] = x[0]
    x[torch.arange(1, 300), torch.arange(1, 300)] = 1.0  # One pixel of each picture is another one.
    u = fixed_uniform((x + 1) / 2).double().numpy()
    assert scipy.stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    across, along = (
        np.corrcoef(u[:-1].ravel(), u[1:].ravel())[0, 1],
        np.corrcoef(u[:, :-1].ravel(), u[:, 1:].ravel())[0, 1],
    )
    assert abs(across) < 0.01 and abs(along) < 0.01


def test_dynamic_needs_numbers():
    with pytest.raises(ValueError, match="random numbers"):
        binarise(pictures(1), "dynamic")
