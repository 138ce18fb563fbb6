"""The best mixture of generators, against a search over a grid, known answers and the kernel distance itself."""

import itertools

import pytest
import torch

from limner.metrics.figures import energy_distance
from limner.metrics.kid import squared_mmd
from limner.metrics.mixture import MOST, best_weights, kernel_form, nearness


def value(within, across, w):
    return float(w @ within @ w - 2 * across @ w)


@pytest.mark.parametrize("seed", range(6))
def test_no_point_of_a_fine_grid_is_better(seed):
    random = torch.Generator().manual_seed(seed)
    root = torch.randn(3, 3, generator=random, dtype=torch.float64)
    within, across = root @ root.T, torch.randn(3, generator=random, dtype=torch.float64)
    if seed >= 4:  # as an estimate may be: not positive
        within = within - 1.5 * torch.eye(3, dtype=torch.float64)
    best = best_weights(within, across)
    assert best.min() >= 0 and best.sum().item() == pytest.approx(1)
    steps = 200
    grid = min(
        value(within, across, torch.tensor([i, j, steps - i - j], dtype=torch.float64) / steps)
        for i, j in itertools.product(range(steps + 1), repeat=2) if i + j <= steps
    )  # fmt: skip
    assert value(within, across, best) <= grid + 1e-12
    assert value(within, across, best) >= grid - 0.05 * abs(grid) - 0.01, (
        "nor is it better by more than the grid's mesh"
    )


def test_a_mixture_that_the_data_are_is_found():
    """Reals of which 30 % are the first kind and 70 % the second; a third generator makes neither."""
    random = torch.Generator().manual_seed(0)
    middles = torch.tensor([[2.0, 0.0], [-1.0, 2.0], [0.0, -3.0]])

    def kind(number, count):
        return middles[number] + 0.3 * torch.randn(count, 2, generator=random)

    real = torch.cat([kind(0, 1200), kind(1, 2800)])
    within, across, rest = kernel_form([kind(number, 3000) for number in range(3)], real)
    best = best_weights(within, across)
    assert best.tolist() == pytest.approx([0.3, 0.7, 0.0], abs=0.03)
    assert abs(value(within, across, best) + rest) < 0.02 * abs(
        value(within, across, torch.ones(3).double() / 3) + rest
    )


def test_the_form_is_the_squared_kernel_distance():
    """For one generator exactly; both are unbiased."""
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(50, 4, generator=random), torch.randn(70, 4, generator=random) + 1
    within, across, rest = kernel_form([x], y)
    one = torch.ones(1, dtype=torch.float64)
    assert value(within, across, one) + rest == pytest.approx(squared_mmd(x, y).item())


def test_equal_generators_do_not_break_it():
    within, across = torch.ones(4, 4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    assert best_weights(within, across).sum().item() == pytest.approx(1)
    with pytest.raises(ValueError, match="at most 12"):
        best_weights(torch.eye(MOST + 1).double(), torch.ones(MOST + 1).double())


@pytest.mark.parametrize("seed", range(3))
def test_of_points_the_generator_of_all_modes_is_found_where_moments_agree(seed):
    """Four alternate modes of a ring have all moments up to the third right, and so the cubic kernel takes them for
    all eight; distances do not."""
    random = torch.Generator().manual_seed(seed)

    def ring(modes, count=1000):
        turn = torch.randint(modes, (count,), generator=random) * (2 * torch.pi / modes)
        return torch.stack([turn.cos(), turn.sin()], 1) + 0.01 * torch.randn(count, 2, generator=random)

    within, across, rest = kernel_form([ring(4), ring(8)], ring(8), nearness)
    assert best_weights(within, across).tolist() == pytest.approx([0, 1], abs=0.1)
    few = torch.tensor([1.0, 0.0], dtype=torch.float64)
    expected = energy_distance(ring(4, 3000), ring(8, 3000)) ** 2
    assert value(within, across, few) + rest == pytest.approx(expected, rel=0.1)
