"""The unrolled generator's gradient against finite differences through PyTorch's own Adam, in float64."""

import copy

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import softplus

from limner.core.signal import Signal
from limner.models.model import build
from limner.training.average import Average
from limner.training.learner import Learner
from limner.training.world import World


def trained(unroll):
    """A method that has moved some times, so that its optimiser has a memory."""
    torch.manual_seed(0)
    config = {"unroll": unroll, "network": "dense", "width": 4, "latent": 3, "discriminator": {"lr": 0.01}}
    method = build("unrolled", config, Signal(channels=2))
    learner = Learner(method, Average(method, 0), World(0, 1, torch.device("cpu")), torch.float32, seed=1, total=10)
    real = torch.rand(16, 2) * 2 - 1
    for index in range(4):
        learner.step(index, [{"x": real}], 0)
    pace = learner.pace("discriminator", 4)
    assert pace.steps == 4 and pace.rate == 0.01
    for memory in (pace.mean, pace.square):
        memory.update({name: value.double() for name, value in memory.items()})
    method.double()
    method.pace = lambda player: pace
    return method, pace, real.double()


def by_pytorch(method, pace, real, fake, unroll):
    """The generator's loss after the discriminator's real moves: nothing here is differentiated through."""
    judge = copy.deepcopy(method.discriminator)
    weights = dict(judge.named_parameters())
    optimiser = torch.optim.Adam(weights.values(), lr=pace.rate, betas=(0.5, 0.99), eps=1e-8)
    for name, weight in weights.items():
        optimiser.state[weight] = {
            "step": torch.tensor(float(pace.steps)),
            "exp_avg": pace.mean[name].clone(),
            "exp_avg_sq": pace.square[name].clone(),
        }
    for _ in range(unroll):
        optimiser.zero_grad()
        (softplus(-judge(real)) + softplus(judge(fake.detach()))).mean().backward()
        optimiser.step()
    return softplus(-judge(fake)).mean().item()


@pytest.mark.parametrize("unroll", [0, 1, 3])
def test_the_gradient_goes_through_the_moves(unroll):
    method, pace, real = trained(unroll)
    z = torch.randn(16, 3, dtype=torch.float64)
    weights = list(method.generator.parameters())

    def loss():
        fake = method.generate(z)
        ahead = method.ahead(real, fake, None, {})
        return softplus(-functional_call(method.discriminator, ahead, (fake, None))).mean()

    assert loss().item() == pytest.approx(by_pytorch(method, pace, real, method.generate(z), unroll), rel=1e-9)
    slopes = torch.autograd.grad(loss(), weights)
    way = [torch.randn_like(weight) for weight in weights]

    def along(step):
        for weight, part in zip(weights, way, strict=True):
            weight.data += step * part
        value = by_pytorch(method, pace, real, method.generate(z), unroll)
        for weight, part in zip(weights, way, strict=True):
            weight.data -= step * part
        return value

    measured = (along(1e-6) - along(-1e-6)) / 2e-6
    assert sum((s * part).sum().item() for s, part in zip(slopes, way, strict=True)) == pytest.approx(
        measured, rel=1e-5
    )


def test_looking_ahead_leaves_the_discriminator_where_it_is():
    method, _, real = trained(2)
    before = copy.deepcopy(method.discriminator.state_dict())
    method.ahead(real, method.generate(torch.randn(16, 3, dtype=torch.float64)), None, {})
    assert all(torch.equal(before[name], value) for name, value in method.discriminator.state_dict().items())


def test_looking_ahead_leaves_running_statistics_alone():
    """They are written twice, for real samples and fakes as they are judged now."""
    method = build("unrolled", {"unroll": 3, "network": "tiny_quarter", "width": 4}, Signal(channels=1, size=(16, 16)))
    Learner(method, Average(method, 0), World(0, 1, torch.device("cpu")), torch.float32, seed=1, total=10).step(
        0, [{"x": torch.rand(8, 1, 16, 16) * 2 - 1}], 0
    )
    norms = [module for module in method.discriminator.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms and {int(norm.num_batches_tracked) for norm in norms} == {2}
