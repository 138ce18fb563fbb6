"""GMAN: whom the generator listens to."""

from math import log

import pytest
import torch
from torch.nn.functional import softplus

from limner.core.signal import Signal
from limner.models.model import build
from limner.training.average import Average
from limner.training.learner import Learner
from limner.training.world import World


@pytest.mark.parametrize("listen", ["mean", "max"])
def test_the_generator_hears_the_mean_or_the_sternest(listen):
    method = build("gman", {"judges": 3, "width": 4, "network": "dense", "listen": listen}, Signal(channels=2))
    said = torch.tensor([[2.0, -1.0, 0.5], [1.0, -3.0, 0.0]])  # of two samples, by three discriminators
    method.discriminator.forward = lambda x, label: said
    *_, turn = method.step({"x": torch.zeros(2, 2)})
    by_hand = torch.log1p(torch.exp(-said))
    expected = by_hand.mean(1) if listen == "mean" else by_hand[:, 1]
    torch.testing.assert_close(turn.loss, expected)


def test_each_discriminator_learns_as_it_would_alone():
    """The gradient of one is that of its own cross-entropy: the others add nothing to it."""
    x = torch.rand(6, 2)
    method, alone = (build("gman", {"judges": 2, "width": 4, "network": "dense"}, Signal(channels=2)) for _ in "ab")
    alone.load_state_dict(method.state_dict())
    next(method.step({"x": x})).loss.mean().backward()
    fake = alone.generate(alone.noise(6, alone.latent)).detach()  # the same noise: both streams are at their start
    for mine, judge in zip(method.discriminator, alone.discriminator, strict=True):
        (softplus(-judge(x)) + softplus(judge(fake))).mean().backward()
        for one, other in zip(mine.parameters(), judge.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad)


def test_the_log_has_the_loss_of_one_of_which_guessing_is_139():
    method = build("gman", {"judges": 3, "width": 4, "network": "dense"}, Signal(channels=2))
    for weight in method.discriminator.parameters():
        torch.nn.init.zeros_(weight)
    taught = Learner(method, Average(method, 0), World(0, 1, torch.device("cpu")), torch.float32, seed=1, total=9)
    assert taught.step(0, [{"x": torch.rand(6, 2)}], 0)["discriminator_loss"] == pytest.approx(2 * log(2))
