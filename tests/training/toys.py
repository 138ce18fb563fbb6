"""Small games with known answers, for the learner's tests."""

import torch
from torch import nn

from limner.core.config import Adam, TrainingConfig
from limner.core.method import Method, Turn
from limner.core.signal import Signal
from limner.training.average import Average
from limner.training.learner import Learner
from limner.training.world import World

ALONE = World(0, 1, torch.device("cpu"))


class Config(TrainingConfig):
    """Two players of one weight each."""

    a: Adam = Adam(lr=0.1)
    """First player."""
    b: Adam = Adam(lr=0.1)
    """Second player."""


class Scale(nn.Module):
    """x → w·x with one weight."""

    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([w]))

    def forward(self, x):
        return self.w * x


class Duel(Method):
    """a minimises (a·b − 1)², b minimises (a·b + 1)²: the order of moves shows in the gradients."""

    averaged = ("a",)

    def __init__(self, together, w=2.0):
        super().__init__(Config(), Signal(channels=1))
        self.a, self.b = Scale(w), Scale(w)
        self.together = together
        self.seen = []

    def step(self, batch):
        x = batch["x"].flatten()
        both = self.a(self.b(x))
        self.seen.append(self.noise(len(x), 2))
        first = Turn("a", (both - x) ** 2, {"twice": 2 * x})
        if self.together:
            yield first, Turn("b", (both + x) ** 2)
        else:
            yield first
            yield Turn("b", (self.a(self.b(x)) + x) ** 2)


def learner(method, world=ALONE, half_life=0.0, total=10, seed=1):
    return Learner(method, Average(method, half_life), world, torch.float32, seed=seed, total=total)
