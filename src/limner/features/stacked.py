"""Stacked: reads three stacked digits, one digit a channel, with the digits network. 384 features; 1,000 classes.

The class is the number that red, green and blue show: red hundreds, green tens, blue ones.
"""

import torch
from torch import Tensor

from limner.features import digits
from limner.features.network import Classifier


class Stacked(Classifier):
    """The digits network, once a channel; the probability of a number is the product of its digits'."""

    name = "stacked"
    dimensions = 3 * digits.Digits.dimensions
    classes = 1000

    def __init__(self, single: Classifier) -> None:
        super().__init__()
        self.single = single

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = self.single.both(x.flatten(0, 1).unsqueeze(1))
        red, green, blue = torch.log_softmax(logits, 1).unflatten(0, (-1, 3)).unbind(1)
        joined = red[:, :, None, None] + green[:, None, :, None] + blue[:, None, None, :]
        return features.unflatten(0, (-1, 3)).flatten(1), joined.flatten(1)


def load() -> Stacked:
    """The network, with the digits network's weights."""
    single = digits.load()
    return Stacked(single).freeze(single.weights_sha256)
