"""Stacked: reads three stacked digits, one digit a channel, with the digits network. 384 features; 1,000 classes.

The class is the number that red, green and blue show: red hundreds, green tens, blue ones.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.features import digits
from limner.features.network import Classifier, resized


class Stacked(Classifier):
    """The digits network, once a channel; the probability of a number is the product of its digits'."""

    name = "stacked"
    dimensions = 3 * digits.Digits.dimensions
    classes = 1000

    def __init__(self, single: Classifier) -> None:
        super().__init__()
        self.single = single

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = self.single.both(framed(x.flatten(0, 1).unsqueeze(1)))
        red, green, blue = torch.log_softmax(logits, 1).unflatten(0, (-1, 3)).unbind(1)
        joined = red[:, :, None, None] + green[:, None, :, None] + blue[:, None, None, :]
        return features.unflatten(0, (-1, 3)).flatten(1), joined.flatten(1)


def framed(x: Tensor) -> Tensor:
    """Digits of 8 px, which fill their frame, as MNIST has them: 20 px high in a black frame of 28.

    Of scikit-learn's digits the network so reads .96, and .81 without the frame.

    x       (N, 1, H, W)
    returns (N, 1, 28, 28) where H and W are 8, else x
    """
    return F.pad(resized(x, 20), (4, 4, 4, 4), value=-1) if x.shape[-2:] == (8, 8) else x


def load() -> Stacked:
    """The network, with the digits network's weights."""
    single = digits.load()
    return Stacked(single).freeze(single.weights_sha256)
