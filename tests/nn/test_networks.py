"""Shared networks against their papers' tables, and labels that reach where they should."""

import pytest
import torch
from torch import nn
from torch.func import grad, vmap
from torch.nn import functional

from limner.core.errors import UsageError
from limner.core.signal import Signal
from limner.models.model import build
from limner.nn.discriminators import Head, Maxout, discriminator
from limner.nn.generators import generator

NAMES = ("dense", "dcgan", "mnist", "tiny_quarter", "tiny_half")


def weights(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(28, 28), (8, 8), (32, 16)])
@pytest.mark.parametrize("conditioning", ["none", "concat", "projection"])
def test_every_network_makes_and_judges(name, size, conditioning):
    signal, labels = Signal(channels=3, size=size, classes=4), torch.arange(5) % 4
    made = generator(name, signal, 6, 4, conditioning != "none")(torch.randn(5, 6), labels)
    assert made.shape == (5, 3, *size)
    for spectral in (False, True):
        score = discriminator(name, signal, 4, conditioning, spectral=spectral)(made, labels)
        assert score.shape == (5,)


def test_pacgan_s_networks_for_points():
    """4 × 400 with batch norm, and 3 × maxout(200, 5): counted from the paper's description."""
    signal = Signal(channels=2)
    g, d = generator("mixture", signal, 2, 400), discriminator("mixture", signal, 400)
    assert weights(g) == (2 * 400 + 400) + 3 * (400 * 400 + 400) + 4 * 2 * 400 + 400 * 2 + 2
    assert weights(d) == (2 * 1000 + 1000) + 2 * (200 * 1000 + 1000) + 201
    assert sum(isinstance(layer, Maxout) for layer in d.modules()) == 3


def test_networks_for_points_do_with_original_coordinates_what_was_published():
    """In a smaller unit of length the same weights make and judge the same points."""
    z, x = torch.randn(5, 2), torch.rand(5, 2) * 2 - 1
    torch.manual_seed(0)
    published = generator("mixture", Signal(channels=2), 2, 8), discriminator("mixture", Signal(channels=2), 8)
    torch.manual_seed(0)
    small = Signal(channels=2, scale=4.5)
    ours = generator("mixture", small, 2, 8), discriminator("mixture", small, 8)
    torch.testing.assert_close(4.5 * ours[0](z), published[0](z))
    torch.testing.assert_close(ours[1](x), published[1](4.5 * x))


def test_the_tiny_networks_channels():
    """G: 4×4×64, then 32, 16 and 8 channels; D: 2, 4, 8 for a quarter and 4, 8, 16 for a half."""
    signal = Signal(channels=3, size=(28, 28))
    g = generator("tiny_quarter", signal, 256, 8)
    ups = [layer for layer in g.modules() if isinstance(layer, nn.ConvTranspose2d)]
    assert g[0].out_features == 4 * 4 * 64
    assert [layer.out_channels for layer in ups] == [32, 16, 8]
    x, shapes = torch.randn(2, 256), []
    for layer in g:
        x = layer(x)
        shapes += [tuple(x.shape[2:])] if isinstance(layer, nn.ConvTranspose2d) else []
    assert shapes == [(7, 7), (14, 14), (28, 28)]
    for name, wide in (("tiny_quarter", [2, 4, 8]), ("tiny_half", [4, 8, 16])):
        downs = [m.out_channels for m in discriminator(name, signal, 8).modules() if isinstance(m, nn.Conv2d)]
        assert downs == wide


def test_maxout_is_the_largest_of_five():
    x = torch.arange(20.0).reshape(2, 10).flip(1)
    assert Maxout(5)(x).tolist() == [[9.0, 8.0], [19.0, 18.0]]


def test_maxout_s_gradient_and_the_gradient_s_own_are_those_of_autograd():
    """Also where several are the largest, and sample by sample under torch.func."""
    torch.manual_seed(0)
    x = torch.randn(6, 10, dtype=torch.float64)
    x[0] = x[1, :8] = 1.0
    weight = torch.randn(6, 2, dtype=torch.float64)

    def slope_of_slope(maxout):
        at = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad((maxout(at.tanh()) * weight).sum(), at, create_graph=True)
        (second,) = torch.autograd.grad(slope.square().sum(), at)
        return torch.stack([slope, second])

    def by_autograd(x):
        return x.unflatten(-1, (5, -1)).amax(-2)

    torch.testing.assert_close(slope_of_slope(Maxout(5)), slope_of_slope(by_autograd))

    def score(maxout):
        return lambda row, share: (maxout(row[None]) * share).sum()

    found, expected = (vmap(grad(score(maxout)))(x, weight) for maxout in (Maxout(5), by_autograd))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("conditioning", ["concat", "projection"])
def test_a_label_changes_what_is_made_and_how_it_is_judged(conditioning):
    signal = Signal(channels=1, size=(8, 8), classes=3)
    g, d = generator("dcgan", signal, 6, 8, True).eval(), discriminator("dcgan", signal, 8, conditioning).eval()
    z, first, second = torch.randn(4, 6), torch.zeros(4, dtype=torch.long), torch.full((4,), 2)
    assert not torch.allclose(g(z, first), g(z, second))
    assert not torch.allclose(d(g(z, first), first), d(g(z, first), second))


def test_the_projection_is_the_inner_product():
    """At a head of zeros, D(x, y) is ⟨embedding(y), φ(x)⟩ (section 3 of the paper)."""
    d = discriminator("dense", Signal(channels=2, classes=3), 4, "projection")
    for weight in d.head.parameters():
        nn.init.zeros_(weight)
    x, label = torch.randn(5, 2), torch.tensor([0, 1, 2, 0, 1])
    by_hand = [(d.embedding.weight[y] @ d.features(x)[i]).item() for i, y in enumerate(label)]
    assert d(x, label).tolist() == pytest.approx(by_hand, abs=1e-6)


def test_one_sample_s_score_does_not_depend_on_its_neighbours_without_batch_norm():
    for name in NAMES:
        d = discriminator(name, Signal(channels=1, size=(28, 28)), 4, norm=False)
        assert not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in d.modules())


def test_labels_that_are_not_there_are_refused():
    with pytest.raises(UsageError, match="needs classes, and these data have no labels"):
        build("gan", {"conditioning": "concat"}, Signal(channels=1, size=(8, 8)))


def test_networks_follow_the_signal():
    def chosen(method, **signal):
        return build(method, {"width": 4, "network": "auto"}, Signal(channels=1, **signal)).config.network

    assert chosen("gan", size=()) == "mixture"
    assert chosen("gan", size=(28, 28)) == chosen("gan", size=(8, 8)) == "dcgan"
    assert chosen("gan", size=(9, 9)) == chosen("gan", size=(30,)) == "dense"


def test_maxout_has_the_derivatives_of_the_largest_piece():
    maxout, own = Maxout(5), lambda x: x.unflatten(1, (5, -1)).amax(1)
    x = torch.randn(6, 20, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(maxout(x), own(x), rtol=0, atol=0)
    assert torch.autograd.gradcheck(maxout, x)
    assert torch.autograd.gradgradcheck(maxout, x)
    even = torch.tensor([[3.0, 1.0, 3.0, 0.0, 2.0]], requires_grad=True)
    for form in (maxout, own):
        (grad,) = torch.autograd.grad(form(even).sum(), even)
        assert grad.tolist() == [[0.5, 0.0, 0.5, 0.0, 0.0]]
    each = [torch.func.vmap(torch.func.grad(lambda row, f=f: f(row[None]).square().sum()))(x) for f in (maxout, own)]
    torch.testing.assert_close(*each)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_head_reads_maps_as_if_they_were_flattened(order):
    torch.manual_seed(0)
    head, x = Head(3 * 4 * 5, 2).double(), torch.randn(6, 3, 4, 5, dtype=torch.float64)
    x = x.to(memory_format=order).requires_grad_()
    flat = functional.linear(x.flatten(1), head.weight, head.bias)
    torch.testing.assert_close(head(x), flat)
    assert torch.autograd.gradcheck(head, (x,))
    (grad,) = torch.autograd.grad(head(x).sum(), x)
    assert grad.is_contiguous(memory_format=order)
    ours, theirs = (torch.autograd.grad(y.square().sum(), head.weight)[0] for y in (head(x), flat))
    torch.testing.assert_close(ours, theirs)
