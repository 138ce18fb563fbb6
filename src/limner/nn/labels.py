"""Networks that know which class they make or judge, and those that do not, all called in the same way."""

import torch
from torch import Tensor, nn


class Unlabelled(nn.Sequential):
    """Layers in a row. A label may be given and changes nothing."""

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        result: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return result


class LabelledNoise(nn.Module):
    """A generator that is told a class: a learned vector for each class is joined to the noise.

    network  from as many numbers as `latent` and `told` together
    classes  how many there are
    told     numbers that stand for a class

    z        (N, latent)
    label    (N,)           int64
    returns  (N, C, *size)

    Source: Mirza & Osindero 2014, arXiv:1411.1784
    """

    def __init__(self, network: nn.Module, classes: int, told: int) -> None:
        super().__init__()
        self.network = network
        self.embedding = nn.Embedding(classes, told)

    def forward(self, z: Tensor, label: Tensor | None) -> Tensor:
        result: Tensor = self.network(torch.cat([z, self.embedding(label)], 1))
        return result


class LabelledSamples(nn.Module):
    """A discriminator that is told a class: a learned sample for each class is joined to the channels.

    network  a discriminator of samples with twice the channels
    classes  how many there are
    values   numbers in a sample

    x        (N, C, *size)
    label    (N,)   int64; (N, m) where x is m samples joined along the channels
    returns  (N,)

    Source: Mirza & Osindero 2014, arXiv:1411.1784
    """

    def __init__(self, network: nn.Module, classes: int, values: int) -> None:
        super().__init__()
        self.network = network
        self.embedding = nn.Embedding(classes, values)

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        result: Tensor = self.network(torch.cat([x, self.embedding(label).view_as(x)], 1))
        return result


class Projection(nn.Module):
    """A discriminator whose score is its head's, plus the product of its features with a learned vector of the class.

    features   (N, C, *size) → (N, …) with `size` numbers a sample
    head       from the features to (N, 1, …)
    classes    how many there are

    x          (N, C, *size)
    label      (N,)   int64
    returns    (N,)

    Source: Miyato & Koyama 2018, arXiv:1802.05637
    """

    def __init__(self, features: nn.Module, size: int, head: nn.Module, classes: int) -> None:
        super().__init__()
        self.features, self.head = features, head
        self.embedding = nn.Embedding(classes, size)
        nn.init.normal_(self.embedding.weight, std=size**-0.5)

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        found = self.features(x)
        score: Tensor = self.head(found).flatten(0)
        return score + (self.embedding(label) * found.flatten(1)).sum(1)
