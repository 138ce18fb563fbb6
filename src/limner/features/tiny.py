"""Tiny: an eye of random weights, fixed by a seed, for tests and dry runs. It needs no file and takes milliseconds.

Its figures rank nothing: random features see texture at best.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.random import generator
from limner.features.network import Classifier, colour, resized, state_sha256


class Tiny(Classifier):
    """Two random convolutions at 16×16 px, averaged over quarters of the picture, and a random linear classifier."""

    name = "tiny"
    dimensions = 32
    classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(self.dimensions, self.classes)

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.leaky_relu(self.first(resized(colour(x), 16).float()), 0.2)
        x = F.leaky_relu(self.second(x), 0.2)
        features = F.avg_pool2d(x, 2).flatten(1)
        return features, self.head(features)


def load(seed: int = 0) -> Tiny:
    """The network, its weights drawn from the seed."""
    network = Tiny()
    luck = generator(seed, "tiny features")
    with torch.no_grad():
        for parameter in network.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
            parameter.copy_(torch.randn(parameter.shape, generator=luck) / fan_in**0.5)
    return network.freeze(state_sha256(network))
