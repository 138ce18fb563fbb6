"""GMAN: whom the generator listens to."""

import pytest
import torch

from limner.core.signal import Signal
from limner.losses.adversarial import non_saturating_generator
from limner.models.model import build


@pytest.mark.parametrize("listen", ["mean", "max"])
def test_the_generator_hears_the_mean_or_the_sternest(listen):
    method = build("gman", {"judges": 3, "width": 4, "network": "dense", "listen": listen}, Signal(channels=2))
    said = torch.tensor([[2.0, -1.0, 0.5], [1.0, -3.0, 0.0]])  # of two samples, by three discriminators
    method.verdicts = lambda x, label: said
    *_, turn = method.step({"x": torch.zeros(2, 2)})
    by_hand = torch.log1p(torch.exp(-said))
    expected = by_hand.mean(1) if listen == "mean" else by_hand[:, 1]
    torch.testing.assert_close(turn.loss, expected)


def test_each_discriminator_learns_as_it_would_alone():
    """The gradient of one is that of its own loss: the others add nothing to it."""
    method = build("gman", {"judges": 2, "width": 4, "network": "dense"}, Signal(channels=2))
    x = torch.rand(6, 2)
    turn = next(method.step({"x": x}))
    turn.loss.mean().backward()
    fake = method.generate(torch.zeros(6, method.latent)).detach()
    assert fake.shape == x.shape
    first = method.discriminator[0]
    method.luck = type(method.luck)(0)
    alone = build("gman", {"judges": 2, "width": 4, "network": "dense"}, Signal(channels=2))
    alone.load_state_dict(method.state_dict())
    fake = alone.generate(alone.noise(6, alone.latent)).detach()
    judge = alone.discriminator[0]
    (non_saturating_generator(judge(x)) + torch.nn.functional.softplus(judge(fake))).mean().backward()
    for mine, other in zip(first.parameters(), judge.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)
