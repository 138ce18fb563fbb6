"""Spectral normalisation: a layer whose slope is at most 1, because its weight is divided by its largest stretch."""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import normalize

from limner.nn.labels import LabelledSamples


class Spectral(nn.Module):
    """A layer with its weight divided by the weight's largest singular value.

    layer    has a `weight`, seen as a matrix of (outputs, the rest)
    x        as the layer's own input
    returns  as the layer's own output

    The singular value is followed by one turn of power iteration at each pass in training. The vector that it turns
    is a buffer, so that a model or a checkpoint takes it along.

    Source: Miyato et al. 2018, arXiv:1802.05957, algorithm 1
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        weight = layer.get_parameter("weight")
        self.left: Tensor
        self.register_buffer("left", normalize(torch.randn(len(weight)), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        # Not get_parameter: a caller may have put weights of its own there (torch.func.functional_call).
        weight: Tensor = self.layer.weight  # type: ignore[assignment]
        result: Tensor = functional_call(self.layer, {"weight": weight / self.stretch(weight)}, (x,))
        return result

    def stretch(self, weight: Tensor) -> Tensor:
        """The largest singular value of a weight, as far as it is known: a scalar."""
        matrix = weight.flatten(1)
        with torch.autocast(weight.device.type, enabled=False):
            with torch.no_grad():
                right = normalize(matrix.T @ self.left, dim=0)
                left = normalize(matrix @ right, dim=0)
                if self.training:
                    self.left.copy_(left)
            return left @ matrix @ right


def spectral(network: nn.Module) -> nn.Module:
    """The network with each of its dense layers, convolutions and embeddings made Spectral, in place; or a layer made
    so. The sample that a class is joined as stays: it is an input, which nothing has stretched yet."""
    if isinstance(network, nn.Linear | nn.Conv2d | nn.Embedding):
        return Spectral(network)
    for name, child in network.named_children():
        if isinstance(network, LabelledSamples) and child is network.embedding:
            continue
        setattr(network, name, spectral(child))
    return network
