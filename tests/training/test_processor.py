"""What is set for the processor while a run lasts."""

import torch

from limner.training.processor import tiny_is_zero


def tiny() -> torch.Tensor:
    return torch.full((8,), 2e-38) * 0.1


def test_numbers_below_the_least_normal_one_are_zero_in_the_context_alone() -> None:
    assert (tiny() > 0).all()
    with tiny_is_zero():
        assert (tiny() == 0).all()
        with tiny_is_zero():
            pass
        assert (tiny() == 0).all()
    assert (tiny() > 0).all()


def test_moments_of_a_weight_without_gradient_vanish() -> None:
    weight = torch.ones(8, requires_grad=True)
    optimiser = torch.optim.Adam([weight], fused=True)
    with tiny_is_zero():
        for step in range(900):
            weight.grad = torch.full((8,), 1e-2 * (step == 0))
            optimiser.step()
    moments = optimiser.state[weight]["exp_avg"]
    assert (moments == 0).all(), moments
