"""A late start for classes: a conditional GAN learns without them first, and they come in little by little.

On few data, conditioning makes GANs collapse that would not collapse without it.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from limner.core.errors import UsageError
from limner.tasks.generate import Captioned, Generate
from limner.training.wrap import Wrap


class Transition(Wrap):
    """Scales what each class is known by, in every network, from 0 to 1.

    Networks know a class by its row of an embedding. Scaled by 0, noise is joined by zeros, and a projection adds
    nothing to the discriminator's score.

    method      is conditional
    averaged    the averaged networks, which are watched on the way
    start, end  kimg between which the scale rises
    total       kimg of the whole run
    raises      UsageError   if the method learns no classes, or the run ends before the classes are in

    Source: Shahbazi et al. 2022, arXiv:2201.06578
    """

    name = "transition"

    def __init__(self, method: Generate, averaged: nn.Module, start: float, end: float, total: float) -> None:
        if not method.conditional or isinstance(method, Captioned):
            raise UsageError("--transition is for a method that learns classes", "give --conditioning projection too")
        if not 0 <= start < end:
            raise UsageError(
                f"--transition {start:g},{end:g} does not rise", "give the kimg at which it starts and ends"
            )
        if end > total:
            raise UsageError(
                f"--transition ends at {end:g} kimg, and the run at {total:g}",
                f"let it end before {total:g}, or train longer",
            )
        self.start, self.end, self.seen = start, end, 0.0
        for network in (*method.children(), averaged):
            for module in network.modules():
                if isinstance(module, nn.Embedding):
                    module.register_forward_hook(self._scaled)

    @property
    def scale(self) -> float:
        """From 0, classes unknown, to 1, in full."""
        return min(1.0, max(0.0, (self.seen / 1000 - self.start) / (self.end - self.start)))

    def _scaled(self, embedding: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        return output * self.scale

    def after(self, told: Mapping[str, float], index: int, batch: int) -> dict[str, float]:
        self.seen += batch
        return {"class_scale": self.scale}

    def state(self) -> dict[str, Tensor]:
        return {"seen": torch.tensor(self.seen, dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.seen = float(tensors.get("seen", torch.zeros(())))
