"""Spectral normalisation against a singular value decomposition."""

import copy

import torch
from torch import nn
from torch.func import functional_call

from limner.core.signal import Signal
from limner.nn.conv import Conv2d
from limner.nn.discriminators import discriminator
from limner.nn.spectral import Spectral


def test_the_weight_s_largest_singular_value_becomes_one():
    torch.manual_seed(0)
    for layer, x in ((nn.Linear(7, 5), torch.randn(3, 7)), (Conv2d(3, 6, 4, 2, 1), torch.randn(2, 3, 8, 8))):
        normal = Spectral(layer)
        for _ in range(200):
            normal(x)
        exact = torch.linalg.svdvals(layer.weight.flatten(1))[0]
        torch.testing.assert_close(normal.stretch(layer.weight), exact, rtol=1e-4, atol=0)
        shrunk = copy.deepcopy(layer)
        shrunk.weight.data /= exact
        torch.testing.assert_close(normal.eval()(x), shrunk(x), rtol=1e-3, atol=1e-5)


def test_the_gradient_is_that_of_the_quotient():
    """d(w / σ(w)) with σ = ‖w‖ for a single row: worked out by autograd on the closed form."""
    torch.manual_seed(0)
    layer = nn.Linear(4, 1, bias=False).double()
    normal, x = Spectral(layer).double(), torch.randn(3, 4, dtype=torch.float64)
    normal(x).sum().backward()
    w = layer.weight.detach().clone().requires_grad_()
    (x @ (w / w.norm()).T).sum().backward()
    torch.testing.assert_close(layer.weight.grad, w.grad)


def test_only_training_turns_the_vector():
    normal = Spectral(nn.Linear(6, 6))
    before = normal.left.clone()
    normal.eval()(torch.randn(2, 6))
    assert torch.equal(normal.left, before)
    normal.train()(torch.randn(2, 6))
    assert not torch.equal(normal.left, before)


def test_another_call_with_other_weights_goes_through():
    """A player that is unrolled calls its layers with weights of its own."""
    judge = discriminator("dense", Signal(channels=2), 4, spectral=True)
    weights = {name: 2 * value for name, value in judge.named_parameters()}
    x = torch.randn(3, 2)
    scaled = functional_call(judge.eval(), weights, (x,))
    # Twice the weights are normalised to the same; only the biases still show.
    assert not torch.allclose(scaled, judge(x))
    for name in weights:
        if name.endswith("bias"):
            weights[name] = weights[name] / 2
    torch.testing.assert_close(functional_call(judge, weights, (x,)), judge(x))


def test_a_class_is_heard_as_well_as_without():
    """The sample that a class is joined as is not shrunk: the first layer sees the same picture beside it."""
    seen = []
    for divided in (False, True):
        torch.manual_seed(1)
        judge = discriminator("dcgan", Signal(channels=1, size=(16, 16), classes=3), 8, "concat", norm=False,
                              spectral=divided)  # fmt: skip
        judge.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        judge(torch.rand(3, 1, 16, 16), torch.arange(3))
    assert seen[1][:, 1].square().mean().sqrt() > 0.8
    torch.testing.assert_close(seen[0][:, 1], seen[1][:, 1])
