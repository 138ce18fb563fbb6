"""DCGAN against what is published of it: sizes, counts, initial weights."""

import pytest
import torch
from torch import nn

from limner.core.errors import UsageError
from limner.core.signal import Signal
from limner.models.model import build

GREY = Signal(channels=1, size=(28, 28))


def weights(module):
    return sum(p.numel() for p in module.parameters())


def test_the_mnist_variant_has_the_counts_that_keras_prints():
    """Worked out layer by layer from the listing: a bias-free generator, trainable weights of batch norm included."""
    method = build("dcgan", {}, GREY)
    dense, maps = 100 * 12544, 25 * (256 * 128 + 128 * 64 + 64)
    assert weights(method.generator) == dense + maps + 2 * (12544 + 128 + 64) == 2_305_472
    assert weights(method.discriminator) == 25 * 64 + 64 + 25 * 64 * 128 + 128 + 6272 + 1 == 212_865


def test_the_mnist_variant_starts_as_keras_starts():
    """Glorot-uniform: a uniform spread of ±√(6 / (fan in + fan out)), and biases of zero."""
    torch.manual_seed(0)
    method = build("dcgan", {}, GREY)
    for layer, fans in ((method.generator[0], 100 + 12544), (method.discriminator[3], 25 * (64 + 128))):
        bound = (6 / fans) ** 0.5
        assert layer.weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not method.discriminator[3].bias.any()
    norms = [layer for layer in method.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


@pytest.mark.parametrize("side", [8, 16, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_paper_variant_builds_for_powers_of_two(side, channels):
    signal = Signal(channels=channels, size=(side, side))
    method = build("dcgan", {"variant": "paper", "width": 4, "latent": 7}, signal)
    x = method.generate(torch.randn(2, 7))
    assert x.shape == (2, channels, side, side)
    assert method.judge(x).shape == (2,)
    ups = [layer for layer in method.generator if isinstance(layer, nn.ConvTranspose2d)]
    assert [layer.stride for layer in ups] == [(1, 1)] + [(2, 2)] * (side.bit_length() - 3)
    assert all(layer.kernel_size == (4, 4) for layer in ups)


def test_the_paper_variant_has_the_paper_s_channels_and_norms():
    """With the base of 64 of the authors' code: 512, 256, 128 and 64 channels at 4, 8, 16 and 32 px."""
    torch.manual_seed(0)
    method = build("dcgan", {"variant": "paper"}, Signal(channels=3, size=(64, 64)))
    ups = [layer.out_channels for layer in method.generator if isinstance(layer, nn.ConvTranspose2d)]
    downs = [layer.out_channels for layer in method.discriminator if isinstance(layer, nn.Conv2d)]
    assert ups == [512, 256, 128, 64, 3]
    assert downs == [64, 128, 256, 512, 1]
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in method.generator) == 4
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in method.discriminator) == 3
    assert method.generator[4].weight.std().item() == pytest.approx(0.02, rel=0.02)


def test_the_variant_follows_the_signal():
    assert build("dcgan", {"width": 4}, GREY).config.variant == "mnist"
    assert build("dcgan", {"width": 4}, Signal(channels=3, size=(32, 32))).config.variant == "paper"


@pytest.mark.parametrize(
    ("variant", "size", "said"),
    [("paper", (48, 48), "power-of-two side"), ("mnist", (30, 30), "sides that 4 divides"), ("mnist", (), "points")],
)
def test_sizes_that_do_not_suit_are_refused(variant, size, said):
    with pytest.raises(UsageError, match=said):
        build("dcgan", {"variant": variant}, Signal(channels=1, size=size))


@pytest.mark.parametrize("variant", ["paper", "mnist"])
def test_points_are_sent_to_a_method_that_makes_them(variant):
    with pytest.raises(UsageError) as error:
        build("dcgan", {"variant": variant}, Signal(channels=2))
    assert "limner train gan" in error.value.hint


def test_both_gradients_come_from_the_same_forward_pass():
    method = build("dcgan", {"width": 4}, GREY)
    moves = list(method.step({"x": torch.zeros(4, 1, 28, 28)}))
    assert len(moves) == 1
    assert [turn.player for turn in moves[0]] == ["discriminator", "generator"]
    paper = build("dcgan", {"width": 4, "variant": "paper"}, Signal(channels=1, size=(16, 16)))
    assert [turn.player for turn in paper.step({"x": torch.zeros(4, 1, 16, 16)})] == ["discriminator", "generator"]
