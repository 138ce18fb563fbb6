"""Looking for the noise behind a picture that a generator made itself: there is one, and it is found."""

from itertools import pairwise

import pytest
import torch

from limner.core.signal import Signal
from limner.features import load
from limner.models.ensemble import Ensemble, EnsembleConfig, Member
from limner.models.latent import nearest
from limner.models.model import build


def made(conditioning="none", classes=0):
    torch.manual_seed(3)
    signal = Signal(channels=1, size=(8, 8), classes=classes)
    method = build("gan", {"width": 32, "latent": 4, "conditioning": conditioning}, signal).eval()
    for weight in method.parameters():
        weight.data *= 2  # Fresh weights hardly tell one noise from another.
    return method


@pytest.mark.parametrize("eye", [None, "tiny"])
def test_a_picture_of_its_own_is_found(eye):
    method = made()
    z = torch.randn(1, 4, generator=torch.Generator().manual_seed(1))
    z *= 2 / z.norm()
    target = method.generate(z)[0].detach()
    walk = list(nearest(method, target, eye and load(eye), steps=150, seed=0))
    assert walk[-1].pixels < walk[0].pixels / 3
    assert walk[-1].pixels == pytest.approx((walk[-1].sample - target).square().mean().sqrt().item(), rel=1e-5)
    again = method.draw(walk[-1].z[None])[0]
    torch.testing.assert_close(again, walk[-1].sample)
    assert all(after.pixels**2 + after.features**2 <= before.pixels**2 + before.features**2 + 1e-9
               for before, after in pairwise(walk))  # fmt: skip


def test_the_class_is_found_too():
    method = made("concat", classes=3)
    method.generator.embedding.weight.data *= 3
    target = method.generate(torch.randn(1, 4), torch.tensor([2]))[0].detach()
    *_, found = nearest(method, target, None, steps=30, seed=0)
    assert found.label.tolist() == [2]
    *_, told = nearest(method, target, None, steps=5, seed=0, label=torch.tensor([1]))
    assert told.label.tolist() == [1]


def test_each_noise_of_an_ensemble_keeps_a_usual_length():
    """It reads sixteen noises a sample, of which one is used and pulled at."""
    members = tuple(Member(method="gan", config={}, sha256="", weight=1.0, rejection=None) for _ in range(1))
    method = Ensemble(EnsembleConfig(members=members, tries=16), Signal(channels=1, size=(8, 8)), [made()]).eval()
    assert sum(method.blocks) == method.latent == 2 + 16 * (2 + 4)
    *_, found = nearest(method, torch.ones(1, 8, 8), None, steps=200, seed=0)
    lengths = [block.norm() for block in found.z.split(method.blocks)]
    assert all(
        length <= len(block) ** 0.5 + 2.001 for length, block in zip(lengths, found.z.split(method.blocks), strict=True)
    )
