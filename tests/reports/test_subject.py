"""What samples a report asks for."""

from dataclasses import replace

import torch

from limner.core.signal import Signal
from limner.data.cache import finish
from limner.data.sources import open_data
from limner.models.model import build
from limner.reports.subject import draws
from limner.tasks.generate import Generate


def test_where_nothing_tells_classes_each_is_made_as_often_and_in_every_part(monkeypatch):
    """Over all samples, not anew in each batch: 300 classes are more than a batch holds. Inception scores split samples
    into parts, so every part needs all classes."""
    asked = []

    def draw(self, z, told=None, *more):
        asked.append(told)
        return torch.zeros(len(z), 1, 8, 8)

    monkeypatch.setattr(Generate, "draw", draw)
    unlabelled = replace(finish(open_data("digits")), labels=None)
    method = build("gan", {"width": 4, "latent": 5, "conditioning": "concat"},
                   Signal(channels=1, size=(8, 8), classes=300))  # fmt: skip
    list(draws(method, unlabelled, 0, 3000))
    assert torch.equal(torch.cat(asked).bincount(), torch.full((300,), 10))
    asked.clear()
    few = build("gan", {"width": 4, "latent": 5, "conditioning": "concat"},
                Signal(channels=1, size=(8, 8), classes=10))  # fmt: skip
    list(draws(few, unlabelled, 0, 1000))
    told = torch.cat(asked)
    assert all(set(told[part::10].tolist()) == set(range(10)) for part in range(10))
