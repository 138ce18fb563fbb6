"""Losses against hand-computed numbers, penalties against finite differences in float64."""

import math

import pytest
import torch

from limner.core.signal import Signal
from limner.losses import adversarial as a
from limner.losses.penalties import between, share, unit_slope, zero_centred
from limner.nn.conv import plain
from limner.nn.discriminators import discriminator

REAL, FAKE = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("found", "worked_out"),
    [
        (a.hinge_discriminator(REAL, FAKE), [0.0, 0.5 + 1.5, 2.0 + 2.0]),
        (a.hinge_generator(FAKE), [3.0, -0.5, -1.0]),
        (a.least_squares_discriminator(REAL, FAKE), [0.5 + 4.5, 0.125 + 0.125, 2.0 + 0.5]),
        (a.least_squares_generator(FAKE), [8.0, 0.125, 0.0]),
        (a.wasserstein_critic(REAL, FAKE), [-5.0, 0.0, 2.0]),
        (a.relativistic(REAL, FAKE), [math.log(1 + math.exp(-5)), math.log(2), math.log(1 + math.exp(2))]),
        (a.relativistic(FAKE, REAL), [math.log(1 + math.exp(5)), math.log(2), math.log(1 + math.exp(-2))]),
    ],
)
def test_by_hand(found, worked_out):
    assert found.tolist() == pytest.approx(worked_out, abs=1e-6)


def critic(x):
    """3·x₀² + x₀·x₁ has the slope (6·x₀ + x₁, x₀)."""
    return 3 * x[:, 0] ** 2 + x[:, 0] * x[:, 1]


def test_penalties_by_hand():
    x = torch.tensor([[1.0, 2.0], [0.0, 0.6]], requires_grad=True)
    assert zero_centred(critic(x), x).tolist() == pytest.approx([64 + 1, 0.36])
    assert unit_slope(critic(x), x).tolist() == pytest.approx([(65**0.5 - 1) ** 2, 0.16], rel=1e-5)


def test_a_flat_critic_has_a_finite_gradient():
    weight, x = torch.zeros(3, requires_grad=True), torch.ones(2, 3, requires_grad=True)
    unit_slope(x @ weight, x).sum().backward()
    assert torch.isfinite(weight.grad).all()


def test_points_between_are_on_the_line():
    real, fake = torch.randn(5, 3, 4, 4), torch.randn(5, 3, 4, 4, requires_grad=True)
    x = between(real, fake, torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert x.is_leaf and x.requires_grad
    torch.testing.assert_close(x[0], fake[0])
    torch.testing.assert_close(x[4], real[4])
    torch.testing.assert_close(x[1], 0.75 * fake[1] + 0.25 * real[1])


@pytest.mark.parametrize("penalty", [zero_centred, unit_slope])
def test_penalties_reach_the_weights_of_a_quick_convolution(penalty):
    """Through convolutions by frequency: the slope of the penalty along a direction, against finite differences."""
    torch.manual_seed(0)
    judge = discriminator("dcgan", Signal(channels=2, size=(8, 8)), 32, norm=False).double()
    for weight in judge.parameters():
        weight.data *= 20  # Slopes of the size of 1, not of the initial .02.
    x = torch.randn(64, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    weights = list(judge.parameters())
    grads = torch.autograd.grad(penalty(judge(x), x).mean(), weights, allow_unused=True)
    with plain():
        same = torch.autograd.grad(penalty(judge(x), x).mean(), weights, allow_unused=True)
    way = [torch.randn_like(weight) for weight in weights]

    def along(step):
        for weight, part in zip(weights, way, strict=True):
            weight.data += step * part
        value = penalty(judge(x), x).mean().item()
        for weight, part in zip(weights, way, strict=True):
            weight.data -= step * part
        return value

    measured = (along(1e-6) - along(-1e-6)) / 2e-6
    slope = sum((grad * part).sum().item() for grad, part in zip(grads, way, strict=True) if grad is not None)
    assert slope == pytest.approx(measured, rel=1e-4)
    for grad, other in zip(grads, same, strict=True):
        if grad is not None:
            torch.testing.assert_close(grad, other)


def test_the_penalty_s_share_is_of_sizes_and_has_no_gradient():
    """Penalties of 1 and 5 beside losses of -2 and 4: 3 of 3 + 3."""
    penalty = torch.tensor([1.0, 5.0], requires_grad=True)
    part = share(penalty, torch.tensor([-2.0, 4.0]))
    assert float(part) == pytest.approx(0.5) and not part.requires_grad
    assert float(share(torch.zeros(2), torch.ones(2))) == 0
