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
        # Networks keep their tensors from here on, and walking through them takes longer than averaging small ones.
        both = [(network, method.get_submodule(name)) for name, network in self.networks.items()]
        pairs = [pair for own, now in both for pair in zip(_tensors(own), _tensors(now), strict=True)]
        self._own = [own for own, _ in pairs if own.is_floating_point()]
        self._now = [now for own, now in pairs if own.is_floating_point()]
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, method: Method, seen: int, new: int) -> None:
        """Move towards the weights of the method that this is the average of.

        seen  samples trained on so far, the new ones included
        new   samples since the last update
        """
        half_life = method.half_life(self.half_life, seen)
        share = 1 - 0.5 ** (new / half_life) if half_life > 0 else 1.0
        if self._own:
            torch._foreach_lerp_(self._own, self._now, share)
        for own, now in self._counts:
            own.copy_(now)

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


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
