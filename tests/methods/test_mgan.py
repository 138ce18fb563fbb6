"""MGAN: who makes a sample, and who is asked who made it."""

import pytest
import torch

from limner.core.random import direction
from limner.core.signal import Signal
from limner.models.model import build
from limner.nn.spectral import Spectral


def built(**more):
    return build("mgan", {"generators": 3, "width": 4, "latent": 5, "network": "dense", **more}, Signal(channels=2))


def test_the_generators_share_the_noise_evenly():
    method = built()
    makers = method.generator.maker(torch.randn(30_000, method.latent))
    # Four standard deviations of a third of 30,000 draws.
    assert (makers.bincount(minlength=3) - 10_000).abs().max() < 4 * (30_000 * 2 / 9) ** 0.5


def test_a_direction_is_the_same_however_long_the_pair():
    pair = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]])
    torch.testing.assert_close(direction(pair), torch.tensor([0.0, 0.25, 0.5, 0.75]))
    torch.testing.assert_close(direction(7 * pair), direction(pair))


def test_a_sample_is_its_maker_s_first_layer_and_the_shared_ones():
    method = built()
    z = torch.randn(20, method.latent)
    mixture = method.generator
    for i, maker in enumerate(mixture.maker(z)):
        inner = mixture.weight[maker] @ z[i, 2:] + mixture.bias[maker]
        torch.testing.assert_close(method.generate(z)[i], mixture.trunk(inner[None])[0])


def test_the_generator_pays_for_not_being_recognised():
    """At weight 1 the loss is larger by the classifier's cross-entropy than at weight 0."""
    real = torch.rand(8, 2)
    costs = []
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        method = built(diversity=weight)
        *_, turn = method.step({"x": real})
        costs.append(turn.loss)
    torch.manual_seed(0)
    method = built()
    z = method.noise(8, method.latent)
    logits = method.discriminator(method.generate(z))[1]
    maker = method.generator.maker(z)
    expected = logits.logsumexp(1) - logits[torch.arange(8), maker]
    torch.testing.assert_close(costs[1] - costs[0], expected, rtol=1e-4, atol=1e-5)


def test_spectral_normalisation_is_everywhere_in_the_discriminator():
    made = build("mgan", {"generators": 3, "width": 4, "spectral": True}, Signal(channels=1, size=(8, 8)))
    kinds = {type(module).__name__: module for module in made.discriminator.modules()}
    plain = [module for module in made.discriminator.modules() if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)]
    wrapped = [module.layer for module in made.discriminator.modules() if isinstance(module, Spectral)]
    assert "Spectral" in kinds and {id(module) for module in plain} == {id(module) for module in wrapped}


@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize("conditioning", ["concat", "projection"])
def test_every_generator_and_the_discriminator_know_the_class(conditioning, spectral):
    """Each sample and each score changes with the class, by the shared layers as they are called by themselves."""
    torch.manual_seed(0)
    choices = {"generators": 3, "width": 4, "latent": 5, "network": "dense", "spectral": spectral}
    method = build("mgan", {**choices, "conditioning": conditioning}, Signal(channels=2, classes=4)).eval()
    z, x = torch.randn(30, method.latent), torch.rand(30, 2)
    label = torch.arange(30) % 4
    mixture = method.generator
    maker = mixture.maker(z)
    inner = torch.einsum("noi,ni->no", mixture.weight[maker], z[:, 2:]) + mixture.bias[maker]
    torch.testing.assert_close(method.generate(z, label), mixture.trunk(inner, label))
    assert (method.generate(z, label) != method.generate(z, (label + 1) % 4)).any(1).all()
    assert (method.judge(x, label) != method.judge(x, (label + 1) % 4)).all()
    assert method.conditional and not built().conditional


def test_a_projected_class_adds_its_product_with_the_features():
    torch.manual_seed(0)
    method = build(
        "mgan", {"width": 4, "network": "dense", "conditioning": "projection"}, Signal(channels=2, classes=4)
    )
    judge, x, label = method.discriminator, torch.rand(6, 2), torch.tensor([0, 1, 2, 3, 0, 1])
    found = judge.features(x)
    expected = judge.head(found)[:, 0] + torch.einsum("nd,nd->n", judge.embedding.weight[label], found)
    torch.testing.assert_close(judge(x, label)[0], expected)
