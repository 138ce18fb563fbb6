"""Adam as a function against PyTorch's."""

import torch

from limner.core.adam import Pace, moved
from limner.core.config import Adam


def test_several_moves_equal_pytorch_s():
    torch.manual_seed(0)
    settings = Adam(lr=0.03, beta1=0.6, beta2=0.95, eps=1e-6)
    theirs = torch.nn.Parameter(torch.randn(5, dtype=torch.float64))
    weights = {"w": theirs.detach().clone()}
    pace = Pace.fresh(settings, weights)
    optimiser = torch.optim.Adam([theirs], lr=0.03, betas=(0.6, 0.95), eps=1e-6)
    for _ in range(4):
        slope = torch.randn(5, dtype=torch.float64)
        theirs.grad = slope
        optimiser.step()
        weights, pace = moved(weights, {"w": slope}, pace)
        torch.testing.assert_close(weights["w"], theirs.detach())
    assert pace.steps == 4


def test_a_weight_without_a_slope_stays_and_can_be_differentiated():
    slope = torch.zeros(2, requires_grad=True)
    weights = {"w": torch.ones(2)}
    after, _ = moved(weights, {"w": slope}, Pace.fresh(Adam(), weights))
    after["w"].sum().backward()
    assert after["w"].tolist() == [1.0, 1.0]
    assert torch.isfinite(slope.grad).all()
