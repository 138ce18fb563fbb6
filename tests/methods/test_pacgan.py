"""PacGAN: who is judged with whom."""

import pytest
import torch
from torch.nn.functional import softplus

from limner.core.method import Luck
from limner.core.signal import Signal
from limner.models.model import build
from limner.training.average import Average
from limner.training.learner import Learner
from limner.training.world import World


def test_packs_join_the_nth_of_each_batch():
    method = build("pacgan", {"packed": 3, "conditioning": "concat"}, Signal(channels=2, classes=4))
    x = torch.arange(24.0).reshape(12, 2)
    packs, labels = method.packs(x), method.labels(torch.arange(12))
    assert packs.shape == (4, 6)
    assert packs[1].tolist() == [2, 3, 10, 11, 18, 19]
    assert labels[1].tolist() == [1, 5, 9]


@pytest.mark.parametrize("conditioning", ["none", "concat"])
def test_both_players_move_at_once_by_the_plain_losses_of_packs(conditioning):
    """The learner's one pass beside two gradients taken by hand, in float64."""
    torch.manual_seed(0)
    choices = {"packed": 2, "width": 20, "conditioning": conditioning}
    method = build("pacgan", choices, Signal(channels=2, classes=3)).double().train()
    x, label = torch.randn(8, 2, dtype=torch.float64), torch.randint(3, (8,))
    batch = {"x": x, "label": label} if conditioning != "none" else {"x": x}
    noise, moved = method.noise, {}
    method.noise = lambda *shape: noise(*shape).double()
    taught = Learner(method, Average(method, 0), World(0, 1, torch.device("cpu")), torch.float32, seed=1, total=9)
    taught._move = lambda player, index: moved.update(
        {player: [weight.grad for weight in method.get_submodule(player).parameters()]}
    )
    taught.step(0, [batch], 0)

    method.luck = Luck(1, "noise", 0)
    told = batch.get("label")
    fake = method.generate(method.noise(8, 2), told)
    told = None if told is None else torch.stack([told[:4], told[4:]], 1)
    on_real, on_fake = (method.discriminator(torch.cat([some[:4], some[4:]], 1), told) for some in (x, fake))
    losses = {"discriminator": softplus(-on_real) + softplus(on_fake), "generator": softplus(-on_fake)}
    for player, loss in losses.items():
        by_hand = torch.autograd.grad(loss.mean(), list(method.get_submodule(player).parameters()), retain_graph=True)
        for found, wanted in zip(moved[player], by_hand, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-14)


def test_where_batch_norm_mixes_packs_the_generator_moves_second():
    method = build("pacgan", {"width": 4}, Signal(channels=1, size=(16, 16)))
    x = torch.rand(8, 1, 16, 16) * 2 - 1
    assert [turn.player for turn in method.step({"x": x})] == ["discriminator", "generator"]


def test_points_have_the_paper_s_protocol():
    config = build("pacgan", {}, Signal(channels=2)).config
    assert (config.network, config.width, config.latent, config.batch) == ("mixture", 400, 2, 100)
    assert (config.generator.lr, config.discriminator.beta1) == (1e-4, 0.8)
    assert build("pacgan", {"latent": 9}, Signal(channels=2)).config.latent == 9
