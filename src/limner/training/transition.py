"""A late start for classes: a conditional GAN learns without them first, and they come in little by little.

On few data, conditioning makes GANs collapse that would not collapse without it.
"""

from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import Tensor, nn

from limner.core.errors import UsageError
from limner.nn.unet import UNet
from limner.tasks.generate import Captioned, Generate
from limner.training.wrap import Wrap


class Transition(Wrap):
    """Draws what each class is known by, in every network, out of what all have in common.

    Networks know a class by its row of an embedding, a U-Net by one of several numbers that it reads. At first all
    share the mean of the rows, or of the numbers, so that nothing tells classes apart. The paper scales embeddings from
    0; a discriminator that knows a sample by its projection alone would have no score at all there.

    method      is conditional
    averaged    the averaged networks, which are watched on the way
    start, end  kimg between which the scale rises
    total       kimg of the whole run
    raises      UsageError   if the method learns no classes, or the run ends before they are in

    Source: Shahbazi et al. 2022, arXiv:2201.06578
    """

    name = "transition"

    def __init__(self, method: Generate, averaged: nn.Module, start: float, end: float, total: float) -> None:
        if not method.conditional or isinstance(method, Captioned):
            field = type(method.config).model_fields.get("conditioning")
            ways = [way for way in get_args(field.annotation if field else None) if way not in ("auto", "none")]
            able = ways and method.signal.classes and not isinstance(method, Captioned)
            raise UsageError(
                "--transition is for a method that learns classes",
                f"give --conditioning {ways[-1]} too" if able else "leave out --transition",
            )
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
        for module in [module for network in (*method.children(), averaged) for module in network.modules()]:
            if isinstance(module, nn.Embedding):
                module.register_forward_hook(self._drawn_out)
            elif isinstance(module, UNet) and module.label is not None:
                module.label.register_forward_pre_hook(self._mixed)

    @property
    def scale(self) -> float:
        """From 0, classes unknown, to 1, in full."""
        return min(1.0, max(0.0, (self.seen / 1000 - self.start) / (self.end - self.start)))

    def _drawn_out(self, embedding: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        # The weight as this pass has it: spectral normalisation and looking ahead put others in its place.
        weight: Tensor = embedding.weight  # type: ignore[assignment]
        return output * self.scale + weight.mean(0).detach() * (1 - self.scale)

    def _mixed(self, layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        # One number for each class: what all have in common is that each has the same share.
        (told,) = inputs
        return (told * self.scale + told.mean(1, keepdim=True) * (1 - self.scale),)

    def before(self, seen: int) -> None:
        # Going back restores the checkpoint's count, and the run's end is counted from the start of the run.
        self.seen = float(seen)

    def after(self, told: Mapping[str, float], index: int, batch: int) -> dict[str, float]:
        self.seen = (index + 1.0) * batch
        return {"class_scale": self.scale}

    def state(self) -> dict[str, Tensor]:
        return {"seen": torch.tensor(self.seen, dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.seen = float(tensors.get("seen", torch.zeros(())))
