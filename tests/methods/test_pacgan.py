"""PacGAN: who is judged with whom."""

import torch

from limner.core.signal import Signal
from limner.models.model import build


def test_packs_join_the_nth_of_each_batch():
    method = build("pacgan", {"packed": 3, "conditioning": "concat"}, Signal(channels=2, classes=4))
    seen = []
    method.discriminator.forward = lambda x, label: seen.append((x, label)) or x[:, 0]
    x = torch.arange(24.0).reshape(12, 2)
    label = torch.arange(12)
    assert method.packs(x, label).shape == (4,)
    together, labels = seen[0]
    assert together[1].tolist() == [2, 3, 10, 11, 18, 19]
    assert labels[1].tolist() == [1, 5, 9]


def test_points_have_the_paper_s_protocol():
    config = build("pacgan", {}, Signal(channels=2)).config
    assert (config.network, config.width, config.latent, config.batch) == ("mixture", 400, 2, 100)
    assert (config.generator.lr, config.discriminator.beta1) == (1e-4, 0.8)
    assert build("pacgan", {"latent": 9}, Signal(channels=2)).config.latent == 9
