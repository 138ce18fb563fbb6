"""The moving average of a method's weights: what is left after training."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from limner.core.method import Method


class Average:
    """An exponential moving average of some of a method's networks, counted in samples.

    half_life  samples after which a weight's old value counts half, at the longest: the method says how long it is at
               a moment; 0 keeps the last weights

    Source: Karras et al. 2018, arXiv:1710.10196, section 4
    """

    def __init__(self, method: Method, half_life: float) -> None:
        self.half_life = half_life
        self.networks = nn.ModuleDict({name: copy.deepcopy(method.get_submodule(name)) for name in method.averaged})
        self.networks.requires_grad_(False)

    @torch.no_grad()
    def update(self, method: Method, seen: int, new: int) -> None:
        """Move towards the method's weights.

        seen  samples trained on so far, the new ones included
        new   samples since the last update
        """
        half_life = method.half_life(self.half_life, seen)
        share = 1 - 0.5 ** (new / half_life) if half_life > 0 else 1.0
        for name, network in self.networks.items():
            own, now = _tensors(network), _tensors(method.get_submodule(name))
            real = [key for key, value in own.items() if value.is_floating_point()]
            torch._foreach_lerp_([own[key] for key in real], [now[key] for key in real], share)
            for key in own.keys() - set(real):
                own[key].copy_(now[key])

    @contextmanager
    def applied(self, method: Method) -> Iterator[Method]:
        """The method in evaluation mode with the averaged networks in the place of its own, for a while."""
        own = {name: method.get_submodule(name) for name in self.networks}
        training = method.training
        try:
            for name, network in self.networks.items():
                setattr(method, name, network)
            yield method.eval()
        finally:
            for name, network in own.items():
                setattr(method, name, network)
            method.train(training)

    def state(self) -> Mapping[str, Tensor]:
        """The averaged tensors, by name."""
        return self.networks.state_dict()


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}
