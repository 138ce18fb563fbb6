"""Dropout: its rate, its growth, its seed."""

import pytest
import torch

from limner.nn.conv import plain
from limner.nn.elementwise import Dropout, kept


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_rate_and_growth(p: float) -> None:
    torch.manual_seed(0)
    y = Dropout(p)(torch.ones(400, 1000))
    # Four standard deviations of the mean of 400,000 draws.
    assert abs((y == 0).double().mean().item() - p) < 4 * (p * (1 - p) / y.numel()) ** 0.5
    # The rate is rounded to 2⁻¹⁶, so the growth is off by that much of 1 - p at most.
    torch.testing.assert_close(y.max(), torch.tensor(1 / (1 - p)), rtol=2**-16 / (1 - p), atol=0)
    assert set(y.unique().tolist()) == {0.0, y.max().item()}


def test_neighbours_are_independent() -> None:
    torch.manual_seed(0)
    stays = (kept(torch.empty(1 << 20), 0.3) > 0).double() - 0.7
    for step in (1, 2, 3, 4, 8):
        # The covariance of independent draws is .21 / √N: .0002.
        assert abs((stays[step:] * stays[:-step]).mean().item()) < 0.001


def test_the_seed_governs() -> None:
    x, layer = torch.randn(3, 5, 7), Dropout(0.5)
    torch.manual_seed(1)
    first, second = layer(x), layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    assert not torch.equal(second, first)


def test_no_dropping_in_evaluation_or_at_rate_0() -> None:
    x = torch.randn(4, 4)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert not Dropout(1.0)(x).any()


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 3, 5, 7)])
def test_derivative_is_the_mask(shape: tuple[int, ...]) -> None:
    x = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    y = Dropout(0.5)(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(grad, y)


def test_order_in_memory_is_kept() -> None:
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert kept(x, 0.5).is_contiguous(memory_format=torch.channels_last)
    view = torch.randn(4, 6)[:, ::2]
    assert Dropout(0.5)(view).shape == view.shape


def test_bfloat16_has_the_rate_and_the_rounded_growth() -> None:
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        y = Dropout(0.3)(torch.ones(400, 1000, dtype=torch.bfloat16))
    assert abs((y == 0).double().mean().item() - 0.3) < 4 * (0.21 / y.numel()) ** 0.5
    assert set(y.unique().tolist()) == {0.0, torch.tensor(1 / 0.7).bfloat16().item()}


def test_other_forms() -> None:
    x = torch.ones(64, 64, dtype=torch.bfloat16)
    assert set(Dropout(0.5)(x).unique().tolist()) == {0.0, 2.0}
    y = torch.ones(64, 64)
    assert Dropout(0.5, inplace=True)(y) is y
    with plain():
        torch.manual_seed(0)
        ours = Dropout(0.5)(x)
        torch.manual_seed(0)
        assert torch.equal(ours, torch.nn.Dropout(0.5)(x))
    each = torch.func.vmap(Dropout(0.5), randomness="different")(torch.ones(8, 100))
    assert len(each.unique(dim=0)) == 8
